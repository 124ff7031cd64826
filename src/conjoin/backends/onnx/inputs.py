"""Where an exported model runs, and in which type: as it was exported."""

from typing import Any

from conjoin.errors import InputError

__all__ = ["chosen_device", "moved"]


def moved(model: Any, device: Any, dtype: Any) -> None:
    """A model stays where it is. Raises InputError for another place or type."""
    chosen_device(device)
    if dtype is not None:
        raise InputError(f"dtype is {dtype!r}; an exported model has the one that it was exported in: leave it out.")


def chosen_device(device: Any) -> str:
    """Where to run: the CPU. Raises InputError for another device."""
    if device not in (None, "cpu", -1):
        raise InputError(f'device is {device!r}; exported models run on the CPU: leave it out, or pass "cpu".')
    return "cpu"
