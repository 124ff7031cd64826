"""What padding and truncation a call asked for, decided as transformers decides it; and padding of ready ids."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from conjoin.errors import InputError, nearest
from conjoin.tokens.encoding import as_ids

__all__ = ["NO_LENGTH_LIMIT", "PADDINGS", "SIDES", "TRUNCATIONS", "Plan", "check_side", "pad_rows", "plan"]

# What transformers writes as model_max_length where there is none; anything above 1e20 means the same.
NO_LENGTH_LIMIT = int(1e30)
_LARGE = int(1e20)

SIDES = ("right", "left")
PADDINGS = ("longest", "max_length", "do_not_pad")
TRUNCATIONS = ("longest_first", "only_first", "only_second", "do_not_truncate")

# What stands at a padded place, in every key but input_ids.
_FILL = {"attention_mask": 0, "token_type_ids": 0, "special_tokens_mask": 1}


@dataclass(frozen=True)
class Plan:
    """How one call pads and truncates: None for not at all."""

    padding: str | None
    truncation: str | None
    max_length: int | None
    pad_to_multiple_of: int | None
    padding_side: str


def check_side(name: str, side: object) -> str:
    """`side`, or InputError where it is neither "right" nor "left"."""
    if side not in SIDES:
        raise InputError(f'{name}={side!r} is neither "right" nor "left".')
    return str(side)


def plan(
    padding: bool | str,
    truncation: bool | str | None,
    max_length: int | None,
    pad_to_multiple_of: int | None,
    padding_side: str,
    model_max_length: int,
    *,
    verbose: bool = True,
) -> Plan:
    """The arithmetic of transformers' `_get_padding_truncation_strategies`.

    A max_length alone truncates to it; padding or truncation without one takes model_max_length, and does nothing
    where that says that there is no limit. Raises InputError for unknown modes and impossible lengths.
    """
    if max_length is not None and padding is False and truncation is None:
        truncation = "longest_first"
    pad = _mode("padding", padding, "longest", PADDINGS)
    cut = _mode("truncation", truncation, "longest_first", TRUNCATIONS)
    for name, value in (("max_length", max_length), ("pad_to_multiple_of", pad_to_multiple_of)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise InputError(f"{name}={value!r} is not a positive integer.")
    if padding is True and max_length is not None and cut is None and verbose:
        warnings.warn(
            "`max_length` is ignored when `padding=True` and there is no truncation: "
            'pass padding="max_length" to pad to it, or truncation=True to cut at it.',
            stacklevel=4,
        )
    if max_length is None and (pad == "max_length" or cut is not None):
        if model_max_length > _LARGE:
            pad, cut = (None if pad == "max_length" else pad), None
        else:
            max_length = model_max_length
    _check_multiple(pad, cut, max_length, pad_to_multiple_of)
    return Plan(pad, cut, max_length, pad_to_multiple_of, check_side("padding_side", padding_side))


def _mode(name: str, given: bool | str | None, default: str, known: Sequence[str]) -> str | None:
    """The mode's name; None for False, None and the last of `known`, which is the one that does nothing."""
    if given is False or given is None or given == known[-1]:
        return None
    if given is True:
        return default
    if given not in known:
        raise InputError(f"{name}={given!r} is not known{nearest(str(given), known)}; known are {', '.join(known)}.")
    return given


def _check_multiple(pad: str | None, cut: str | None, max_length: int | None, multiple: int | None) -> None:
    if pad and cut and multiple and max_length is not None and max_length % multiple:
        raise InputError(
            f"Truncation to max_length={max_length} and padding to pad_to_multiple_of={multiple} contradict: "
            "pass a max_length that is a multiple of it."
        )


def pad_rows(features: Mapping[str, Any], how: Plan, pad_id: int, with_mask: bool) -> dict[str, Any]:
    """Pads ready rows: input_ids and the masks beside it; every other key comes back as it came.

    `features` maps names to one flat list, or to a list of lists; it is not changed.
    """
    rows = {key: as_ids(value) for key, value in features.items() if key in ("input_ids", *_FILL)}
    batched = bool(rows["input_ids"]) and isinstance(rows["input_ids"][0], list)
    if not batched:
        rows = {key: [value] for key, value in rows.items()}
    if with_mask and "attention_mask" not in rows:
        rows["attention_mask"] = [[1] * len(ids) for ids in rows["input_ids"]]
    length = _target_length(rows["input_ids"], how)
    padded: dict[str, Any] = dict(features)
    for key, values in rows.items():
        fill = pad_id if key == "input_ids" else _FILL[key]
        lengthened = [_lengthen(row, length, fill, how.padding_side) for row in values]
        padded[key] = lengthened if batched else lengthened[0]
    return padded


def _target_length(rows: list[list[int]], how: Plan) -> int:
    if how.padding is None:
        return 0
    length = max((len(row) for row in rows), default=0)
    if how.padding == "max_length" and how.max_length is not None:
        length = how.max_length
    multiple = how.pad_to_multiple_of or 1
    return -(-length // multiple) * multiple


def _lengthen(row: list[int], length: int, fill: int, side: str) -> list[int]:
    padding = [fill] * (length - len(row))
    return row + padding if side == "right" else padding + row
