"""What `conjoin evaluate` scores: models that write now, and files of what systems wrote before."""

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conjoin.bulk.lines import json_object, named, numbered_lines, opened_output, text_field
from conjoin.cli.bars import bar
from conjoin.errors import DataError, InputError

if TYPE_CHECKING:
    from conjoin.training.data import Pairs

__all__ = ["System", "outputs_of", "save_outputs", "systems_of"]


@dataclass(frozen=True)
class System:
    """A name, and the text that it has for each source."""

    name: str
    texts: list[str]


def systems_of(
    given: Sequence[str], pairs: "Pairs", settings: Mapping[str, Any], options: Mapping[str, Any]
) -> list[System]:
    """What was named, in order: models by folder or hub id, and files of outputs, each of one system or of several.

    A system of a file whose name is another's too is called by its file as well.

    Raises DataError for a file that is not of these pairs, InputError for a name that comes twice, or a source that does
    not fit the model.
    """
    read = {one: outputs_of(one, pairs) for one in given if Path(one).is_file()}  # before any model writes
    own = names_of(given, read)
    read = {  # one model written with several settings is told apart by its files
        one: [replace(s, name=f"{one}: {s.name}") if own.count(s.name) > 1 else s for s in systems]
        for one, systems in read.items()
    }
    names = names_of(given, read)
    for name in names:
        if names.count(name) > 1:
            raise InputError(
                f'"{name}" comes {names.count(name)} times; systems with names of their own were expected.'
            )
    found: list[System] = []
    for one in given:
        found += read[one] if one in read else [System(one, written(one, pairs, settings, options))]
    return found


def names_of(given: Sequence[str], read: Mapping[str, Sequence[System]]) -> list[str]:
    """The names of what was named, a file's systems each."""
    return [name for one in given for name in ([s.name for s in read[one]] if one in read else [one])]


def written(model: str, pairs: "Pairs", settings: Mapping[str, Any], options: Mapping[str, Any]) -> list[str]:
    """What a model writes of each source. Raises InputError for one that is too long."""
    from conjoin import pipeline
    from conjoin.evaluation import write_all
    from conjoin.pipelines import SourceTooLongError

    write = pipeline(model=model, **options)
    shown = bar(f"Writing, {Path(model).name}", len(pairs), "pairs") if sys.stderr.isatty() else nullcontext(None)
    try:
        with shown as progress:
            return write_all(write, pairs.sources, progress, **settings)
    except SourceTooLongError as error:
        raise InputError(
            f"source {error.index + 1} of {pairs.name} has {error.tokens} tokens and the encoder has positions for "
            f"{error.limit}; drop the end of such sources with --truncate, or read all of them in windows with "
            f"--encode-in-chunks."
        ) from None


def save_outputs(file: str, systems: Sequence[System], pairs: "Pairs") -> None:
    """Writes a JSON line for each system and pair, which `outputs_of` reads."""
    with opened_output(file) as out:
        for system in systems:
            for source, reference, text in zip(pairs.sources, pairs.targets, system.texts, strict=True):
                row = {"system": system.name, "source": source, "reference": reference, "output": text}
                out.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")


def outputs_of(file: str, pairs: "Pairs") -> list[System]:
    """The systems of a file of JSON lines: a text "output" for each pair, in order.

    A field "system" names whose it is (else the file's name does), and "source" is compared where it is there. Lines
    past the pairs are of pairs that were left out by --limit. Raises DataError for anything else.
    """
    found: dict[str, list[str]] = {}
    for number, line in numbered_lines(file):
        if not line.strip():
            continue
        where = f"line {number} of {named(file)}"
        row = json_object(line, where)
        name = text_field(row, "system", where) if "system" in row else file
        texts = found.setdefault(name, [])
        if len(texts) < len(pairs) and row.get("source", pairs.sources[len(texts)]) != pairs.sources[len(texts)]:
            raise DataError(
                f"{where} is of another source than pair {len(texts) + 1} of {pairs.name}; outputs of these pairs, in "
                f"their order, were expected."
            )
        texts.append(text_field(row, "output", where))
    for name, texts in found.items():
        if len(texts) < len(pairs):
            raise DataError(
                f'{named(file)} has {len(texts)} outputs of "{name}" and {pairs.name} has {len(pairs)} pairs; one for '
                f"each was expected."
            )
    if not found:
        raise DataError(f'{named(file)} has no outputs; JSON lines with a field "output" were expected.')
    return [System(name, texts[: len(pairs)]) for name, texts in found.items()]
