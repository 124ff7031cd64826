"""One run at a time in an output folder: a lock that the system takes back however its holder ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from conjoin.errors import CheckpointError

__all__ = ["locked"]

LOCK_FILE = ".training.lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the folder while the block lasts. Raises CheckpointError where another run holds it, on whatever machine."""
    lock = FileLock(folder / LOCK_FILE, blocking=False)
    try:
        lock.acquire()
    except Timeout:
        raise CheckpointError(
            f'another run is training in "{folder}"; wait until it is over, stop it, or choose another output folder.'
        ) from None
    except OSError as error:
        raise CheckpointError(f'"{folder}" cannot be written: {error.strerror}.') from None
    try:
        yield
    finally:
        lock.release()
