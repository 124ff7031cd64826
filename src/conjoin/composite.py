"""EncoderDecoderConfig: the two parts' configs, what they share, and the one place where special tokens live."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, get_args

from conjoin.compiling import HasFields
from conjoin.config import BASE_IRRELEVANT, CONFIG_FILE, ConfigFile, ModelConfig, read_config, read_json
from conjoin.errors import ConfigError, InputError, nearest, refuse_unknown
from conjoin.families import FAMILIES, family_of, role_of, spec_of
from conjoin.generation import GENERATION_FIELDS, GENERATION_FILE, SPECIAL_TOKENS, GenerationConfig
from conjoin.spec import RoleName, StackSpec

__all__ = ["ARCHITECTURES", "COMPOSITES", "AutoConfig", "EncoderDecoderConfig", "Share", "any_config", "part_config"]

Share = Literal["none", "embeddings", "all"]
TEXT = "encoder-decoder"
ARCHITECTURES = {  # transformers' class of each type of joined models, by what the encoder reads
    TEXT: "EncoderDecoderModel",
    "vision-encoder-decoder": "VisionEncoderDecoderModel",
    "speech-encoder-decoder": "SpeechEncoderDecoderModel",
}
COMPOSITES = tuple(ARCHITECTURES)
FORCED = ("forced_bos_token_id", "forced_eos_token_id")
# What an old transformers kept on a composite, and what the decoder's config now answers.
ANSWERED_BY_DECODER = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "max_position_embeddings",
)


def any_config(found: Mapping[str, Any]) -> "ModelConfig | EncoderDecoderConfig":
    """The config that a config.json's content describes. Raises ConfigError with the nearest known model type."""
    if found.get("model_type") in COMPOSITES:
        return EncoderDecoderConfig.from_dict(found)
    config: ModelConfig = family_of(found.get("model_type")).config.from_dict(found)
    return config


def part_config(config: "ModelConfig | Mapping[str, Any]", role: RoleName) -> ModelConfig:
    """A copy of a part's config, made ready for its side: a decoder is causal and cross-attends, an encoder neither."""
    if isinstance(config, ModelConfig):
        part = config.copy()
    elif isinstance(config, Mapping | HasFields):  # a config.json's content, or transformers' config
        found = config if isinstance(config, Mapping) else config.to_dict()
        part = family_of(found.get("model_type")).config.from_dict(found)
    else:
        raise ConfigError(f"{role}: a config or a dictionary was expected, not {type(config).__name__}.")
    role_of(part.model_type, role)
    part = part.of_side(role)
    part.is_decoder = part.add_cross_attention = role == "decoder"
    part.is_encoder_decoder = False
    return part


class EncoderDecoderConfig(ConfigFile):
    """The config of a joined model.

    `encoder` and `decoder` are configs (copied, never changed) or dictionaries; left out, they are a default BERT.
    `share` is "none", "embeddings" (one token embedding for both sides) or "all" (one set of weights for both, but for
    cross-attention and head: BERTShare of https://arxiv.org/abs/1907.12461); `tie_encoder_decoder=True` means "all".

    Special tokens (`pad_token_id`, `bos_token_id`, `eos_token_id`, `decoder_start_token_id`) and every other setting of
    `generate` live in `generation` and nowhere else: `config.eos_token_id = 102` and
    `config.generation.eos_token_id = 102` are the same. What is not given is taken from the decoder's config.

    Raises ConfigError for a part that cannot be, TypeError for an unknown argument.
    """

    is_encoder_decoder: ClassVar[bool] = True

    encoder: ModelConfig
    decoder: ModelConfig
    share: Share
    generation: GenerationConfig

    def __init__(
        self,
        *,
        encoder: ModelConfig | Mapping[str, Any] | None = None,
        decoder: ModelConfig | Mapping[str, Any] | None = None,
        share: Share = "none",
        tie_encoder_decoder: bool = False,
        **generation: Any,
    ) -> None:
        known = [*GENERATION_FIELDS, "encoder", "decoder", "share", "tie_encoder_decoder"]
        refuse_unknown("EncoderDecoderConfig()", generation, known)
        if share not in get_args(Share):
            raise ConfigError(f'share is {share!r}; "none", "embeddings" or "all" was expected.')
        if tie_encoder_decoder and share == "embeddings":
            raise ConfigError('tie_encoder_decoder=True means share="all", but share="embeddings" was given; drop one.')
        default = FAMILIES["bert"].config
        self.encoder = part_config(default() if encoder is None else encoder, "encoder")
        self.decoder = part_config(default() if decoder is None else decoder, "decoder")
        self.share = "all" if tie_encoder_decoder else share
        self.generation = GenerationConfig().updated(generation)
        self.fill_from_decoder()

    def fill_from_decoder(self) -> None:
        """Takes what is not set from the decoder's config, as transformers' `from_model_config` does."""
        for name in (*SPECIAL_TOKENS, *FORCED):
            if getattr(self.generation, name) is None:
                setattr(self.generation, name, getattr(self.decoder, name))

    def __getattr__(self, name: str) -> Any:
        if name == "generation" or name.startswith("__"):
            raise AttributeError(name)
        if name in self.generation.__dataclass_fields__:
            return getattr(self.generation, name)
        if name in ANSWERED_BY_DECODER:
            return getattr(self.decoder, self.decoder.by_role("decoder", name))
        raise AttributeError(f'EncoderDecoderConfig has no field "{name}"{nearest(name, self.names())}.')

    def __setattr__(self, name: str, value: Any) -> None:
        if name in type(self).__annotations__:
            object.__setattr__(self, name, value)
        elif name == "tie_encoder_decoder":
            object.__setattr__(self, "share", "all" if value else "none")
        elif name in ANSWERED_BY_DECODER:
            if value not in (getattr(self.decoder, name), getattr(self.encoder, name, None)):
                raise InputError(
                    f"config.{name} is the decoder's, {getattr(self.decoder, name)}; it cannot be {value!r}."
                )
        elif name in GENERATION_FIELDS:
            setattr(self.generation, name, value)
        else:
            raise AttributeError(f'EncoderDecoderConfig has no field "{name}"{nearest(name, self.names())}.')

    @classmethod
    def names(cls) -> list[str]:
        """Every name that can be set."""
        return [*GENERATION_FIELDS, *ANSWERED_BY_DECODER, "encoder", "decoder", "share", "tie_encoder_decoder"]

    @property
    def model_type(self) -> str:
        """ "encoder-decoder", or of encoders that read images or sounds what transformers calls their joins."""
        front = self.spec("encoder").front
        return TEXT if front is None else front.kind

    @property
    def tie_encoder_decoder(self) -> bool:
        """Whether both sides are one set of weights."""
        return self.share == "all"

    @property
    def tie_word_embeddings(self) -> bool:
        """Whether the decoder's output embedding is its token embedding."""
        return self.decoder.tie_word_embeddings

    def spec(self, role: RoleName) -> StackSpec:
        """What the encoder's, or the decoder's, stack is."""
        return spec_of(self.part(role), role)

    def part(self, role: RoleName) -> ModelConfig:
        """The encoder's, or the decoder's, config."""
        return self.encoder if role == "encoder" else self.decoder

    def get_text_config(self, decoder: bool = False, encoder: bool = False) -> ModelConfig:
        """One side's config; the decoder's unless the encoder's is asked for."""
        return self.encoder if encoder and not decoder else self.decoder

    @classmethod
    def from_encoder_decoder_configs(
        cls, encoder_config: ModelConfig, decoder_config: ModelConfig, **settings: Any
    ) -> Self:
        """A config of two parts' configs, which are copied and stay as they are."""
        return cls(encoder=encoder_config, decoder=decoder_config, **settings)

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        """From what a config.json holds. Raises ConfigError for what is not understood."""
        settings: dict[str, Any] = {}
        for key, value in found.items():
            if key in ("encoder", "decoder", "share", "tie_encoder_decoder") or key in GENERATION_FIELDS:
                settings[key] = value
            elif not (
                key.startswith("_")
                or key in BASE_IRRELEVANT
                or key in ANSWERED_BY_DECODER
                or key == "tie_word_embeddings"
            ):
                raise ConfigError(
                    f'encoder-decoder: config key "{key}" (value {value!r}) is not known{nearest(key, cls.names())}.'
                )
        for side in ("encoder", "decoder"):
            if not isinstance(settings.get(side), Mapping | ModelConfig):
                raise ConfigError(f'an encoder-decoder config needs an object "{side}"; it has {settings.get(side)!r}.')
        if settings.get("share") == "all":
            settings.pop("tie_encoder_decoder", None)
        settings["tie_encoder_decoder"] = bool(settings.get("tie_encoder_decoder"))
        try:
            config = cls(**settings)
        except TypeError as error:
            raise ConfigError(f"encoder-decoder: {error}") from None
        said = found.get("model_type", config.model_type)
        if said != config.model_type:
            raise ConfigError(
                f'the config is of model_type "{said}", and with an encoder of type "{config.encoder.model_type}" '
                f'"{config.model_type}" was expected.'
            )
        return config

    @classmethod
    def of(cls, given: Any) -> Self:
        """A copy of its own, or of transformers' config of a join; or that of a folder. Raises ConfigError for anything else."""
        if isinstance(given, cls):
            return given.copy()
        if isinstance(given, str | Path):
            return cls.from_pretrained(given)
        found = given.to_dict() if isinstance(given, HasFields) else {}
        if found.get("model_type") not in COMPOSITES:
            raise ConfigError(f"config is a {type(given).__name__}; an EncoderDecoderConfig was expected.")
        return cls.from_dict(found)

    def copy(self) -> Self:
        """A copy of its own."""
        return copy.deepcopy(self)

    def to_dict(self) -> dict[str, Any]:
        """What goes into config.json: the parts, the sharing and the special tokens."""
        part = {role: self._part_dict(role) for role in ("encoder", "decoder")}
        found = {"model_type": self.model_type, "is_encoder_decoder": True, **part}
        found |= {name: getattr(self.generation, name) for name in SPECIAL_TOKENS}
        if self.share != "none":
            found |= {"share": self.share, "tie_encoder_decoder": self.share == "all"}
        return found

    def _part_dict(self, role: RoleName) -> dict[str, Any]:
        part = self.part(role)
        return {**part.to_dict(), "architectures": [role_of(part.model_type, role).architecture]}

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
        """The config of a folder or hub id, its generation settings included, with some settings changed."""
        from conjoin.hub import resolve

        folder = resolve(
            pretrained_model_name_or_path,
            files=[CONFIG_FILE, GENERATION_FILE],
            revision=revision,
            token=token,
            local_files_only=local_files_only,
            cache_dir=cache_dir,
        )
        config = cls.from_folder(folder)
        config.update(changes)
        return config

    @classmethod
    def from_folder(cls, folder: Path) -> Self:
        """The config of a local folder. What generation_config.json says of generation wins over config.json."""
        found = read_config(folder)
        if found.get("model_type") not in COMPOSITES:
            raise ConfigError(
                f'"{folder}" is of model_type "{found.get("model_type")}"; "{TEXT}" was expected. Join single '
                f"models with from_encoder_decoder_pretrained."
            )
        if not (folder / GENERATION_FILE).exists():
            return cls.from_dict(found)
        generation = GenerationConfig.from_dict(read_json(folder / GENERATION_FILE))
        config = cls.from_dict({k: v for k, v in found.items() if k not in GENERATION_FIELDS or k in SPECIAL_TOKENS})
        forced = {name: getattr(generation, name) for name in FORCED}  # there, or meant not to be
        config.generation = config.generation.updated({**forced, **generation.to_dict()})
        return config

    def save_pretrained(self, save_directory: str | Path) -> None:
        """Writes config.json and generation_config.json into a folder, which is made where it is missing."""
        super().save_pretrained(save_directory)
        self.generation.save_pretrained(save_directory)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EncoderDecoderConfig) and (
            self.to_dict() == other.to_dict() and self.generation == other.generation
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"EncoderDecoderConfig {self.to_json_string()}"


class AutoConfig:
    """Reads any config: of a family, or of a joined model."""

    @classmethod
    def for_model(cls, model_type: str, **fields: Any) -> ModelConfig | EncoderDecoderConfig:
        """A config of a family by its model_type, with some fields set. Raises ConfigError for one that is not known."""
        kind = EncoderDecoderConfig if model_type in COMPOSITES else family_of(model_type).config
        made: ModelConfig | EncoderDecoderConfig = kind(**fields)
        return made

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, **options: Any
    ) -> ModelConfig | EncoderDecoderConfig:
        """The config of a folder, GGUF file or hub id, by its model_type.

        Options as of `EncoderDecoderConfig.from_pretrained`.
        """
        from conjoin.hub import resolve

        of_hub = {k: options[k] for k in ("revision", "token", "local_files_only", "cache_dir") if k in options}
        folder = resolve(pretrained_model_name_or_path, files=[CONFIG_FILE, GENERATION_FILE], **of_hub)
        model_type = read_config(folder).get("model_type")
        kind = EncoderDecoderConfig if model_type in COMPOSITES else family_of(model_type).config
        found: ModelConfig | EncoderDecoderConfig = kind.from_pretrained(pretrained_model_name_or_path, **options)
        return found
