"""Several processes as one: what fails in one fails in all, and all have read the same data."""

from collections.abc import Iterator
from contextlib import contextmanager

from accelerate import Accelerator
from accelerate.utils import gather_object

from conjoin.errors import ConjoinError, DataError
from conjoin.training.tokenise import Examples

__all__ = ["check_same_data", "together"]


@contextmanager
def together(accelerator: Accelerator) -> Iterator[None]:
    """A ConjoinError in the block of one process is raised in all, so that none waits for another for ever.

    All processes enter the block, and none of them waits for another within it.
    """
    own: ConjoinError | None = None
    try:
        yield
    except ConjoinError as error:
        if accelerator.num_processes == 1:
            raise
        own = error
    if accelerator.num_processes == 1:
        return
    found: list[tuple[type[ConjoinError], str] | None] = gather_object([own and (type(own), str(own))])
    if own is not None:
        raise own
    for process, other in enumerate(found):
        if other is not None:
            kind, sentence = other
            raise kind(f"process {process}: {sentence}")


def check_same_data(accelerator: Accelerator, name: str, examples: Examples) -> None:
    """Raises DataError, in all processes, unless all have read the same examples."""
    if accelerator.num_processes == 1:
        return
    found: list[tuple[int, str]] = gather_object([(len(examples), examples.fingerprint())])
    other = next((process for process, one in enumerate(found) if one != found[0]), None)
    if other is not None:
        raise DataError(
            f"{name}: process {other} read {found[other][0]} examples and process 0 read {found[0][0]}, "
            f"and they are not the same; give every process the same file and tokenizers."
        )
