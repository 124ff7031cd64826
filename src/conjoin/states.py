"""Arrays of a joined model that a caller brings, a state_dict: all that there are, and those of a part."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from conjoin.errors import InputError
from conjoin.spec import RoleName

__all__ = ["below", "whole_state"]


def whole_state(state: Mapping[str, Any], shared: Iterable[str], names: Collection[str]) -> dict[str, Any]:
    """A state_dict with what both sides share under both names. Raises InputError for that of a model with other `names`."""
    twice = {f"encoder.{n}": state[f"decoder.{n}"] for n in shared if f"decoder.{n}" in state}
    state = {**twice, **state}  # shapes are those of a part, where each process holds one: names alone are compared
    for name in sorted({*names} ^ state.keys()):
        has, there = ("has no", "has") if name in names else ("has", "has no")
        raise InputError(
            f"state_dict {has} {name}, and the model {there} such weight; give what model.state_dict() gave."
        )
    return state


def below(role: RoleName, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a model's arrays that are a part's, under its own names."""
    start = f"{role}."
    return {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}
