"""Sources longer than the encoder's positions: cut into windows that overlap, encoded together, their states put together.

Every token of the source has one state in the end, from the window in which the nearer edge is farthest: where two windows
overlap, the cut is in the middle. So what comes out has the shape of what an encoder with enough positions would give, and
the source's mask is its mask. Windows know nothing of each other; the decoder's cross-attention reads them all.

Shapes: B batch, S source tokens, K windows, L tokens of a window, W width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from conjoin.errors import ConfigError, InputError
from conjoin.families.custom import is_custom
from conjoin.generation import GenerationConfig
from conjoin.outputs import ChunkedOutput

__all__ = ["Chunks", "asked_chunks", "chunks_of", "encoded_in_chunks"]

Array = Any
LEAST = 4  # tokens of a window: two special ones, and two to go forward by
SHARE = 8  # a window's part that overlaps with the next where nobody says how much


@dataclass(frozen=True)
class Chunks:
    """How a source is cut: at most `window` tokens at once, special ones included, of which neighbours share `overlap`.

    A source's first token is put before every window where it is one of `begin`, and its last behind every one where it
    is one of `end`.
    """

    window: int
    overlap: int
    begin: tuple[int, ...] = ()
    end: tuple[int, ...] = ()

    def cuts(self, length: Any) -> bool:
        """Whether so many tokens are, or where that is not known yet may be, more than one window."""
        return not isinstance(length, int) or length > self.window

    @property
    def stride(self) -> int:
        """The least number of tokens that a further window adds."""
        return self.window - self.overlap - (2 if self.begin or self.end else 0)


def chunks_of(encoder: Any, window: int | None = None, overlap: int | None = None) -> Chunks:
    """The chunks of an encoder's sources: by default windows of all its positions, an eighth of which overlaps.

    What begins and ends a source is what the encoder's config and tokenizer call so: bos_token_id and cls_token_id;
    eos_token_id and sep_token_id. Raises InputError for numbers that cannot be and for an encoder of images or sounds,
    ConfigError for an encoder of the user's own.
    """
    if is_custom(encoder.config):
        raise ConfigError("encode_in_chunks: the encoder is a module of your own, which must cut long sources itself.")
    if encoder.spec.front is not None:
        raise InputError(f"encode_in_chunks: the encoder reads {encoder.spec.front.argument}, and only texts are cut.")
    positions = encoder.spec.max_length
    window = positions if window is None else whole("chunk_window", window, LEAST, positions)
    overlap = window // SHARE if overlap is None else whole("chunk_overlap", overlap, 0, window - LEAST + 1)
    begin, end = [encoder.config.bos_token_id], [encoder.config.eos_token_id]
    if encoder.tokenizer is not None:
        begin += [encoder.tokenizer.cls_token_id, encoder.tokenizer.bos_token_id]
        end += [encoder.tokenizer.sep_token_id, encoder.tokenizer.eos_token_id]
    return Chunks(window, overlap, all_ids(begin), all_ids(end))


def asked_chunks(encoder: Any, generation: GenerationConfig) -> Chunks | None:
    """The chunks that a model's settings, or a call's, ask for; None where they ask for none."""
    asked = generation.encode_in_chunks
    if not isinstance(asked, bool | None):
        raise InputError(f"encode_in_chunks is {asked!r}; True or False was expected.")
    if not asked:
        return None
    return chunks_of(encoder, generation.chunk_window, generation.chunk_overlap)


def whole(name: str, value: object, least: int, most: int) -> int:
    """A whole number in a range. Raises InputError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InputError(f"{name} is {value!r}; a whole number from {least} to {most} was expected.")
    return value


def all_ids(found: Sequence[int | Sequence[int] | None]) -> tuple[int, ...]:
    """Ids, and lists of them, each once."""
    lists = [[one] if isinstance(one, int) else one or [] for one in found]
    return tuple(sorted({i for ids in lists for i in ids}))


def encoded_in_chunks(
    nn: Any,
    encoder: Any,
    chunks: Chunks,
    input_ids: Array,
    attention_mask: Array | None,
    token_type_ids: Array | None = None,
    output_hidden_states: bool = False,
) -> ChunkedOutput:
    """input_ids (B, S) -> last_hidden_state (B, S, W), a state for each token, and attention_mask (B, S).

    A source that fits into one window gets just the states of `encoder`.
    """
    seen = encoder.source_mask(input_ids, attention_mask)
    if not chunks.cuts(nn.size(input_ids, 1)):
        out = encoder(input_ids, seen, token_type_ids, output_hidden_states=output_hidden_states)
        return ChunkedOutput.of(
            last_hidden_state=out["last_hidden_state"], hidden_states=out.hidden_states, attention_mask=seen
        )
    encoder.check_inputs(input_ids, attention_mask, token_type_ids, None, in_chunks=True)
    windows = Windows(nn, chunks, input_ids, seen)
    out = encoder(
        windows.ids(encoder.config.pad_token_id or 0),
        windows.mask(),
        windows.types(token_type_ids),
        output_hidden_states=output_hidden_states,
    )
    layers = out.hidden_states
    return ChunkedOutput.of(
        last_hidden_state=windows.joined(out["last_hidden_state"]),
        hidden_states=None if layers is None else tuple(windows.joined(states) for states in layers),
        attention_mask=seen,
    )


class Windows:
    """Where the tokens of each row of a batch stand in its K windows, and where their states are found again.

    A row's source is what lies between its first and its last token that may be seen, so that padding on either side
    changes nothing. Its windows have equal lengths and lie evenly over it: the overlap is at least what was asked for.
    Rows with fewer windows than the longest have windows in which only one token is seen, and that nobody reads.
    """

    def __init__(self, nn: Any, chunks: Chunks, ids: Array, seen: Array | None) -> None:
        self.nn, self.chunks = nn, chunks
        self.batch, self.length = nn.size(ids, 0), nn.size(ids, 1)
        if not isinstance(self.length, int):  # a length that is known only when the program runs
            ids = nn.padded(ids, 1, chunks.window, 0)
            seen = None if seen is None else nn.padded(seen, 1, chunks.window, False)
        self.source = ids
        self.total = nn.size(ids, 1)
        self.count = 1 + (self.total - chunks.window + chunks.stride - 1) // chunks.stride
        columns = nn.arange(self.total, ids)[None]
        self.seen = columns + 0 * ids < self.length if seen is None else seen
        self.find_ends(columns)
        self.cut()
        self.fill()

    def find_ends(self, columns: Array) -> None:
        """(B, 1) each: a row's first and last token, and how many special tokens it begins and ends with, 0 or 1."""
        nn = self.nn
        first = nn.least(nn.where(self.seen, columns, self.total - 1))
        last = 0 - nn.least(nn.where(self.seen, 0 - columns, 0))
        self.first, self.last = first, nn.where(last < first, first, last)
        begins = among(nn.take_last(self.source, first), self.chunks.begin)
        ends = among(nn.take_last(self.source, self.last), self.chunks.end) & (self.last > first)
        self.head, self.tail = nn.where(begins, 1, 0), nn.where(ends, 1, 0)

    def cut(self) -> None:
        """(B, K) each: where, after the head, each window starts and how many tokens it has; 0 where there is none."""
        nn, chunks = self.nn, self.chunks
        body = self.last - self.first + 1 - self.head - self.tail
        room = chunks.window - self.head - self.tail
        more = nn.where(body > room, body - room, 0)  # what the first window has no room for
        stride = room - chunks.overlap
        self.used = 1 + (more + stride - 1) // stride
        self.more, self.gaps = more, nn.where(self.used > 1, self.used - 1, 1)
        self.number = nn.arange(self.count, self.source)[None]
        self.start = self.start_of(self.number)
        self.live = self.number < self.used
        self.filled = nn.where(self.live, nn.where(more > 0, room, body), 0)

    def start_of(self, number: Array) -> Array:
        """Where windows of these numbers start."""
        return number * self.more // self.gaps

    def fill(self) -> None:
        """(B, K, L) each: the row's token in every slot of every window; where a slot has one, the head, or the tail."""
        nn, live = self.nn, self.live[..., None]
        slot = nn.arange(self.chunks.window, self.source)[None, None]
        inner = slot - self.head[..., None]
        self.has_head = (inner < 0) & live
        self.has_tail = (inner == self.filled[..., None]) & (self.tail[..., None] > 0) & live
        self.has_token = live & (slot < (self.head + self.filled + self.tail)[..., None])
        body = (self.first + self.head + self.start)[..., None] + inner
        token = nn.where(self.has_head, self.first[..., None], nn.where(self.has_tail, self.last[..., None], body))
        self.token = nn.where(token >= self.total, self.total - 1, token)

    def gathered(self, x: Array, index: Array) -> Array:
        """x (B, S) at index (B, K, L) -> (B * K, L)."""
        nn = self.nn
        found = nn.take_last(x, nn.reshaped(index, (self.batch, -1)))
        return nn.reshaped(found, (-1, self.chunks.window))

    def as_rows(self, x: Array) -> Array:
        """(B, K, L) -> (B * K, L)."""
        return self.nn.reshaped(x, (-1, self.chunks.window))

    def ids(self, pad: int) -> Array:
        """(B * K, L) token ids, padded."""
        return self.nn.where(self.as_rows(self.has_token), self.gathered(self.source, self.token), pad)

    def mask(self) -> Array:
        """(B * K, L) what may be seen; of a window with nothing to see the first slot, since a softmax needs one."""
        nn = self.nn
        mask = self.as_rows(self.has_token) & self.gathered(self.seen, self.token)
        return mask | (~nn.any_of(mask) & (nn.arange(self.chunks.window, self.source)[None] == 0))

    def types(self, given: Array | None) -> Array | None:
        """(B * K, L) token types; a head or tail that a window was given has the type of the token beside it."""
        if given is None:
            return None
        nn = self.nn
        start = (self.first + self.head + self.start)[..., None]
        added = self.has_tail & (self.number + 1 < self.used)[..., None]
        token = nn.where(self.has_head & (self.number > 0)[..., None], start, self.token)
        token = nn.where(added, start + self.filled[..., None] - 1, token)
        return self.gathered(nn.padded(given, 1, self.chunks.window, 0), token)

    def joined(self, states: Array) -> Array:
        """States of the windows (B * K, L, W) -> of the source (B, S, W)."""
        nn, window = self.nn, self.chunks.window
        at = nn.arange(self.length, self.source)[None] - self.first - self.head  # (B, S), counted from the head
        # Two windows meet in the middle of what they share: the first token of a window is read from the one before it.
        meeting = self.start + self.start_of(self.number - 1) + self.filled - 1
        beyond = (2 * at[..., None] > meeting[:, None]) & self.live[:, None] & (self.number > 0)[:, None]
        owner = nn.cumsum(nn.where(beyond, 1, 0))[..., -1]
        slot = at + self.head - nn.take_last(self.start, owner)
        # Padding has the state of some slot, which nobody reads.
        slot = nn.where(slot < 0, 0, nn.where(slot >= window, window - 1, slot))
        flat = nn.reshaped(states, (self.batch, -1, states.shape[-1]))
        return nn.pick(flat, owner * window + slot)


def among(x: Array, ids: Sequence[int]) -> Array:
    """Whether each is one of some ids."""
    found = x != x
    for one in ids:
        found = found | (x == one)
    return found
