"""What decoding carries from step to step, and the one step of the model that every search shares.

B sources, K hypotheses of each side by side, L the longest output. The cache of self-attention has L' slots: first the
prompt's, then K for each step; a hypothesis finds its own past among them through `lineage`, so that nothing is copied
when beams change places, and all K share the source's cross-attention keys and values.
"""

from dataclasses import dataclass, replace
from typing import Any

from conjoin.decoding.tracing import keep_trace, trace_for

__all__ = ["State", "advance", "halves", "has_read", "to_read"]

Array = Any


@dataclass
class State:
    """Rows of every array are sources."""

    ids: Array  # (B, K, L), the prompt first
    length: Any  # how many columns of ids are filled
    logits: Array | None  # (B, K, V) of the next token; None where the last one was not read yet
    cache: list[tuple[Array, Array]]  # (B, H, slots, D) by layer
    at: Any  # the next free slot
    memory: list[tuple[Array, Array]]  # (B, H, S, D) by layer
    memory_mask: Array | None  # (B, 1, 1, S)
    lineage: Array | None  # (B, K, slots) True where a slot is a hypothesis's past; None for one hypothesis, unpadded
    read: Any  # how many slots the prompt fills
    row: Array  # (B,) which source of the call each row is
    done: Array  # (B,) sources that need no further step
    search: Any  # what the search keeps for itself
    hidden: Array | None = None  # (B, K, W) the last hidden states of what was just read; of a prompt (B, P, W)
    against: Array | None = None  # (B, K, V) logits under the source that guidance leads away from
    stands: Array | None = None  # (B,) which row of cache and memory each source has, where none is taken out of them
    guided: bool = False  # whether caches and memory hold that source too, as B rows more
    stop_moves: Array | None = None  # (tokens * states,) the table of stop strings
    allowed: Array | None = None  # (B, U) which of a shortlist's tokens each source may be written with
    finder: Any = None  # the decoder, where it finds the best tokens of `hidden`, and no logits are made
    shortlist: Any = None  # what makes logits of a shortlist: (x, allowed) -> (B, K, V)
    record: dict[str, Any] | None = None  # what each step left behind, for who asked
    scores: list[Array] | None = None  # within a step, what the rules made of its logits
    padding: Array | None = None  # (B,) how many tokens of padding stand before the prompt, where a rule asks
    whole: bool = False  # whether sources that are done stay in the batch
    apart: bool = False  # whether sources have lengths (B, 1) and slots (B,) of their own, and settings too (PyTorch)

    @property
    def length_for_rules(self) -> Any:
        """The length beside scores (B, K, V)."""
        return self.length[..., None] if self.apart else self.length


def advance(ops: Any, model: Any, state: State) -> State:
    """Feeds each hypothesis's last token to the model: logits of the next, with the cache written."""
    decoder = model.decoder
    ids, start, order, mask, state = to_read(ops, decoder, state)
    place, trace = decoder.abreast(ids, start, order), trace_for(state.record)
    seen = state.memory, state.memory_mask, state.cache, state.at
    x, cache = decoder.step(ids, place, mask, *seen, trace, state.stands)
    if trace is not None and state.record is not None:
        keep_trace(ops, state.record, trace, state.lineage, state.read, state.ids.shape[:2])
    return has_read(state, x, logits_of(decoder, x, state), cache)


def logits_of(decoder: Any, x: Array, state: State) -> Array | None:
    """Hidden states (B, K, W) -> logits (B, K, V); None where the best are found without."""
    if state.finder is not None:
        return None
    return decoder.logits(x) if state.shortlist is None else state.shortlist(x, state.allowed)


def to_read(ops: Any, decoder: Any, state: State) -> tuple[Array, Any, Array | None, Array | None, State]:
    """What the decoder reads next: tokens (B, K), where they stand, where what they see stands, what that is; and the state,
    with their slots marked as their own."""
    count = state.ids.shape[1]
    last = ops.column(state.ids, state.length - 1)[..., 0]
    lineage, mask = state.lineage, ops.filled(state.at + count, state.cache[0][0].shape[2], last)
    if lineage is not None:
        lineage = ops.own_slots(lineage, state.at)
        mask = lineage[:, None, :, : ops.window(state.at + count, lineage.shape[-1])]
        mask = ops.concat([mask, mask], 0) if state.guided else mask
    order = slot_order(ops, state, count, last) if decoder.spec.ordered else None
    fed = ops.concat([last, last], 0) if state.guided else last
    return fed, state.length - 1, order, mask, replace(state, lineage=lineage)


def has_read(state: State, x: Array, logits: Array | None, cache: list[tuple[Array, Array]]) -> State:
    """The state after hidden states x and their logits came of what it had to read."""
    batch, count = state.ids.shape[:2]
    logits, against = halves(logits, batch, state.guided)
    return replace(state, logits=logits, hidden=x[:batch], against=against, cache=cache, at=state.at + count)


def halves(logits: Any, batch: int, guided: bool) -> tuple[Any, Any]:
    """The logits of the sources, and of those that guidance leads away from, which stand behind them."""
    return (logits, None) if logits is None or not guided else (logits[:batch], logits[batch:])


def slot_order(ops: Any, state: State, count: int, like: Array) -> Array:
    """Where the token of each slot in sight stands (1, S): the prompt's first, then one of each hypothesis a step."""
    slot = ops.arange(ops.window(state.at + count, state.cache[0][0].shape[2]), like)
    return ops.where(slot < state.read, slot, state.read + ops.divided(slot - state.read, count)[0])[None]
