"""The frameworks by name, and ONNX Runtime; the model class of each, imported when it is asked for."""

from typing import TYPE_CHECKING, Literal, get_args

import conjoin
from conjoin.errors import InputError, nearest

if TYPE_CHECKING:
    from conjoin.generating import GeneratingModel

__all__ = ["Backend", "model_class"]

Backend = Literal["torch", "jax", "tensorflow", "onnx"]
CLASSES = {
    "torch": "EncoderDecoderModel",
    "jax": "FlaxEncoderDecoderModel",
    "tensorflow": "TFEncoderDecoderModel",
    "onnx": "OnnxEncoderDecoderModel",
}


def model_class(backend: str) -> "type[GeneratingModel]":
    """The class of joined models of a framework.

    Raises InputError for a name that is not known, ImportError with the extra to install where the framework is missing.
    """
    if backend not in CLASSES:
        known = ", ".join(f'"{name}"' for name in get_args(Backend))
        raise InputError(f"backend is {backend!r}{nearest(str(backend), CLASSES)}; one of {known} was expected.")
    found: type[GeneratingModel] = getattr(conjoin, CLASSES[backend])
    return found
