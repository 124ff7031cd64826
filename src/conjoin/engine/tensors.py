"""PyTorch's stacks on the engine: a twin that shares a stack's parameters and hands tensors to the kernels as arrays."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from conjoin.backends.torch.arrays import cleared
from conjoin.blocks import Cache, Inputs, Place, Sight
from conjoin.engine.arrays import Array
from conjoin.engine.kernels.layout import Mode
from conjoin.engine.threads import kernel_threads

__all__ = ["bits", "native_twin"]


def bits(x: Tensor) -> Array:
    """A tensor's numbers where they lie, bfloat16 as the engine has it."""
    x = x.detach()
    return x.view(torch.uint16).numpy() if x.dtype == torch.bfloat16 else x.numpy()


def floats(x: Tensor) -> Array:
    """A tensor's numbers in float32."""
    return x.detach().float().numpy()


def native_twin(stack: Any, mode: Mode) -> Any:
    """A copy of a stack that shares its parameters and runs on the engine. Raises UnsupportedError where it cannot."""
    from conjoin.engine.native import Native, Run

    twin = copy.copy(stack)
    kernels = Native(twin, TensorLeaves(mode), kernel_threads)

    def hidden(given: Inputs) -> tuple[Tensor, list[Cache] | None]:
        """As Stack.hidden."""
        if given.trace is not None:
            return type(twin).hidden(twin, given)  # type: ignore[no-any-return]
        x, cache, memory, mask = given.embeddings, given.cache, given.memory, given.memory_mask
        out = kernels.hidden(
            floats(x),
            as_seen(twin.sights(given)),
            None if memory is None else pairs(memory),
            None if mask is None else mask.numpy(),
            None if cache is None else pairs(cache),
            given.at,
            None if given.mask is None else given.mask.numpy(),
            None if given.stands is None else given.stands.numpy(),
        )
        return torch.from_numpy(out).to(x.dtype), None if cache is None else list(cache)

    def told(given: Inputs) -> tuple[Array, Any]:
        """The facts of a run, for `hidden_of_runs`, and what must live as long as they are used.

        Of its embeddings only the shape is read, (B, T, W).
        """
        mask = None if given.memory_mask is None else given.memory_mask.numpy()
        sights, cache = as_seen(twin.sights(given)), pairs(given.cache)
        stands = None if given.stands is None else given.stands.numpy()
        shape, memory = tuple(given.embeddings.shape), pairs(given.memory)
        return kernels.told(Run(shape, sights, memory, mask, cache, given.at, stands))

    def hidden_of_runs(x: Tensor, place: Place, facts: Array) -> Tensor:
        """As `hidden` of several runs side by side, each over a cache and a memory of its own: x (N, W) -> (N, W).

        `place` says where the rows of x stand, one after another (1, N); `facts` (runs, n) are as `told` gives them.
        """
        out = kernels.hidden_of_runs(floats(x), as_seen(twin.sights(Inputs(x[None], place))), facts)
        return torch.from_numpy(out).to(x.dtype)

    def remember(memory: Tensor) -> list[Cache]:
        """As Stack.remember, in panels."""
        made = kernels.remember(floats(memory))
        return [(torch.from_numpy(keys), torch.from_numpy(values)) for keys, values in made]

    def logits(x: Tensor) -> Tensor:
        """As Stack.logits."""
        return torch.from_numpy(kernels.logits(floats(x)))

    def best(x: Tensor, forbidden: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """As Native.best."""
        values, places = kernels.best(floats(x), forbidden.numpy(), k)
        return torch.from_numpy(values), torch.from_numpy(places)

    def shortlist(ids: Tensor) -> Callable[[Tensor], Tensor]:
        """As `logits`, of some tokens: (..., W) -> (..., n)."""
        head = kernels.shortlist(ids.numpy())
        return lambda x: torch.from_numpy(kernels.logits(floats(x), head))

    def empty_cache(batch: int, slots: int, like: Tensor) -> list[Cache]:
        """As Decoder.empty_cache, in memory that costs nothing until it is written."""
        shape = (batch, twin.spec.key_heads, slots, twin.spec.head_dim)
        return [(cleared(shape, like), cleared(shape, like)) for _ in range(twin.spec.layers)]

    twin.empty_cache = empty_cache
    twin.finds_rows, twin.finds_best, twin.best = True, kernels.finds_best, best
    twin.is_native, twin.hidden, twin.remember, twin.logits = True, hidden, remember, logits
    twin.told, twin.move, twin.hidden_of_runs, twin.shortlist = told, kernels.move, hidden_of_runs, shortlist
    return twin


def pairs(caches: Any) -> list[Cache]:
    """Keys and values as arrays."""
    return [(keys.numpy(), values.numpy()) for keys, values in caches]


def as_seen(sights: list[Sight]) -> list[Sight]:
    """What layers see as arrays, what several have in common as one."""
    known: dict[int, Array] = {}

    def array(x: Tensor) -> Array:
        if id(x) not in known:
            known[id(x)] = x.numpy() if x.dtype == torch.bool else floats(x)
        return known[id(x)]

    def seen(sight: Sight) -> Sight:
        turn = None if sight.turn is None else (array(sight.turn[0]), array(sight.turn[1]))
        mask, bias = (None if x is None else array(x) for x in (sight.mask, sight.bias))
        return Sight(mask, bias, turn)

    return [seen(sight) for sight in sights]


class TensorLeaves:
    """What a stack of PyTorch holds."""

    def __init__(self, mode: Mode) -> None:
        self.mode = mode

    def panels(self, layers: list[Any]) -> Any:
        """As `Leaves.panels`: of ordinary linear layers that nobody looks at, or of whole numbers."""
        from conjoin.engine.narrow import NarrowLinear
        from conjoin.engine.recording import UnsupportedError
        from conjoin.engine.weights import panels_of, rejoined, with_bias

        biases = [None if layer.bias is None else bits(layer.bias) for layer in layers]
        if all(isinstance(layer, NarrowLinear) for layer in layers):
            parts = [layer.panels for layer in layers]
            whole = parts[0] if len(parts) == 1 else rejoined(parts)
            sizes = [layer.out_features for layer in layers]
            return joined(parts, biases) if whole is None else with_bias(whole, biases, sizes)
        if any(type(layer) is not torch.nn.Linear or hooked(layer) for layer in layers):
            raise UnsupportedError("a layer that is not an ordinary linear one")
        return panels_of([bits(layer.weight) for layer in layers], biases, self.mode)

    def table(self, table: Any, bias: Any) -> Any:
        """As `Leaves.table`."""
        from conjoin.engine.narrow import Narrow
        from conjoin.engine.weights import panels_of, with_bias

        after = None if bias is None else bits(bias)
        if isinstance(table, Narrow):
            return with_bias(table.panels, [after], [table.panels.outputs])
        return panels_of([bits(table.weight)], [after], self.mode)

    def numbers(self, x: Tensor) -> Array:
        """As `Leaves.numbers`."""
        return x.detach().float().contiguous().numpy()


def hooked(layer: torch.nn.Module) -> bool:
    """Whether somebody looks at what a layer does."""
    return bool(layer._forward_hooks or layer._forward_pre_hooks)


def joined(parts: list[Any], biases: list[Array | None]) -> Any:
    """Panels of parts in whole numbers whose channels do not fill theirs, as one."""
    from conjoin.engine.weights import empty_panels, filled, plain, with_bias

    numbers, scales = zip(*(plain(part) for part in parts), strict=True)
    made = empty_panels(sum(part.outputs for part in parts), parts[0].inputs, parts[0].mode)
    filled(made, np.concatenate(numbers), np.concatenate(scales))
    return with_bias(made, biases, [part.outputs for part in parts])
