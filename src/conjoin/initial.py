"""The first values of parameters that no checkpoint has."""

import contextlib
import contextvars
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from conjoin.spec import StackSpec

__all__ = ["blank", "copy_self_attention", "initialise", "is_blank"]

RESIDUAL = ("attention.o.weight", "cross.o.weight", "ffn.down.weight")
BLANK: contextvars.ContextVar[bool] = contextvars.ContextVar("BLANK", default=False)


@contextlib.contextmanager
def building_blank() -> Iterator[None]:
    """Models that are built meanwhile get their values later, from a checkpoint."""
    token = BLANK.set(True)
    try:
        yield
    finally:
        BLANK.reset(token)


def is_blank(ops: Any) -> bool:
    """Whether a model is being built whose values come later, or which the framework was told to build without any."""
    return BLANK.get() or bool(ops.without_storage())


def blank(ops: Any, make: Callable[[], Any], where: Any) -> Any:
    """A model whose values come later."""
    with building_blank():
        return ops.blank(make, where)


def initialise(ops: Any, model: Any, names: Iterable[str], spec: StackSpec) -> None:
    """Fresh values: weights from a normal of the config's initializer_range, norms and gains 1, biases and gates 0.

    Where the family asks for it (GPT-2), what writes into the residual starts smaller by sqrt(2 layers), as in section
    2.3 of its paper.
    """
    for name in names:
        if name.endswith("_scale"):
            ops.rewrite(model, name, lambda old: ops.constant(old, spec.layer_scale))
        elif name.endswith(".gain"):
            ops.rewrite(model, name, lambda old: ops.constant(old, 1.0))
        elif name.endswith(("bias", "gate")):
            ops.rewrite(model, name, lambda old: ops.constant(old, 0.0))
        elif name.rsplit(".", 2)[-2].endswith("norm"):
            ops.rewrite(model, name, lambda old: ops.constant(old, 1.0 - spec.norm_offset))
        else:
            scaled = spec.scaled_residual_init and name.endswith(RESIDUAL)
            std = spec.initializer_range / (math.sqrt(2 * spec.layers) if scaled else 1.0)
            ops.rewrite(model, name, lambda old, std=std: ops.normal(old, std))


def copy_self_attention(ops: Any, decoder: Any, names: Iterable[str]) -> None:
    """Starts new cross-attention as a copy of its layer's self-attention, norm included (T5Gemma, 2504.06225).

    What self-attention has nothing like (a gate, a norm that it goes without) stays as it was initialised.
    """
    shapes = ops.shapes(decoder)
    for name in names:
        like = name.replace(".cross", ".attention")
        if ".cross" in name and shapes.get(like) == shapes[name]:
            own = ops.read(decoder, like)
            ops.rewrite(decoder, name, lambda old, own=own: own)
