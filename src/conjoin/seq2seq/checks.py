"""What a call was given: whether it can be read, and under which name it came."""

from collections.abc import Mapping
from typing import Any

from conjoin.errors import InputError
from conjoin.outputs import BaseModelOutput
from conjoin.spec import StackSpec

__all__ = [
    "as_encoder_output",
    "check_length",
    "check_mask",
    "check_tokens",
    "fits",
    "is_more",
    "one_of",
    "states_of",
]

Array = Any


def check_tokens(nn: Any, given: Array | None, embeddings: Array | None, spec: StackSpec, side: str) -> None:
    """Raises InputError unless token ids (B, T), or embeddings (B, T, W), came, of this vocabulary."""
    if (given is None) == (embeddings is None):
        raise InputError(f"{side}: one of input_ids and inputs_embeds was expected, not both or neither.")
    came: Any = given if embeddings is None else embeddings
    shape = came.shape
    if len(shape) != (2 if embeddings is None else 3):
        raise InputError(f"{side}: token ids of shape (batch, tokens) were expected, not {tuple(shape)}.")
    if 0 in (shape[0], shape[1]):
        raise InputError(f"{side}: the input is empty (shape {tuple(shape)}); at least one token was expected.")
    if embeddings is not None and not fits(tuple(shape[2:]), (spec.token_width,)):
        raise InputError(
            f"{side}: embeddings of shape {tuple(shape)} came; (batch, tokens, {spec.token_width}) was expected."
        )
    if given is not None:
        nn.check_range(given, spec.vocab, side)


def check_length(came: Array, spec: StackSpec, side: str, past: int, remedy: str) -> None:
    """Raises InputError for more tokens than a stack has positions for."""
    length, limit = came.shape[1], spec.max_length
    if is_more(past, length, limit):
        raise InputError(
            f"{side}: {past + length} tokens came and it has positions for {limit}; shorten the text, or ask the "
            f"tokenizer for truncation=True, max_length={limit}{remedy}."
        )


def check_mask(mask: Array | None, shape: tuple[Any, ...], name: str) -> None:
    """Raises InputError for a mask of another shape than the tokens have."""
    if mask is not None and not fits(tuple(mask.shape), shape):
        raise InputError(f"{name} has shape {tuple(mask.shape)}; {shape} was expected, as the tokens have.")


def one_of(input_ids: Array | None, inputs: Array | None) -> Array | None:
    """A source by either of its names. Raises InputError for two sources."""
    if input_ids is not None and inputs is not None:
        raise InputError("input_ids and inputs came, which are two names for one; pass one of them.")
    return input_ids if inputs is None else inputs


def fits(shape: tuple[Any, ...], expected: tuple[Any, ...]) -> bool:
    """Whether two shapes are equal where both are known."""
    if len(shape) != len(expected):
        return False
    return all(not (isinstance(a, int) and isinstance(b, int)) or a == b for a, b in zip(shape, expected, strict=True))


def is_more(past: Any, length: Any, limit: int) -> bool:
    """Whether so many tokens are more than `limit`, as far as is known."""
    return isinstance(past, int) and isinstance(length, int) and past + length > limit


def states_of(outputs: Any) -> Array:
    """The last hidden states of an encoder's output, of ours or another library's, or of a tuple."""
    return (
        outputs["last_hidden_state"]
        if isinstance(outputs, Mapping)
        else as_encoder_output(outputs)["last_hidden_state"]
    )


def as_encoder_output(given: Any) -> Mapping[str, Array]:
    """Encoder outputs of another library, or a tuple, as ours."""
    if isinstance(given, Mapping):
        return given
    if isinstance(given, tuple):
        return BaseModelOutput.of(**dict(zip(BaseModelOutput.fields, given, strict=False)))
    raise InputError(f"encoder_outputs is a {type(given).__name__}; an encoder's output or a tuple was expected.")
