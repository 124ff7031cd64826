"""Which twin of a stack `generate` runs on: the engine's where it can hold the stack, else the one with packed layers."""

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from conjoin.engine.kernels.layout import Mode
from conjoin.engine.machine import SWITCH, has_kernels, wants_kernels
from conjoin.engine.narrow import mode_of, narrow_modules
from conjoin.engine.packed import can_pack, packed_copy

__all__ = ["as_they_are", "is_native", "twin_of"]

# Twins by stack, beside the model rather than in it: they are no part of what is saved, copied or pickled.
TWINS: WeakKeyDictionary[Any, tuple[Any, object]] = WeakKeyDictionary()
MAKING = threading.RLock()  # two calls at once make one twin
SAMPLED = 1024  # values of each weight that are looked at
MODES = {torch.float32: Mode.FLOAT32, torch.bfloat16: Mode.BFLOAT16, torch.float16: Mode.FLOAT16}


class Looked(threading.local):
    """Whether weights were looked at for what this thread does now."""

    already = False


LOOKED = Looked()


@contextlib.contextmanager
def as_they_are() -> Iterator[None]:
    """Twins that there are serve without another look at weights: within a call that looked when it began."""
    was, LOOKED.already = LOOKED.already, True
    try:
        yield
    finally:
        LOOKED.already = was


def twin_of(stack: Any) -> Any:
    """The fastest twin of an encoder or decoder on a CPU, kept until a weight changes; the stack itself where there is none."""
    if LOOKED.already and stack in TWINS:
        return TWINS[stack][0] or stack
    if stack.spec.layers == 0 or stack.device.type != "cpu":  # no stack of ours, or no CPU's
        return stack
    if not all(type(p.data) is Tensor for p in stack.parameters()):  # sharded, or another subclass
        return stack
    state = signature(stack)
    with MAKING:
        if stack not in TWINS or TWINS[stack][1] != state:
            TWINS[stack] = (made(stack), state)
        return TWINS[stack][0] or stack


def is_native(*parts: Any) -> bool:
    """Whether parts are all twins on the engine's kernels."""
    return all(vars(part).get("is_native", False) for part in parts)


def made(stack: Any) -> Any:
    """A new twin, or None."""
    twin = native(stack)
    if twin is None and can_pack(stack):
        twin = packed_copy(stack)
    return twin


def native(stack: Any) -> Any:
    """A twin on the engine's kernels, or None where they do not run or cannot hold the stack."""
    narrow, size = mode_of(stack), sum(p.numel() for p in stack.parameters())
    if stack.dtype not in MODES or not has_kernels() or not (narrow is not None or wants_kernels(size)):
        return None
    from conjoin.engine.recording import UnsupportedError
    from conjoin.engine.tensors import native_twin

    try:
        return native_twin(stack, MODES[stack.dtype] if narrow is None else narrow)
    except UnsupportedError:
        return None


def signature(stack: Any) -> tuple[object, ...]:
    """What changes when a weight does: where each lies, how often it was written, and some of its values.

    The values are for writes through `.data`, which torch does not count.
    """
    weights = [p.detach() for p in stack.parameters()]
    scales = (module.panels.scales for _, module in narrow_modules(stack))
    weights += [torch.from_numpy(one) for one in scales if one is not None]
    sums = [p.view(-1)[:: max(1, p.numel() // SAMPLED)].float().sum() for p in weights if p.is_contiguous()]
    return (
        os.environ.get(SWITCH),
        tuple((p.data_ptr(), 0 if p.is_inference() else p._version) for p in weights),
        tuple(torch.stack(sums).tolist()),
    )
