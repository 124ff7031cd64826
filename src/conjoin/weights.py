"""Weight rows <-> tensors, both ways: which tensor of a file becomes which of ours, and one report of what does not fit."""

import re
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from conjoin.errors import CheckpointError
from conjoin.spec import Family, Role, Row

__all__ = ["Plan", "Read", "Report", "from_file", "plan", "to_file"]

UNTIED = "output.weight"  # ours, where the output embedding is not the token embedding
Shape = tuple[int, ...]
Array = Any  # an array of whichever framework reads


@dataclass(frozen=True)
class Read:
    """One tensor to read: the name in the file, the row it comes by, our names for it and their shapes."""

    theirs: str
    row: Row
    ours: tuple[str, ...]
    shapes: tuple[Shape, ...]
    heads: int


@dataclass
class Report:
    """What did not meet when a file was read into a stack. Names are the file's, but for `missing`, which has both."""

    missing: dict[str, str] = field(default_factory=dict)  # ours -> theirs
    unexpected: list[str] = field(default_factory=list)
    mismatched: list[str] = field(default_factory=list)

    def refuse(self, where: str) -> None:
        """Raises CheckpointError with everything that is wrong, once. Does nothing where nothing is."""
        parts = []
        if self.missing:
            parts.append(f"missing: {some(list(self.missing.values()))}")
        if self.unexpected:
            parts.append(f"unexpected: {some(self.unexpected)}")
        if self.mismatched:
            parts.append(f"wrong shape: {some(self.mismatched)}")
        if parts:
            raise CheckpointError(f"the weights of {where} do not fit its config; {'; '.join(parts)}.")


@dataclass
class Plan:
    """The tensors to read, the prefix that the file uses, and the report."""

    reads: list[Read]
    prefix: str
    report: Report


def some(names: Sequence[str], most: int = 8) -> str:
    """The first few names, and how many more there are."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def instances(role: Role, layers: Sequence[int]) -> Iterator[tuple[Row, tuple[str, ...], str, tuple[str, ...]]]:
    """Each row with its layer numbers filled in: the row, our names, their name, and their other names.

    `layers` has, for each layer of ours, the number of the file's layer that it is.
    """
    for one in role.rows:
        for i, theirs in enumerate(layers if "{}" in one.theirs else (0,)):
            here = replace(one, beside=one.beside.format(i)) if one.beside else one
            yield here, tuple(n.format(i) for n in one.ours), one.theirs.format(theirs), one.also


def counts(one: Row, ours: Sequence[str], there: Container[str]) -> bool:
    """Whether a row says what a stack with the tensors `there` (our names) has."""
    beside = one.beside.removeprefix("!")
    return ours[0] in there and (not beside or (beside in there) != one.beside.startswith("!"))


def stored_shape(one: Row, shapes: Sequence[Shape]) -> Shape:
    """The shape in the file of what has these shapes here."""
    first = sum(s[0] for s in shapes)
    shape = (first, *shapes[0][1:])
    if one.row_vector:
        return (1, *shape)
    return shape[::-1] if one.flip else shape


def canonical(names: Sequence[str], old_names: Mapping[str, str]) -> dict[str, str]:
    """Names as they are written today -> as they stand in the file."""
    found = {}
    for name in names:
        new = name
        for pattern, replacement in old_names.items():
            new = re.sub(pattern, replacement, new)
        found[new] = name
    return found


def choose_prefix(role: Role, layers: Sequence[int], names: Mapping[str, str]) -> str:
    """The prefix under which most of the body's tensors stand."""
    bodies = [theirs for one, _, theirs, _ in instances(role, layers) if not one.rooted]
    return max(role.prefixes, key=lambda prefix: sum(prefix + name in names for name in bodies))


def plan(
    family: Family,
    role: Role,
    wanted: Mapping[str, Shape],
    available: Mapping[str, Shape],
    *,
    layers: Sequence[int],
    heads: int,
    file_layers: int = 0,
) -> Plan:
    """How to read a stack with the parameters `wanted` (our names) out of the tensors `available` (the file's names).

    `layers` has the file's number of each layer of ours; `file_layers` is how many the file has, where some are left out
    on purpose; `heads` is how many attention heads there are, for rows that are joined by head.
    """
    names = canonical(list(available), family.old_names)
    prefix = choose_prefix(role, layers, names)
    report, reads, used = Report(), [], set()
    for one, ours, theirs, also in instances(role, layers):
        if not counts(one, ours, wanted):
            continue
        candidates = (theirs if one.rooted else prefix + theirs, *also)
        if one.untied:
            candidates = (one.untied, *candidates) if UNTIED in wanted else (*candidates, one.untied)
        found = next((names[c] for c in candidates if c in names), None)
        if found is None:
            if not one.optional:
                report.missing |= dict.fromkeys(ours, candidates[0])
            continue
        used.add(found)
        shapes = tuple(tuple(wanted[n]) for n in ours)
        expected = stored_shape(one, shapes)
        if tuple(available[found]) != expected:
            report.mismatched.append(f"{found} is {list(available[found])}, {list(expected)} was expected")
        else:
            reads.append(Read(found, one, ours, shapes, heads))
    expected_names = left_out(role, layers, file_layers, prefix, wanted)
    for new, old in names.items():
        if old not in used and new not in expected_names and not irrelevant(new, prefix, role):
            report.unexpected.append(old)
    return Plan(reads, prefix, report)


def left_out(role: Role, layers: Sequence[int], file_layers: int, prefix: str, wanted: Mapping[str, Shape]) -> set[str]:
    """The file's names that are known and not read on purpose: of layers, heads or cross-attention that are not wanted.

    A bias is no such thing where the weight beside it is wanted: then the config says that there is none.
    """
    named: set[str] = {name for one in role.rows for name in one.also}
    for layer_numbers in (layers, range(file_layers)):
        for one, ours, theirs, _ in instances(role, layer_numbers):
            name = theirs if one.rooted else prefix + theirs
            weight = ours[0].removesuffix("bias") + "weight"
            if not (ours[0].endswith(".bias") and ours[0] not in wanted and weight in wanted):
                named.add(name)
    return named


def irrelevant(name: str, prefix: str, role: Role) -> bool:
    """Whether this side has no use for a tensor of this name, with or without the prefix."""
    return any(re.search(p, name) or re.search(p, name.removeprefix(prefix)) for p in role.irrelevant)


def from_file(read: Read, array: Array) -> Iterator[tuple[str, Array]]:
    """A tensor of the file as ours: each name with its array, views where possible."""
    if read.row.row_vector:
        array = array[0]
    if read.row.flip and array.ndim == 2:
        array = array.T
    if read.row.by_head:
        by_head = array.reshape(read.heads, len(read.ours), -1, *array.shape[1:])
        for i, (name, shape) in enumerate(zip(read.ours, read.shapes, strict=True)):
            yield name, by_head[:, i].reshape(shape)
        return
    start = 0
    for name, shape in zip(read.ours, read.shapes, strict=True):
        yield name, array[start : start + shape[0]]
        start += shape[0]


def to_file(
    role: Role,
    arrays: Mapping[str, Array],
    *,
    layers: Sequence[int],
    heads: int,
    concat: Callable[[list[Array]], Array],
) -> dict[str, Array]:
    """Our arrays under the file's names and in its layout; of those that are optional, only what is not zero."""
    found = {}
    for one, ours, theirs, _ in instances(role, layers):
        if not counts(one, ours, arrays):
            continue
        own = [arrays[n] for n in ours]
        if one.by_head:
            rows = len(own[0]) // heads
            own = [array[h * rows : (h + 1) * rows] for h in range(heads) for array in own]
        array = own[0] if len(own) == 1 else concat(own)
        if one.optional and not bool((array != 0).any()):
            continue
        if one.flip and array.ndim == 2:
            array = array.T
        if one.row_vector:
            array = array[None]
        found[theirs if one.rooted else role.prefixes[0] + theirs] = array
        if one.untied and UNTIED in arrays:
            found[one.untied] = concat([array])  # a copy: files keep no two names for one tensor
    return found
