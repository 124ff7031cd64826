"""So many texts at once, and what a model writes of them; and all that says which model, and how."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from conjoin.bulk.sources import Item, Source
from conjoin.errors import InputError

if TYPE_CHECKING:
    from conjoin.pipelines import Writer

__all__ = ["BATCHES_AT_ONCE", "Job", "windows", "written"]

# So many texts, or texts of so many batches, are read, sorted by length and written together.
TEXTS_AT_ONCE, BATCHES_AT_ONCE = 512, 8
MOST_CHARACTERS = 1 << 24  # of a window, so that memory does not grow with the length of texts
SAMPLING = ("temperature", "top_k", "top_p")


@dataclass(frozen=True)
class Job:
    """Which model writes, and how: settings of generation, and options of `pipeline`."""

    model: str
    settings: dict[str, Any]
    options: dict[str, Any]

    @property
    def window(self) -> int:
        """How many texts are read at once."""
        size = self.options["batch_size"]
        return TEXTS_AT_ONCE if size is None else BATCHES_AT_ONCE * int(size)

    def opened(self) -> "Writer":
        """The model, ready to write. Raises InputError for settings that cannot be, and of sampling where nothing is sampled."""
        from conjoin import pipeline

        write: Writer = pipeline(model=self.model, **self.options, **self.settings)
        write.check_settings()
        samples = self.settings.get("do_sample") or write.model.config.generation.do_sample
        for name in SAMPLING if not samples else ():
            if name in self.settings:
                raise InputError(f"--{name.replace('_', '-')} is a setting of sampling; add --do-sample.")
        return write


def windows(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """The items, `size` at a time; fewer where their texts are very long."""
    window: list[Item] = []
    characters = 0
    for item in items:
        window.append(item)
        characters += len(item.source or "")
        if len(window) == size or characters > MOST_CHARACTERS:
            yield window
            window, characters = [], 0
    if window:
        yield window


def written(write: "Writer", window: Sequence[Item], source: Source) -> list[str]:
    """The text for each item. Raises InputError, naming the line, for a source that is too long."""
    from conjoin.pipelines import SourceTooLongError

    asked = [item for item in window if item.source is not None]
    try:
        texts = iter(write([item.source or "" for item in asked]))
    except SourceTooLongError as error:
        raise InputError(
            f"{source.where(asked[error.index].number)} has {error.tokens} tokens and the encoder has "
            f"positions for {error.limit}; shorten it, drop the end with --truncate, or read all of it in windows with "
            f"--encode-in-chunks."
        ) from None
    return ["" if item.source is None else next(texts) for item in window]
