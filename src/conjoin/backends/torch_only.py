"""What a backend other than PyTorch's says of int8 models, which run there alone."""

from collections.abc import Iterable
from typing import Any

from conjoin.errors import InputError

__all__ = ["load_narrow", "narrow_tensors"]


def narrow_tensors(model: Any, gone: Iterable[str]) -> None:
    """No model is in int8 here."""
    return


def load_narrow(model: Any, path: Any, gone: Iterable[str], where: Any) -> None:
    """Says that int8 models run in PyTorch."""
    raise InputError(
        f'"{path}" holds an int8 model, which runs in PyTorch only; give the folder that it was made from.'
    )
