"""The programs of a decoder that no call is using, kept beside the model until one of its weights is replaced."""

import threading
from collections.abc import Callable
from types import FunctionType
from typing import Any
from weakref import WeakKeyDictionary

from conjoin.blocks import Cache
from conjoin.compiling import CompileConfig
from conjoin.static.compiled import compiled
from conjoin.static.program import Program, Shape
from conjoin.static.runners import runner_for

__all__ = ["Pool", "pool_of"]

KEPT = 16  # programs of a decoder, the last used ones; each holds a cache
# Beside the model rather than in it: they are no part of what is saved, copied or pickled.
POOLS: WeakKeyDictionary[Any, dict[CompileConfig | None, "Pool"]] = WeakKeyDictionary()
CHANGING = threading.RLock()


class Pool:
    """Programs by shape, of one decoder with the weights of now, all compiled in one way."""

    def __init__(self, config: CompileConfig | None, signature: object) -> None:
        self.config, self.signature, self.free = config, signature, list[Program]()

    def taken(self, decoder: Any, shape: Shape, memory: list[Cache]) -> Program:
        """A program of a shape for one call: one that is free, or a new one."""
        with CHANGING:
            for program in self.free:
                if program.shape == shape:
                    self.free.remove(program)
                    return program
        return Program(decoder, shape, memory, runner_for(memory[0][0].device), self.wrapped)

    def back(self, program: Program) -> None:
        """A program that a call needs no longer."""
        with CHANGING:
            self.free.append(program)
            del self.free[:-KEPT]

    def wrapped(self, step: FunctionType) -> Callable[..., Any]:
        """The step, compiled where that is asked for."""
        return step if self.config is None else compiled(step, self.config)


def pool_of(decoder: Any, config: CompileConfig | None) -> Pool:
    """The programs of a decoder, compiled in one way; an empty pool where a weight or a layer was replaced since."""
    now = signature(decoder)
    with CHANGING:
        pools = POOLS.setdefault(decoder, {})
        if config not in pools or pools[config].signature != now:
            pools[config] = Pool(config, now)
        return pools[config]


def signature(decoder: Any) -> object:
    """Where each tensor lies, and which layers there are: what a recording holds on to. Values may change in place."""
    tensors = [*decoder.parameters(), *decoder.buffers()]
    return [(x.data_ptr(), x.dtype, x.shape) for x in tensors], [id(module) for module in decoder.modules()]
