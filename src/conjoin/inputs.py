"""What a model was called with, before any framework: whose arrays came, and into which lengths they are padded."""

from typing import Any

__all__ = ["bucket", "foreign"]

FRAMEWORKS = {
    "torch": "a PyTorch tensor",
    "jaxlib": "a JAX array",
    "jax": "a JAX array",
    "tensorflow": "a TensorFlow tensor",
}
FRAMEWORKS |= {"keras": "a Keras tensor", "numpy": "a NumPy array"}


def foreign(name: str, came: Any, expected: str) -> str:
    """The sentence for an array of another framework, which is named."""
    kind = type(came)
    what = FRAMEWORKS.get(kind.__module__.split(".")[0], f"a {kind.__name__}")
    hint = "" if what.startswith("a ") and what not in FRAMEWORKS.values() else "; convert it with np.asarray(...)"
    return f"{name} is {what} ({kind.__module__.split('.')[0]}.{kind.__name__}); {expected} was expected{hint}."


def bucket(length: int, limit: int | None = None, least: int = 16) -> int:
    """The length that `length` is padded to, so that few lengths are compiled for: 16, 24, 32, 48, 64, 96, 128...

    At most `limit`, where `length` is.
    """
    size = least
    while size < length:
        size = size + max(1, size // 2) if size & (size - 1) == 0 else size * 4 // 3
    return size if limit is None or length > limit else min(size, limit)
