"""The loop in Python: steps until every source is done, sources that are done leaving the batch on the way."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

from conjoin.decoding.state import State

__all__ = ["in_lanes", "lanes_for", "run"]

Array = Any
STAY = 0.75  # with more than this share of its rows alive, a batch is not worth copying; where nothing is copied, all leave


def run(ops: Any, choose: Callable[[State], State], advance: Callable[[State], State], state: State) -> list[State]:
    """States that together hold every source, finished: `row` says which is which."""
    left: list[State] = []
    while True:
        state = choose(state)
        done = int(ops.number(state.done).sum())
        if done == len(state.done):
            return [*left, state]
        stay = STAY if state.stands is None else 1
        if not state.whole and done > (1 - stay) * len(state.done):
            left.append(select(ops, without_cache(state), state.done))
            state = select(ops, state, ~state.done)
        state = advance(state)


def lanes_for(model: Any, asked: Any) -> int:
    """How many calls of `generate` as `asked` run side by side: one, where a backend knows no better."""
    return 1


def in_lanes(lanes: int, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
    """`function`, which generates, of each item, one after another."""
    return map(function, items)


def select(ops: Any, state: State, keep: Array) -> State:
    """The state of some sources only; where sources say where they stand, cache and memory stay as they are."""
    index, at, cache, memory = ops.where_true(keep), state.at, state.cache, state.memory
    # Behind the sources stand, where guidance is, those that it leads away from.
    read = ops.concat([index, index + len(keep)], 0) if state.guided else index

    def taken(value: Any, index: Array = index) -> Any:
        if is_dataclass(value) and not isinstance(value, type):
            return replace(value, **{f.name: taken(getattr(value, f.name)) for f in fields(value)})
        if isinstance(value, list | tuple):
            return type(value)(taken(v, index) for v in value)
        return ops.take_rows(value, index) if ops.is_array(value) else value

    if state.stands is None:
        cache = [(ops.take_slots(keys, read, at), ops.take_slots(values, read, at)) for keys, values in cache]
        memory = taken(memory, read)
    memory_mask = taken(state.memory_mask, read)
    # Logits are spent, and what slots are empty need not be copied.
    spent = replace(state, stop_moves=None, logits=None, against=None, cache=[], memory=[], memory_mask=None)
    chosen: State = taken(spent)
    return replace(chosen, stop_moves=state.stop_moves, cache=cache, memory=memory, memory_mask=memory_mask)


def without_cache(state: State) -> State:
    """A state that left the batch needs no past."""
    return replace(state, cache=[], memory=[], memory_mask=None, lineage=None)
