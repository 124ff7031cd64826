"""A decoder whose steps are programs of fixed shapes: source, prompt and search stay what they are everywhere."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from conjoin.blocks import Cache, Place
from conjoin.engine.narrow import narrow_modules
from conjoin.errors import InputError
from conjoin.inputs import bucket
from conjoin.shapes import parameter_shapes
from conjoin.static.pool import Pool, pool_of
from conjoin.static.program import Program, Shape
from conjoin.static.runners import records

__all__ = ["StaticDecoder", "static_decoder"]

FEW = 8  # slots of a start token or a short prompt, beyond which lengths are padded


def static_decoder(decoder: Any, settings: Any) -> "StaticDecoder | None":
    """The decoder that a call's settings ask for; None where that is no other than without them.

    Raises InputError for a call, or a decoder, whose steps cannot be programs.
    """
    recorded = records(decoder.device)
    if settings.compiling is None and not (settings.static and recorded):
        return None
    name = 'cache_implementation="static"' if settings.compiling is None else "compile_config"
    for other, is_there in (
        (
            "drafts (assistant_model, prompt_lookup_num_tokens), which change how many tokens a step reads",
            settings.drafts,
        ),
        ("output_attentions, which a program does not leave behind", "attentions" in settings.outputs),
        ("output_hidden_states, which a program does not leave behind", "hidden_states" in settings.outputs),
        ("a model in whole numbers, whose products are kernels of another kind", any(narrow_modules(decoder))),
        ("weights that are no plain tensors (pieces on several devices, say)", not are_plain(decoder.parameters())),
        ("layers beside the model's own (an adapter, which can be merged), or hooks", recorded and is_changed(decoder)),
        ("torch.autocast; load the model in that dtype instead", torch.is_autocast_enabled(decoder.device.type)),
    ):
        if is_there:
            raise InputError(f"{name} came with {other}; leave one of them out.")
    return StaticDecoder(decoder, pool_of(decoder, settings.compiling))


def are_plain(weights: Iterable[Tensor]) -> bool:
    """Whether weights are tensors of torch's own kind."""
    return all(type(weight.data) is Tensor for weight in weights)


def is_changed(decoder: Any) -> bool:
    """Whether Python that is not ours decides within a step, say whether an adapter is on, which a replay would not see."""
    hooked = any(module._forward_hooks or module._forward_pre_hooks for module in decoder.modules())
    names = {name for name, _ in decoder.named_parameters(remove_duplicate=False)}
    return hooked or names != set(parameter_shapes(decoder.spec))


class StaticDecoder:
    """A decoder for one call of `generate`: a prompt is read as always, and each further step is a program's.

    Rows, slots and source are padded to few sizes. Rows that leave the batch take the others to a program of half the rows, or
    of fewer, once these are enough.
    """

    def __init__(self, decoder: Any, pool: Pool) -> None:
        self.decoder, self.pool = decoder, pool
        self.program: Program | None = None
        self.cache: list[Cache] | None = None  # what the program holds, as the last step gave it
        self.hidden: Tensor | None = None  # of the last step, with
        self.made: Tensor | None = None  # its logits

    def __getattr__(self, name: str) -> Any:
        return getattr(self.decoder, name)

    def __del__(self) -> None:
        if self.program is not None:
            self.pool.back(self.program)

    def abreast(self, ids: Tensor, start: Any, order: Tensor | None) -> Place:
        """Where tokens stand, which the program works out."""
        return Place(None, start, None if order is None else (ids, order))

    def step(
        self,
        ids: Tensor,
        place: Place,
        mask: Tensor | None,
        memory: list[Cache],
        memory_mask: Tensor | None,
        cache: list[Cache],
        at: int,
        trace: None = None,
        stands: None = None,
    ) -> tuple[Tensor, list[Cache]]:
        """As a decoder's: of a prompt its own, of what comes after that a program's."""
        if at == 0:
            hidden, cache = self.decoder.step(ids, place, mask, memory, memory_mask, cache, at, trace)
            return hidden, cache
        if self.program is None or cache is not self.cache:
            self.load(ids, memory, memory_mask, cache, at)
        assert self.program is not None
        assert self.cache is not None
        order = None if place.order is None else place.order[1]
        self.hidden, self.made = self.program(ids, place.positions, order, mask, at)
        return self.hidden, self.cache

    def logits(self, x: Tensor) -> Tensor:
        """Hidden states (..., W) -> logits (..., V); those of the last step were made with it."""
        if x is self.hidden and self.made is not None:
            return self.made
        found: Tensor = self.decoder.logits(x)
        return found

    def load(self, ids: Tensor, memory: list[Cache], memory_mask: Tensor | None, cache: list[Cache], at: int) -> None:
        """Goes on from a cache that the program does not hold: that of a prompt, or of the rows that are left."""
        keys, read = cache[0][0], memory[0][0]
        shape = Shape(
            rows=bucket(len(ids), least=1),
            count=ids.shape[1],
            slots=FEW + bucket(keys.shape[2] - FEW),
            source=bucket(read.shape[2]),
            dtype=keys.dtype,
        )
        was = self.program
        if was is None or not holds(was.shape, shape):
            self.program = self.pool.taken(self.decoder, shape, memory)
        assert self.program is not None
        self.cache = self.program.load(cache, at, memory, memory_mask)
        if was is not None and was is not self.program:
            self.pool.back(was)


def holds(there: Shape, needed: Shape) -> bool:
    """Whether to go on with buffers that are there: they fit, and fewer than half of their rows would be empty."""
    return (
        replace(needed, rows=there.rows, slots=there.slots) == there
        and needed.slots <= there.slots
        and (needed.rows <= there.rows < 2 * needed.rows)
    )
