"""Decoding in programs: what changes from step to step apart from what stays, and the loop as part of one program.

In the loop all sources go on until the last is done, in arrays of fixed shapes.
"""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

from conjoin.decoding.state import State

__all__ = ["begun_search", "joined", "parted", "run"]

Array = Any
# What changes from step to step; the rest stays outside of the loop.
VARYING = ("ids", "length", "cache", "at", "lineage", "done", "record")


def run(ops: Any, choose: Callable[[State], State], advance: Callable[[State], State], state: State) -> list[State]:
    """One state that holds every source, finished."""
    first = begun_search(choose, state)

    def more(carried: Any) -> Array:
        return ~ops.all_true(joined(first, carried).done)

    def body(carried: Any) -> Any:
        return parted(ops, choose(advance(joined(first, carried))))

    return [joined(first, ops.while_loop(more, body, parted(ops, first)))]


def begun_search(choose: Callable[[State], State], state: State) -> State:
    """The state that steps of `advance` and `choose` go on from.

    Where a prompt was read, its next token is chosen now, so that the model runs once for each further token and not once
    more; a start token alone is read by the first step, so that the model is compiled once.
    """
    return state if state.logits is None else choose(state)


def parted(ops: Any, state: State) -> dict[str, Any]:
    """The arrays of a state that change, in a structure that every framework knows."""
    own = {name: getattr(state, name) for name in VARYING}
    own |= {f"search.{f.name}": getattr(state.search, f.name) for f in fields(state.search)}
    return {name: ops.as_loop_array(value) for name, value in own.items() if value is not None}


def joined(state: State, carried: dict[str, Any]) -> State:
    """A state with these arrays."""
    own = {name: value for name, value in carried.items() if "." not in name}
    search = {name.removeprefix("search."): value for name, value in carried.items() if "." in name}
    return replace(state, **own, search=replace(state.search, **search))
