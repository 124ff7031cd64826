"""A learned table of positions made longer or shorter, so that a stack reads more tokens than it was trained for."""

from typing import Any, Literal, get_args

from conjoin.errors import ConfigError
from conjoin.spec import StackSpec

__all__ = ["POSITIONS", "PositionInit", "check_position_init", "resized_table"]

Array = Any
PositionInit = Literal["tile", "random"]
POSITIONS = "embed.position.weight"


def check_position_init(init: object) -> None:
    """Raises ConfigError for a start of new positions that is not known."""
    if init not in get_args(PositionInit):
        raise ConfigError(f'the start of new positions is {init!r}; "tile" or "random" was expected.')


def resized_table(ops: Any, table: Array, spec: StackSpec, init: PositionInit) -> Array:
    """A position table (P, W) with the rows that `spec` asks for.

    New rows stand behind the old ones: with "tile" those of the first positions again, as Longformer's were made
    (https://arxiv.org/abs/2004.05150, section 5), with "random" drawn as any new weight, as in BertSum (section 3.1 of
    https://arxiv.org/abs/1908.08345). Rows before the first position (RoBERTa's) are not repeated.
    """
    kept = table[: spec.positions]
    count = spec.positions - len(kept)
    if count == 0:
        return kept
    if init == "random":
        more = ops.normal(ops.zero_rows(kept, count), spec.initializer_range)
    else:
        period = len(table) - spec.position_offset
        more = table[[spec.position_offset + i % period for i in range(count)]]
    return ops.joined_rows([kept, more])
