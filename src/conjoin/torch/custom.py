"""An encoder of the user's own in a join: any torch module that maps its inputs to hidden states (B, S, W).

What such a module is given is what it names: `model(pixel_values=..., labels=...)` calls it with pixel_values. The decoder
then sees its states, and of these the ones that attention_mask shows where it has a column for each state; where it has
not (samples of sound, of which a frame is many), or where none is given, all of them.
"""

import inspect
from collections.abc import Collection, Mapping
from typing import Any, ClassVar, Protocol, runtime_checkable

from torch import Tensor
from torch.nn import Module

from conjoin.checkpoint import TensorFolder
from conjoin.composite import EncoderDecoderConfig
from conjoin.errors import ConfigError, InputError, refuse_unknown
from conjoin.families import spec_of
from conjoin.families.custom import CustomConfig
from conjoin.outputs import BaseModelOutput
from conjoin.senses import SENSES
from conjoin.spec import RoleName, row
from conjoin.tokens.pair import TokenizerLike
from conjoin.torch.parts import Decoder, Encoder
from conjoin.weights import Plan, Read, Report

__all__ = ["SOURCE", "CustomEncoder", "as_encoder"]

SOURCE = (
    "input_ids",
    "inputs",
    "attention_mask",
    "token_type_ids",
    "position_ids",
    "inputs_embeds",
    "global_attention_mask",
    *SENSES,
)
FLAGS = ("output_attentions", "output_hidden_states")
WIDTHS = ("hidden_size", "d_model")


@runtime_checkable
class Recomputing(Protocol):
    """A module that can compute its activations again in the backward pass, as transformers' can."""

    def gradient_checkpointing_enable(self) -> None:
        """Computes them again."""

    def gradient_checkpointing_disable(self) -> None:
        """Keeps them."""


@runtime_checkable
class Embedding(Protocol):
    """A module that has a token embedding, as transformers' have."""

    def get_input_embeddings(self) -> Any:
        """The embedding."""


def as_encoder(part: Any, config: EncoderDecoderConfig | None, hidden_size: int | None) -> Any:
    """A module of the user's own as an encoder; what is a part of ours, or no module, as it is.

    Raises ConfigError for a module whose width is not known.
    """
    if not isinstance(part, Module) or isinstance(part, Encoder | Decoder | CustomEncoder):
        if hidden_size is not None:
            raise ConfigError("encoder_hidden_size is of a module of your own, and none was given as encoder.")
        return part
    saved = config.encoder if config is not None and isinstance(config.encoder, CustomConfig) else None
    return CustomEncoder(part, width_of(part, hidden_size, None if saved is None else saved.hidden_size))


def width_of(module: Module, asked: int | None, saved: int | None) -> int:
    """The width of a module's hidden states: as asked for, as its config says, or as it was saved."""
    config = getattr(module, "config", None)
    own = next((w for w in (getattr(config, name, None) for name in WIDTHS) if isinstance(w, int)), None)
    known = [width for width in (asked, own, saved) if width is not None]
    name = type(module).__name__
    if not known:
        raise ConfigError(
            f"the width of {name}'s hidden states is not known: it has no config with hidden_size or d_model; say it with "
            f"encoder_hidden_size."
        )
    if saved is not None and known[0] != saved:
        raise ConfigError(
            f"{name}'s hidden states have width {known[0]}; {saved} was expected, as they were saved with."
        )
    return known[0]


class CustomEncoder(Module):
    """A module of the user's own where a join has its encoder: `module`, its inputs by name, its states checked."""

    role: ClassVar[RoleName] = "encoder"

    def __init__(self, module: Module, hidden_size: int) -> None:
        super().__init__()
        self.module = module
        self.config = CustomConfig(hidden_size=hidden_size, class_name=type(module).__name__)
        self.spec = spec_of(self.config, "encoder")
        self.tokenizer: TokenizerLike | None = None
        self.processor_files: dict[str, str] = {}
        self.new_parameters: tuple[str, ...] = ()
        self.shared_with_partner: str | None = None
        kinds = inspect.signature(module.forward).parameters
        self.open = any(p.kind is p.VAR_KEYWORD for p in kinds.values())
        self.names = tuple(n for n, p in kinds.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))
        self.main_input_name = next(iter(self.names), "input_ids")
        odd = [name for name, value in module.state_dict().items() if not isinstance(value, Tensor)]
        if odd:
            raise ConfigError(
                f"{self.config.class_name} keeps {', '.join(odd)}, no tensor, in its state; only tensors are saved."
            )

    # Reading a source.

    def forward(self, *, return_dict: bool | None = True, **inputs: Any) -> BaseModelOutput | tuple[Any, ...]:
        """What the module names among its inputs -> BaseModelOutput. Raises InputError for states of another shape."""
        found = self.module(**self.asked(inputs))
        more = found if isinstance(found, Mapping) else {}
        out = BaseModelOutput.of(
            last_hidden_state=self.states_of(found),
            hidden_states=more.get("hidden_states"),
            attentions=more.get("attentions"),
        )
        return out if return_dict is not False else out.to_tuple()

    def asked(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The inputs that are there: all must be named, but for a mask, which then is the decoder's alone.

        A module that names none and takes any gets all. Raises TypeError for one that is not named.
        """
        free = self.open and not self.names
        given = {name: x for name, x in inputs.items() if x is not None and name not in FLAGS}
        if not free and "attention_mask" not in self.names:
            given.pop("attention_mask", None)
        if not free:
            refuse_unknown(self.config.class_name, given, self.names)
        flags = {name: True for name in FLAGS if inputs.get(name) and (self.open or name in self.names)}
        return {**given, **flags}

    def states_of(self, found: Any) -> Tensor:
        """The hidden states in what the module returned: a tensor, a tuple that begins with it, or last_hidden_state."""
        states = found
        if isinstance(found, Mapping):
            states = found.get("last_hidden_state")
        elif isinstance(found, tuple) and found:
            states = found[0]
        expected = f"hidden states of shape (batch, tokens, {self.spec.width}) were expected"
        if not isinstance(states, Tensor):
            kind = f"{', '.join(found)}" if isinstance(found, Mapping) else f"a {type(states).__name__}"
            raise InputError(f"the encoder, {self.config.class_name}, returned {kind}; {expected}.")
        if states.dim() != 3 or states.shape[2] != self.spec.width:
            raise InputError(
                f"the encoder, {self.config.class_name}, returned shape {tuple(states.shape)}; {expected}."
            )
        return states

    def source_mask(self, input_ids: Tensor | None, attention_mask: Tensor | None) -> Tensor | None:
        """(B, S) boolean: the mask given, and nothing inferred, since the module may mean anything by its ids."""
        return None if attention_mask is None else attention_mask != 0

    def memory_mask(self, seen: Tensor | None, length: int) -> Tensor | None:
        """The same mask: what does not fit the states is gone before."""
        return seen

    def encoded(self, given: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
        """A call's arguments with the source read: what is not `known`, and what SOURCE names, became encoder_outputs.

        attention_mask is left where it fits the states, and gone where it does not.
        """
        if given.get("encoder_outputs") is not None:
            return dict(given)
        left = {n: x for n, x in given.items() if n in known and n not in SOURCE}
        source = {n: x for n, x in given.items() if n not in left}
        out = self(**source, **{n: given[n] for n in FLAGS if n in given})
        mask = given.get("attention_mask")
        fits = mask is not None and tuple(mask.shape) == tuple(out["last_hidden_state"].shape[:2])
        return {**left, "encoder_outputs": out, "attention_mask": mask if fits else None}

    # What a join asks of its parts.

    def get_input_embeddings(self) -> Any:
        """The module's token embedding, or None where it has none."""
        return self.module.get_input_embeddings() if isinstance(self.module, Embedding) else None

    def gradient_checkpointing_enable(self) -> None:
        """Asks the module to. Raises InputError where it cannot."""
        self.recomputing().gradient_checkpointing_enable()

    def gradient_checkpointing_disable(self) -> None:
        """Asks the module to."""
        if isinstance(self.module, Recomputing):
            self.module.gradient_checkpointing_disable()

    def recomputing(self) -> Recomputing:
        """The module, where it can compute its activations again."""
        if not isinstance(self.module, Recomputing):
            raise InputError(
                f"the encoder, {self.config.class_name}, has no gradient_checkpointing_enable; call it on model.decoder for "
                f"the decoder alone."
            )
        return self.module

    def resize_token_embeddings(
        self, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None
    ) -> Module:
        """Refused: the module's vocabulary is its own."""
        raise InputError(
            f"the encoder, {self.config.class_name}, is a module of your own; resize it before it is joined."
        )

    def repositioned(self, positions: int, init: str) -> None:
        """Refused: so are its positions."""
        raise InputError(
            f"the encoder, {self.config.class_name}, is a module of your own; lengthen it before it is joined."
        )

    # Saving and loading.

    def own_tensors(self) -> dict[str, Tensor]:
        """The module's parameters and saved buffers by its own names, each tied one once."""
        found: dict[object, tuple[str, Tensor]] = {}
        for name, tensor in self.module.state_dict(keep_vars=True).items():
            place = (tensor.data_ptr(), tensor.shape) if tensor.numel() and not tensor.is_meta else id(tensor)
            found.setdefault(place, (name, tensor))
        return dict(found.values())

    def file_tensors(self, skip: Collection[str] = (), given: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """What is saved: its own values, or others that were given, under its own names."""
        held = {} if given is None else {name.removeprefix("module."): x for name, x in given.items()}
        return {name: held.get(name, tensor).detach() for name, tensor in self.own_tensors().items()}

    def plan(self, available: Mapping[str, tuple[int, ...]], skip: Collection[str] = ()) -> Plan:
        """How its values are read out of a file that has these tensors, and what does not fit."""
        own = {name: tuple(tensor.shape) for name, tensor in self.own_tensors().items()}
        report = Report(
            missing={name: name for name in own if name not in available},
            unexpected=[name for name in available if name not in own],
            mismatched=[
                f"{name} is {list(available[name])}, {list(shape)} was expected"
                for name, shape in own.items()
                if name in available and available[name] != shape
            ],
        )
        reads = [
            Read(name, row(name, name), (name,), (shape,), heads=1) for name, shape in own.items() if name in available
        ]
        return Plan(reads, "", report)

    def move(self, where: Any) -> None:
        """Goes where a model goes, and into its type where one is asked for."""
        self.module.to(device=where.device, dtype=where.dtype)

    def read(self, planned: Plan, folder: TensorFolder, where: Any) -> None:
        """Puts a file's values into the module's own tensors, in the type and place that are asked for."""
        own = self.own_tensors()
        if any(tensor.is_meta for tensor in own.values()):
            raise ConfigError(f"{self.config.class_name} is on the meta device; build it where it can hold values.")
        self.module.to(device=where.device)
        for read in planned.reads:
            found: Tensor = folder.read(f"encoder.{read.theirs}")
            kind = where.dtype if where.dtype is not None and found.is_floating_point() else found.dtype
            own[read.theirs].data = found.detach().to(device=where.device, dtype=kind, copy=True)
