"""What a tokenizer returns, and the ways in and out of it: lists, numpy, torch, jax and tensorflow arrays."""

import sys
from collections import UserDict
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from tokenizers import Encoding

from conjoin.errors import InputError, nearest
from conjoin.tokens.aligning import Aligned

__all__ = ["BatchEncoding", "TensorKind", "as_ids", "kind_of", "to_tensors"]

TensorKind = Literal["pt", "np", "tf", "jax"]


@runtime_checkable
class _Movable(Protocol):
    """A torch tensor, whose `to` moves it to a device."""

    def to(self, device: Any, *, non_blocking: bool = False) -> Any: ...


@runtime_checkable
class _HasToList(Protocol):
    """numpy, torch and jax arrays and their scalars, wherever they lie."""

    def tolist(self) -> Any: ...


@runtime_checkable
class _HasArray(Protocol):
    """Whatever numpy can read: tensorflow's eager tensors have no `tolist`."""

    def __array__(self) -> Any: ...


class BatchEncoding(Aligned, UserDict[str, Any]):
    """The ids and masks of one text (flat lists) or a batch (lists of lists, or tensors of shape (batch, length)).

    A mapping, so that `model(**encoding)` works; its keys are attributes too. `encoding[0]` is the `tokenizers`
    library's own Encoding of the first text, which `tokens()`, `word_ids()`, `char_to_token()` and their like read.
    """

    def __init__(self, data: Mapping[str, Any], encodings: Sequence[Encoding] | None = None) -> None:
        super().__init__(dict(data))
        self._encodings = None if encodings is None else list(encodings)

    def __getitem__(self, item: str | int | slice) -> Any:
        """The values of a key; the Encoding of a row; or, for a slice, those rows of every key (as a dict)."""
        if isinstance(item, str):
            return self.data[item]
        if self._encodings is not None:
            return self._encodings[item]
        if isinstance(item, slice):
            return {key: value[item] for key, value in self.data.items()}
        raise KeyError(f"{item!r}: this BatchEncoding holds no Encoding objects, only the keys {list(self.data)}.")

    def __getattr__(self, name: str) -> Any:
        # `data` itself is absent while an object is being unpickled: asking self for it would never end.
        data = self.__dict__.get("data", {})
        if name not in data:
            raise AttributeError(f"BatchEncoding has no {name!r}{nearest(name, data)}.")
        return data[name]

    @property
    def encodings(self) -> list[Encoding] | None:
        """The `tokenizers` library's Encoding of each row, or None where `pad` made this."""
        return self._encodings

    @property
    def is_fast(self) -> bool:
        """Whether `tokens()` and its like have something to read."""
        return self._encodings is not None

    @property
    def n_sequences(self) -> int | None:
        """1 for texts, 2 for pairs of texts, None where `pad` made this."""
        return self._encodings[0].n_sequences if self._encodings else None

    def tokens(self, batch_index: int = 0) -> list[str]:
        """The tokens of a row, special ones and padding included."""
        return self._encoding(batch_index, "tokens").tokens

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """For each token of a row, which word of the text it is of; None for special tokens."""
        return self._encoding(batch_index, "word_ids").word_ids

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """For each token of a row, 0 for the first text, 1 for the second of a pair, None for special tokens."""
        return self._encoding(batch_index, "sequence_ids").sequence_ids

    def _encoding(self, batch_index: int, method: str) -> Encoding:
        if not self._encodings:
            raise InputError(f"{method}() needs the encodings, which only a call of the tokenizer gives, not pad().")
        return self._encodings[batch_index]

    def convert_to_tensors(self, tensor_type: str | None = None, prepend_batch_axis: bool = False) -> "BatchEncoding":
        """Makes every value a tensor, in place, with a batch of one put around it if asked; returns itself.

        Raises InputError where rows differ in length, and for a kind that is not known.
        """
        if tensor_type is not None:
            data = {key: [value] if prepend_batch_axis else value for key, value in self.data.items()}
            self.data = to_tensors(data, tensor_type)
        return self

    def to(self, device: Any, *, non_blocking: bool = False) -> "BatchEncoding":
        """Moves the torch tensors to a device, in place; returns itself. Lists and other arrays stay as they are."""
        for key, value in self.data.items():
            if isinstance(value, _Movable):
                self.data[key] = value.to(device, non_blocking=non_blocking)
        return self


def to_tensors(data: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Every value as a tensor: "pt" and "np" of int64, "tf" and "jax" of int32, their frameworks' usual integers.

    Raises InputError where rows differ in length, and for a kind that is none of these.
    """
    convert = _converter(kind)
    return {key: convert(_rectangular(key, value)) for key, value in data.items()}


def _rectangular(key: str, value: Any) -> Any:
    """An array of a list of rows; tensors, which are rectangular already, come back as they are."""
    if not isinstance(value, (list, tuple)):
        return value
    try:
        array = np.asarray(value)
    except ValueError as error:  # numpy's word for rows of unequal length
        lengths = sorted({len(row) for row in value if isinstance(row, (list, tuple))})
        raise InputError(
            f'"{key}" has rows of lengths {", ".join(map(str, lengths))}, and a tensor needs equal ones: '
            "pass padding=True (and truncation=True)."
        ) from error
    return array.astype(np.int64) if array.size == 0 else array  # numpy takes empty lists for floats


def _converter(kind: str) -> Callable[[Any], Any]:
    # Each framework is imported only by whoever asks for its tensors.
    if kind == "np":
        return np.asarray
    if kind == "pt":
        import torch

        return torch.as_tensor
    if kind == "jax":
        jnp = import_module("jax.numpy")
        return lambda value: jnp.asarray(value, dtype=jnp.int32)
    if kind == "tf":
        tf = import_module("tensorflow")
        return lambda value: tf.convert_to_tensor(value, dtype=tf.int32)
    raise InputError(f'return_tensors={kind!r} is not known: pass "pt", "np", "tf", "jax" or None.')


def as_ids(ids: Any) -> Any:
    """Ids as Python ints, in lists as deep as they came: from ints, lists, and any framework's arrays.

    Raises InputError for what is no integer.
    """
    if isinstance(ids, (bool, str)):
        raise InputError(f"Token ids are integers, and {ids!r} came.")
    if isinstance(ids, int):
        return ids
    if isinstance(ids, (list, tuple)):
        return [as_ids(item) for item in ids]
    if isinstance(ids, _HasToList):
        return as_ids(ids.tolist())
    if isinstance(ids, _HasArray):
        return as_ids(np.asarray(ids).tolist())
    raise InputError(f"Token ids are integers, or lists or arrays of them, and {type(ids).__name__} {ids!r} came.")


def kind_of(value: Any) -> TensorKind | None:
    """ "pt" or "np" for a tensor or a list of tensors, None for plain lists."""
    first = value[0] if isinstance(value, (list, tuple)) and len(value) else value
    if isinstance(first, np.ndarray):
        return "np"
    # Without torch imported nothing can be a torch tensor, and asking shall not import it.
    torch = sys.modules.get("torch")
    return "pt" if torch is not None and isinstance(first, torch.Tensor) else None
