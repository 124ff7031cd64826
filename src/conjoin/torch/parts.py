"""Encoder and Decoder in PyTorch: one part of a join, that loads, saves, grows and freezes alone."""

import functools
import inspect
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from conjoin.checkpoint import TensorFolder, atomic_folder, require_space, write_tensors
from conjoin.config import CONFIG_FILE, ModelConfig
from conjoin.errors import InputError, refuse_unknown
from conjoin.families import role_of
from conjoin.joining import OpenPart, open_part
from conjoin.spec import RoleName
from conjoin.tokens.finding import find_tokenizer
from conjoin.tokens.pair import TokenizerLike
from conjoin.torch.initial import initialise, materialise, on_meta, place, tensor_of
from conjoin.torch.native import BaseDecoder, BaseEncoder
from conjoin.torch.sized import Sized
from conjoin.weights import Plan, from_file, to_file

__all__ = ["Decoder", "Encoder", "Part", "as_device", "as_dtype", "checked_names", "file_tensors", "save_tensors"]

NEW_IN_A_JOIN = (".cross", ".gate", "head.")


def checked_names(method: Callable[..., Any]) -> Callable[..., Any]:
    """Makes a misspelt argument an error that names the nearest one."""
    known = frozenset(inspect.signature(method).parameters)

    @functools.wraps(method)
    def checked(self: Any, *args: Any, **given: Any) -> Any:
        if not known.issuperset(given):
            refuse_unknown(f"{type(self).__name__}.{method.__name__}()", given, sorted(known - {"self"}))
        return method(self, *args, **given)

    return checked


def as_dtype(dtype: "str | torch.dtype | None", folder: TensorFolder | None = None) -> torch.dtype | None:
    """A torch type from its name; "auto" and None are the file's own. Raises InputError for what is no float type."""
    if dtype is None or dtype == "auto":
        return None
    found = getattr(torch, dtype.removeprefix("torch."), None) if isinstance(dtype, str) else dtype
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise InputError(f'dtype is {dtype!r}; "auto", "float32", "bfloat16", "float16" or "float64" was expected.')
    return found


def as_device(device: "str | int | torch.device | None", device_map: Any = None) -> torch.device:
    """Where to put a model: `device`, or the one device that `device_map` names ("auto": a GPU where there is one)."""
    if isinstance(device_map, dict):
        raise InputError(f"device_map is {device_map!r}; a joined model lives on one device, so one name was expected.")
    if device is None and device_map == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    chosen = device if device is not None else device_map
    return torch.device("cpu" if chosen is None else chosen)


class Part(Sized):
    """What both sides of a join can do."""

    role: ClassVar[RoleName]
    config: ModelConfig
    tokenizer: TokenizerLike | None
    new_parameters: tuple[str, ...]  # what a join made new
    shared_with_partner: str | None  # why this part cannot be resized alone

    # What torch.nn.Module gives, named for readers and the type checker.
    state_dict: Callable[..., dict[str, Tensor]]
    embed: Any
    head: Any
    output: Any
    spec: Any

    def get_input_embeddings(self) -> torch.nn.Module:
        """The token embedding."""
        found: torch.nn.Module = self.embed.token
        return found

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: dict[str, Any] | None = None) -> None:
        """Trades time for memory in training: each block is computed again in the backward pass."""
        self.recompute = True

    def gradient_checkpointing_disable(self) -> None:
        """Keeps all activations again."""
        self.recompute = False

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        dtype: "str | torch.dtype | None" = None,
        device: "str | torch.device | None" = None,
        **options: Any,
    ) -> Self:
        """The part alone, from a folder or hub id. Options are overrides of its config, and the hub's.

        What a decoder's file does not have (cross-attention, and a head that was never saved) is initialised; the names
        are in `new_parameters`. Raises CheckpointError, ConfigError or TypeError.
        """
        opened = open_part(name, cls.role, options)
        part = on_meta(lambda: cls(opened.config))  # type: ignore[call-arg, return-value, arg-type]
        new = load_part(part, opened, as_dtype(dtype), as_device(device))
        initialise(part, new, part.spec)  # type: ignore[arg-type]
        part.new_parameters = new  # type: ignore[assignment]
        part.tokenizer = find_tokenizer(opened.folder)  # type: ignore[assignment]
        part.eval()  # type: ignore[operator]
        return part  # type: ignore[return-value]

    def save_pretrained(self, folder: str | Path, *, max_shard_size: int | str = "5GB") -> None:
        """Writes config.json, the weights and the tokenizer into a folder that transformers and conjoin open alone."""
        tensors = file_tensors(self, self.role)
        target = Path(folder)
        require_space(target, sum(t.nbytes for t in tensors.values()))
        with atomic_folder(target) as made:
            architecture = role_of(self.config.model_type, self.role).architecture
            document = {
                **self.config.to_dict(),
                "architectures": [architecture],
                "dtype": str(self.dtype).removeprefix("torch."),
            }
            write_json(made / CONFIG_FILE, document)
            save_tensors(made, tensors, max_shard_size)
            if self.tokenizer is not None:
                self.tokenizer.save_pretrained(str(made))

    @torch.no_grad()
    def resize_token_embeddings(self, new_num_tokens: int) -> torch.nn.Module:
        """Grows or cuts the vocabulary, with the head and its bias; new rows are initialised as the config says."""
        if self.shared_with_partner:
            raise InputError(self.shared_with_partner)
        if new_num_tokens < 1:
            raise InputError(f"new_num_tokens is {new_num_tokens}; at least 1 was expected.")
        names = ["embed.token.weight", "output.weight", "head.bias"]
        for name in [n for n in names if n in self.state_dict()]:
            old = tensor_of(self, name)  # type: ignore[arg-type]
            new = old.new_zeros(new_num_tokens, *old.shape[1:])
            if name != "head.bias":
                new.normal_(0.0, self.spec.initializer_range)
            keep = min(len(old), new_num_tokens)
            new[:keep] = old[:keep]
            place(self, name, new)  # type: ignore[arg-type]
        self.embed.token.num_embeddings = new_num_tokens
        self.config.vocab_size = new_num_tokens  # type: ignore[attr-defined]
        self.spec = replace(self.spec, vocab=new_num_tokens)
        return self.get_input_embeddings()


class Encoder(Part, BaseEncoder):  # type: ignore[misc]
    """A stack that reads the whole source at once: input_ids (B, S) -> last_hidden_state (B, S, W)."""

    role = "encoder"

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.tokenizer, self.shared_with_partner = None, None
        self.new_parameters = ()

    forward = checked_names(BaseEncoder.forward)


class Decoder(Part, BaseDecoder):  # type: ignore[misc]
    """A causal stack with cross-attention: input_ids (B, T), encoder_hidden_states (B, S, W) -> logits (B, T, V)."""

    role = "decoder"

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.tokenizer, self.shared_with_partner = None, None
        self.new_parameters = ()

    forward = checked_names(BaseDecoder.forward)

    def get_output_embeddings(self) -> torch.nn.Module:
        """The module whose weight (V, W) makes the logits."""
        found: torch.nn.Module = self.embed.token if self.output is None else self.output
        return found


def load_part(
    part: Any, opened: OpenPart, dtype: torch.dtype | None, device: torch.device, skip: Iterable[str] = ()
) -> tuple[str, ...]:
    """Reads a part on the meta device from its own folder; returns what the folder does not have and a join makes new."""
    with opened.tensors("pt") as folder:
        wanted = {n: tuple(t.shape) for n, t in part.state_dict().items() if n not in set(skip)}
        planned = opened.plan(wanted, folder.shapes)
        new = tuple(n for n in planned.report.missing if is_new_in_a_join(n, planned))
        for name in new:
            del planned.report.missing[name]
        planned.report.refuse(f'"{opened.folder}" (as {opened.role})')
        read_into(part, planned, folder, dtype, device)
    materialise(part, left_on_meta(part, wanted), dtype or part_dtype(part), device)
    return new


def is_new_in_a_join(name: str, planned: Plan) -> bool:
    """Cross-attention, and a head of which the file has nothing, may be new; half of one may not."""
    if not any(mark in name for mark in NEW_IN_A_JOIN):
        return False
    mark = "head." if "head." in name else ".cross"
    return not any(mark in ours for read in planned.reads for ours in read.ours)


def read_into(
    part: Any, planned: Plan, folder: TensorFolder, dtype: torch.dtype | None, device: torch.device, prefix: str = ""
) -> None:
    """Reads each tensor into a part, one at a time, each into memory of its own."""
    for read in planned.reads:
        for name, array in from_file(read, folder.read(prefix + read.theirs)):
            kind = dtype if dtype is not None else array.dtype
            tensor = array.to(device=device, dtype=kind, copy=True, memory_format=torch.contiguous_format)
            place(part, name, tensor)


def left_on_meta(part: torch.nn.Module, names: Iterable[str]) -> list[str]:
    """Which of the named tensors have no storage yet."""
    return [name for name in names if tensor_of(part, name).is_meta]


def part_dtype(part: torch.nn.Module) -> torch.dtype:
    """The type of the first parameter that has storage."""
    return next((p.dtype for p in part.parameters() if not p.is_meta), torch.float32)


def file_tensors(part: Any, role: RoleName, skip: Iterable[str] = ()) -> dict[str, Tensor]:
    """A part's tensors under the file's names and in its layout."""
    gone = set(skip)
    arrays = {n: t.detach() for n, t in part.state_dict().items() if n not in gone}
    return to_file(
        role_of(part.config.model_type, role),
        arrays,
        layers=range(part.spec.layers),
        concat=lambda parts: torch.cat(parts, 0),
    )


def save_tensors(folder: Path, tensors: dict[str, Tensor], max_shard_size: int | str) -> None:
    """Writes tensors as safetensors, in shards where they are many."""
    from safetensors.torch import save_file

    plain = {name: tensor.contiguous() for name, tensor in tensors.items()}
    write_tensors(folder, plain, save_file, lambda t: t.nbytes, max_shard_size)


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Writes a JSON object, keys in order."""
    import json

    path.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", encoding="utf-8")
