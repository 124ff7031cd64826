"""The config of one part of a join: fields with transformers' names and defaults, every key of a file accounted for."""

import copy
import dataclasses
import json
import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar, dataclass_transform, get_args

from conjoin.errors import CheckpointError, ConfigError, nearest, refuse_unknown
from conjoin.gguf import is_gguf
from conjoin.spec import CrossPlace, RoleName

__all__ = ["CONFIG_FILE", "ConfigFile", "ModelConfig", "config_class", "read_config", "read_json"]

CONFIG_FILE = "config.json"
OURS_ALONE = ("cross_attention_gate", "cross_attention_layers", "cross_attention_place")
T = TypeVar("T")

# Keys that transformers' base class writes, or once wrote, and that say nothing about the computation of a join.
BASE_IRRELEVANT = frozenset(
    "architectures auto_map chunk_size_feed_forward cross_attention_hidden_size dtype finetuning_task "
    "gradient_checkpointing id2label is_encoder_decoder label2id language model_max_length model_type name_or_path "
    "num_labels output_attentions output_hidden_states prefix problem_type pruned_heads return_dict sep_token_id "
    "task_specific_params tf_legacy_loss tie_encoder_decoder tokenizer_class tokens_trained torch_dtype torchscript "
    "transformers_version use_bfloat16 vocab use_return_dict quantization_config attn_implementation "
    "initializer_factor adapters xla_device processor_class".split()
)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file. Raises CheckpointError where the file is missing, broken, or another kind of JSON."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise CheckpointError(f'"{path}" is no plain file; one was expected.')  # a pipe would be waited for
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise CheckpointError(f'"{path.parent}" has no {path.name}.') from None
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f'"{path}" cannot be read: {error}.') from None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:  # a number of thousands of digits is a ValueError of another kind
        raise CheckpointError(f'"{path}" is not valid JSON: {error}.') from None
    if not isinstance(found, dict):
        raise CheckpointError(f'"{path}" holds a JSON {type(found).__name__}; an object was expected.')
    return found


def read_config(path: Path) -> dict[str, Any]:
    """What a folder's config.json holds, or what a GGUF file says in its place.

    Raises CheckpointError where that is missing or broken, ConfigError for a GGUF file of an unknown architecture.
    """
    if not is_gguf(path):
        return read_json(path / CONFIG_FILE)
    from conjoin.gguf.config import config_of
    from conjoin.gguf.header import read_header

    return config_of(read_header(path))


class ConfigFile:
    """What the config of a part and that of a join do as files. A subclass gives `to_dict`."""

    def to_dict(self) -> dict[str, Any]:
        """What a config.json holds."""
        raise NotImplementedError

    def update(self, changes: Mapping[str, Any]) -> None:
        """Sets several fields. Raises AttributeError for one that there is not."""
        for name, value in changes.items():
            setattr(self, name, value)

    def to_json_string(self) -> str:
        """The text of a config.json."""
        return json.dumps(self.to_dict(), indent=2, sort_keys=True) + "\n"

    def save_pretrained(self, save_directory: str | Path) -> None:
        """Writes config.json into a folder, which is made where it is missing."""
        Path(save_directory).mkdir(parents=True, exist_ok=True)
        (Path(save_directory) / CONFIG_FILE).write_text(self.to_json_string(), encoding="utf-8")


@dataclass_transform(kw_only_default=True)
def config_class(cls: type[T]) -> type[T]:
    """Makes a misspelt field an error that names the nearest one, and checks the values."""
    plain: Callable[..., None] = cls.__init__
    names = [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]

    def checked(self: Any, **fields: Any) -> None:
        common: dict[str, str] = cls.attribute_map  # type: ignore[attr-defined]
        without: frozenset[str] = cls.irrelevant | BASE_IRRELEVANT  # type: ignore[attr-defined]
        kept = {name: value for name, value in fields.items() if name in names or name not in without}
        refuse_unknown(f"{cls.__name__}()", kept, [*names, *common])
        plain(self, **{common.get(name, name): value for name, value in kept.items()})
        self.check()

    cls.__init__ = checked  # type: ignore[method-assign, assignment]
    return cls


@dataclasses.dataclass(kw_only=True)
class ModelConfig(ConfigFile):
    """What all families' configs have in common. Subclasses are dataclasses decorated with `config_class`."""

    model_type: ClassVar[str] = ""
    attribute_map: ClassVar[dict[str, str]] = {}  # a common name -> the family's own
    irrelevant: ClassVar[frozenset[str]] = frozenset()  # keys of the family that say nothing about a join
    unless_none: ClassVar[tuple[str, ...]] = ()  # fields that are written only where they are set
    only: ClassVar[dict[str, tuple[object, ...]]] = {}  # keys that are read, with the values that are implemented
    whole: ClassVar[bool] = False  # transformers has no class of the decoder alone, but one of encoder and decoder

    is_decoder: bool = False
    add_cross_attention: bool = False
    cross_attention_gate: bool = False
    cross_attention_layers: str | list[int] | None = None  # "all" (None), "every_2", or their numbers
    cross_attention_place: str | None = None  # None: where the family has it
    is_encoder_decoder: bool = False
    tie_word_embeddings: bool = True
    use_cache: bool | None = True  # without effect here: each call says
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    decoder_start_token_id: int | None = None
    forced_bos_token_id: int | None = None
    forced_eos_token_id: int | list[int] | None = None

    def __getattr__(self, name: str) -> Any:
        own = type(self).attribute_map.get(name)
        if own is None:
            raise AttributeError(f'{type(self).__name__} has no field "{name}"{nearest(name, self.names())}.')
        return getattr(self, own)

    def __setattr__(self, name: str, value: Any) -> None:
        name = type(self).attribute_map.get(name, name)
        if name not in type(self).names():
            raise AttributeError(f'{type(self).__name__} has no field "{name}"{nearest(name, self.names())}.')
        object.__setattr__(self, name, value)

    @classmethod
    def names(cls) -> list[str]:
        """The names of all fields."""
        return [f.name for f in dataclasses.fields(cls)]

    def by_role(self, role: RoleName, name: str) -> str:
        """The field that `name` means when this config is the encoder, or the decoder, of a join."""
        return name

    def of_layers(self, layers: Sequence[int]) -> dict[str, Any]:
        """The fields that list something for each layer, as they are where only these layers are kept."""
        return {}

    def of_side(self, role: RoleName) -> Self:
        """This config as one side of a join reads it, where the family's sides differ in more than names say (Marian)."""
        return self

    def check(self) -> None:
        """Raises ConfigError where sizes cannot be."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type is int and (type(value) is not int or value < (0 if field.name == "type_vocab_size" else 1)):
                raise ConfigError(
                    f'{type(self).__name__}: "{field.name}" is {value!r}; a whole number above 0 was expected.'
                )
            if field.type is float and (type(value) not in (int, float) or not 0 <= value < float("inf")):
                raise ConfigError(
                    f'{type(self).__name__}: "{field.name}" is {value!r}; a number from 0 on was expected.'
                )
            if field.name == "cross_attention_place" and value not in (None, *get_args(CrossPlace)):
                raise ConfigError(
                    f'{type(self).__name__}: "{field.name}" is {value!r}; one of {", ".join(get_args(CrossPlace))} was expected.'
                )
            if field.type is bool and type(value) is not bool:
                raise ConfigError(f'{type(self).__name__}: "{field.name}" is {value!r}; true or false was expected.')

    def copy(self, **changes: Any) -> Self:
        """A copy of its own, with some fields changed; common names are understood."""
        new = copy.deepcopy(self)
        for name, value in changes.items():
            setattr(new, name, value)
        new.check()
        return new

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        """A config from what a config.json holds. Raises ConfigError for a key or a value that is not understood."""
        from conjoin.generation import GENERATION_FIELDS

        fields: dict[str, Any] = {}
        for key, value in found.items():
            name = cls.attribute_map.get(key, key)
            if name in cls.names():
                if not (key != name and name in found):  # the family's own name wins over the common one
                    fields[name] = value
            elif key in cls.only:
                if value not in cls.only[key]:
                    allowed = " or ".join(repr(v) for v in cls.only[key] if v is not None)
                    raise ConfigError(f'{cls.model_type}: "{key}" is {value!r}; only {allowed} is implemented.')
            elif not (key.startswith("_") or key in BASE_IRRELEVANT | cls.irrelevant or key in GENERATION_FIELDS):
                raise ConfigError(
                    f'{cls.model_type}: config key "{key}" (value {value!r}) is not known'
                    f"{nearest(key, [*cls.names(), *cls.only, *cls.irrelevant])}. It may change the computation, so it "
                    f"is not ignored; remove it from config.json if it does not."
                )
        return cls(**fields)

    def to_dict(self) -> dict[str, Any]:
        """What goes into a config.json: every field, and the model type."""
        found = {name: copy.deepcopy(getattr(self, name)) for name in self.names()}
        for name in (*OURS_ALONE, *self.unless_none):  # transformers does not know them, or takes null for a value
            if found[name] in (None, False):
                del found[name]
        if self.whole and self.is_decoder:  # whose class would else generate as if there were no source
            found["is_encoder_decoder"] = True
        return {**found, "model_type": self.model_type}

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        revision: str | None = None,
        token: str | None = None,
        local_files_only: bool = False,
        cache_dir: str | Path | None = None,
        **changes: Any,
    ) -> Self:
        """The config of a folder or hub id, with some fields changed.

        Raises CheckpointError where there is none, ConfigError where it is of another model type.
        """
        from conjoin.hub import resolve

        folder = resolve(
            pretrained_model_name_or_path,
            files=[CONFIG_FILE],
            revision=revision,
            token=token,
            local_files_only=local_files_only,
            cache_dir=cache_dir,
        )
        found = read_config(folder)
        if found.get("model_type") != cls.model_type:
            raise ConfigError(
                f'"{pretrained_model_name_or_path}" is of model_type "{found.get("model_type")}"; {cls.__name__} reads '
                f'"{cls.model_type}". AutoConfig reads any.'
            )
        config = cls.from_dict(found)
        refuse_unknown(f"{cls.__name__}.from_pretrained()", changes, [*cls.names(), *cls.attribute_map])
        return config.copy(**changes)
