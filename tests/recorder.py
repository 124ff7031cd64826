"""What a CUDA graph does, on a CPU: each operation of a step recorded with its tensors, and replayed without its Python."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

HOST_READS = ("aten::_local_scalar_dense", "aten::item", "aten::is_nonzero", "aten::equal", "aten::nonzero")
HOST_WRITES = ("aten::lift_fresh", "aten::lift_fresh_copy", "aten::lift")  # a tensor made of Python's numbers


def place(x: Tensor) -> int:
    """Where a tensor's memory begins."""
    return x.untyped_storage().data_ptr()


class Tape(TorchDispatchMode):
    """Records operations; refuses those that wait for the device, or send it numbers of the host."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name
        assert name not in HOST_READS + HOST_WRITES, f"{name} in a step, which no CUDA graph can hold"
        found = func(*args, **(kwargs or {}))
        self.operations.append((func, args, kwargs or {}, found))
        return found

    def replay(self) -> None:
        """Everything once more; what each operation gave is written anew where it lay."""
        for func, args, kwargs, found in self.operations:
            again = func(*args, **kwargs)
            for kept, new in zip(tree_leaves(found), tree_leaves(again), strict=True):
                if isinstance(kept, Tensor) and place(kept) != place(new):  # no view, and not written in place
                    kept.copy_(new)


class Taped:
    """In the place of `conjoin.static.runners.Recorded`."""

    made = 0  # how many there are
    replays = 0

    def __init__(self, step: Callable[[], tuple[Tensor, Tensor]], device: torch.device) -> None:
        for _ in range(3):
            step()
        with Tape() as self.tape:
            self.found = step()
        for x in self.found:
            x.fill_(float("nan"))  # a recording runs nothing
        Taped.made += 1

    def __call__(self) -> tuple[Tensor, Tensor]:
        Taped.replays += 1
        self.tape.replay()
        return self.found
