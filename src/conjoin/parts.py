"""What one part of a join, an encoder or a decoder, can do in every framework: load, save and recompute."""

import functools
import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

from conjoin.checkpoint import TensorFolder, atomic_folder, require_space, write_tensors
from conjoin.config import CONFIG_FILE, ModelConfig
from conjoin.errors import InputError, refuse_unknown
from conjoin.extending import POSITIONS, PositionInit, check_position_init, resized_table
from conjoin.families import family_of, role_of, spec_of
from conjoin.initial import blank, initialise, is_blank
from conjoin.joining import open_part
from conjoin.loading import load_part, read_into
from conjoin.processors import find_processor, write_processor
from conjoin.spec import RoleName, StackSpec
from conjoin.tokens.finding import find_tokenizer
from conjoin.tokens.pair import TokenizerLike
from conjoin.weights import Plan, Shape, plan, to_file

__all__ = ["Part", "checked_names", "save_tensors", "write_json"]

VOCABULARY = ("embed.token.weight", "output.weight", "head.bias")  # what has a row for each token


def checked_names(method: Callable[..., Any]) -> Callable[..., Any]:
    """Makes a misspelt argument an error that names the nearest one."""
    known = frozenset(inspect.signature(method).parameters)

    @functools.wraps(method)
    def checked(self: Any, *args: Any, **given: Any) -> Any:
        if not known.issuperset(given):
            refuse_unknown(f"{type(self).__name__}.{method.__name__}()", given, sorted(known - {"self"}))
        return method(self, *args, **given)

    return checked


class Part:
    """Both sides of a join; a framework's class gives `ops`, its backend."""

    ops: ClassVar[Any]
    role: ClassVar[RoleName]
    config: ModelConfig
    spec: StackSpec
    tokenizer: TokenizerLike | None
    processor_files: dict[str, str]  # of an encoder of images or sounds: the texts of its processor's files, by name
    new_parameters: tuple[str, ...]  # what a join made new
    shared_with_partner: str | None  # why this part cannot be resized alone
    embed: Any
    output: Any

    def begin(self) -> None:
        """What every part starts with; first values too, unless they come from a checkpoint."""
        self.tokenizer, self.shared_with_partner = None, None
        self.processor_files = {}
        self.new_parameters = ()
        if not is_blank(self.ops):
            names = list(self.ops.shapes(self))
            self.ops.materialise(self, names, self.ops.placement())
            initialise(self.ops, self, names, self.spec)

    @property
    def main_input_name(self) -> str:
        """What it reads first: "input_ids", or of an encoder of images or sounds "pixel_values", "input_values"..."""
        return "input_ids" if self.spec.front is None else self.spec.front.argument

    def get_input_embeddings(self) -> Any:
        """The token embedding; None for an encoder of images or sounds."""
        return self.embed.token if self.spec.front is None else None

    def get_output_embeddings(self) -> Any:
        """The module whose weight (V, W) makes the logits; None for an encoder."""
        if self.role == "encoder":
            return None
        return self.embed.token if self.output is None else self.output

    def resize_token_embeddings(self, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None) -> Any:
        """Grows or cuts the vocabulary, with the head and its bias; new rows are initialised as the config says.

        The number, which is by default that of now, is rounded up to a multiple of `pad_to_multiple_of`. Returns the token
        embedding. What was made for the parameters as they were, an optimiser, must be made again. Raises
        InputError for less than one token, where a partner shares the embedding, and for an encoder of images or sounds.
        """
        if self.shared_with_partner:
            raise InputError(self.shared_with_partner)
        if self.spec.front is not None:
            raise InputError(f"the {self.role} reads {self.spec.front.argument} and has no vocabulary to resize.")
        return self.resized(new_num_tokens, pad_to_multiple_of)

    def resized(self, asked: int | None, multiple: int | None) -> Any:
        """The same, whoever shares the embedding."""
        tokens = rounded_up(asked, self.spec.vocab, multiple)
        ops, there = self.ops, self.ops.shapes(self)
        for name in [n for n in VOCABULARY if n in there]:
            kept = ops.detached(ops.read(self, name))[:tokens]
            more = ops.zero_rows(kept, tokens - len(kept))
            if name != "head.bias":
                more = ops.normal(more, self.spec.initializer_range)
            ops.resize(self, name, ops.joined_rows([kept, more]))
        self.config.vocab_size = tokens
        self.spec = replace(self.spec, vocab=tokens)
        return self.get_input_embeddings()

    def resize_position_embeddings(self, new_num_position_embeddings: int, init: PositionInit = "tile") -> None:
        """Makes the config's `max_position_embeddings` this many, and with it the learned table of positions.

        New positions start as those of the first ones again ("tile") or at random ("random"), and are to be trained. What
        was made for the parameters as they were, an optimiser, must be made again. Raises InputError where no positions
        are learned and where a partner shares them, ConfigError for a number that cannot be.
        """
        if self.shared_with_partner:
            raise InputError("positions may be shared; resize them with model.resize_position_embeddings(...).")
        self.repositioned(new_num_position_embeddings, init)

    def repositioned(self, positions: int, init: PositionInit) -> None:
        """The same, whoever shares them."""
        check_position_init(init)
        if self.spec.front is not None or POSITIONS not in self.ops.shapes(self):
            raise InputError(f"the {self.role} ({self.config.model_type}) has no learned positions to resize.")
        field = self.config.by_role(self.role, "max_position_embeddings")
        rows = spec_of(self.config.copy(**{field: positions}), self.role).positions
        spec = replace(self.spec, positions=rows)
        if spec.max_length < 1:
            raise InputError(f"new_num_position_embeddings is {positions}; it leaves no position for a token.")
        table = self.ops.detached(self.ops.read(self, POSITIONS))
        self.ops.resize(self, POSITIONS, resized_table(self.ops, table, spec, init))
        setattr(self.config, field, positions)
        self.spec = spec

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: dict[str, Any] | None = None) -> None:
        """Trades time for memory in training: each block is computed again in the backward pass."""
        self.recompute = True

    def gradient_checkpointing_disable(self) -> None:
        """Keeps all activations again."""
        self.recompute = False

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, *, dtype: Any = None, device: Any = None, **options: Any
    ) -> Self:
        """The part alone, from a folder, GGUF file or hub id. Options are overrides of its config, and the hub's.

        What a decoder's file does not have (cross-attention, and a head that was never saved) is initialised; the names
        are in `new_parameters`. Raises CheckpointError, ConfigError or TypeError.
        """
        opened = open_part(pretrained_model_name_or_path, cls.role, options)
        where = cls.ops.placement(dtype, device)
        part: Self = blank(cls.ops, lambda: cls(opened.config), where)  # type: ignore[call-arg]
        new = load_part(cls.ops, part, opened, where)
        initialise(cls.ops, part, new, part.spec)
        part.new_parameters = new
        if part.spec.front is None:
            part.tokenizer = find_tokenizer(opened.folder)
        else:
            part.processor_files = find_processor(opened.folder)
        cls.ops.evaluating(part)
        return part

    def save_pretrained(self, save_directory: str | Path, *, max_shard_size: int | str = "5GB") -> None:
        """Writes config.json, the weights and the tokenizer into a folder that transformers and conjoin open alone."""
        tensors = self.file_tensors()
        target = Path(save_directory)
        require_space(target, sum(t.nbytes for t in tensors.values()))
        with atomic_folder(target) as made:
            architecture = role_of(self.config.model_type, self.role).architecture
            document = {
                **self.config.to_dict(),
                "architectures": [architecture],
                "dtype": self.ops.dtype_name(self),
            }
            write_json(made / CONFIG_FILE, document)
            save_tensors(self.ops, made, tensors, max_shard_size)
            if self.tokenizer is not None:
                self.tokenizer.save_pretrained(str(made))
            write_processor(made, self.processor_files)

    def file_tensors(self, skip: Iterable[str] = (), given: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Its arrays, or others that were given under their names, under the file's names and in its layout."""
        gone = set(skip)
        held = self.ops.named_arrays(self) if given is None else given
        arrays = {name: array for name, array in held.items() if name not in gone}
        side = role_of(self.config.model_type, self.role)
        return to_file(side, arrays, layers=range(self.spec.layers), heads=self.spec.heads, concat=self.ops.joined_rows)

    def plan(self, available: Mapping[str, Shape], skip: Iterable[str] = ()) -> Plan:
        """How to read it out of a joined model's tensors of these names, the role before them left out."""
        gone = set(skip)
        wanted = {name: shape for name, shape in self.ops.shapes(self).items() if name not in gone}
        family, side = family_of(self.config.model_type), role_of(self.config.model_type, self.role)
        return plan(family, side, wanted, available, layers=range(self.spec.layers), heads=self.spec.heads)

    def read(self, planned: Plan, folder: TensorFolder, where: Any) -> None:
        """Reads it out of a joined model's folder."""
        read_into(self.ops, self, planned, folder, where, prefix=f"{self.role}.")

    def num_parameters(self, only_trainable: bool = False) -> int:
        """How many numbers it has, each shared one counted once."""
        count: int = self.ops.parameter_count(self, only_trainable)
        return count


def rounded_up(asked: int | None, now: int, multiple: int | None) -> int:
    """How many tokens a vocabulary gets. Raises InputError for less than one, and for no whole number."""
    for name, value in (("new_num_tokens", asked), ("pad_to_multiple_of", multiple)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise InputError(f"{name} is {value!r}; at least 1 was expected.")
    tokens = now if asked is None else asked
    return tokens if multiple is None else -(-tokens // multiple) * multiple


def save_tensors(ops: Any, folder: Path, tensors: dict[str, Any], max_shard_size: int | str) -> None:
    """Writes arrays as safetensors, in shards where they are many."""
    write_tensors(folder, tensors, ops.save_file, lambda t: t.nbytes, max_shard_size)


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Writes a JSON object, keys in order."""
    path.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", encoding="utf-8")
