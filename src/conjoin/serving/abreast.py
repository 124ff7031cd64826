"""One step of the decoder for many searches at once, each with a length, a cache and a source of its own.

Where the engine's kernels run, all tokens go through every product together, and attention goes from search to search: nothing is
padded or copied, and no number depends on what stands beside it. Elsewhere searches take turns.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import Tensor

from conjoin.backends import torch as ops
from conjoin.blocks import Inputs, Place
from conjoin.decoding.state import State, advance, has_read, to_read
from conjoin.engine.twins import is_native
from conjoin.serving.parties import Party

__all__ = ["advance_all", "goes_abreast"]

Array = Any


def goes_abreast(model: Any) -> bool:
    """Whether a model that is ready to generate takes one step for many."""
    return is_native(model.decoder)


def advance_all(model: Any, parties: Sequence[Party]) -> None:
    """Feeds every hypothesis's last token to a model that is ready to generate: each party's state with logits of the next."""
    together = [party for party in parties if party.state.record is None] if goes_abreast(model) else []
    if len(together) == 1 and not together[0].state.apart:
        together = []
    for party in parties:
        if party not in together:
            party.state = advance(ops, model, party.state)
    if together:
        step(model.decoder, together)


def step(decoder: Any, parties: Sequence[Party]) -> None:
    """One step of a decoder on the engine."""
    asked = [next_tokens(party.state) for party in parties]
    ends = list(accumulate(ids.numel() for ids, _ in asked))
    tokens, starts = (torch.cat([part.reshape(-1) for part in parts])[None] for parts in zip(*asked, strict=True))
    place = decoder.abreast(tokens, starts[..., None], None)
    x = decoder.embed(tokens, place.rows)[0].float().contiguous()
    facts = np.concatenate([facts_of(decoder, party, x) for party in parties])
    hidden = decoder.hidden_of_runs(x, place, facts)
    logits = decoder.logits(hidden)
    for party, (ids, _), end in zip(parties, asked, ends, strict=True):
        rows = slice(end - ids.numel(), end)
        read = hidden[rows].view(*ids.shape, -1), logits[rows].view(*ids.shape, -1)
        party.state = has_read(party.state, *read, party.state.cache)


def next_tokens(state: State) -> tuple[Tensor, Tensor]:
    """The tokens (B, K) that are read next, and where they stand (B, K)."""
    last = ops.column(state.ids, state.length - 1)[..., 0]
    start = state.length if state.apart else torch.tensor(state.length)
    return last, (start - 1).expand_as(last)


def facts_of(decoder: Any, party: Party, x: Tensor) -> Array:
    """What the engine is told of each text's run (texts, n); the slots that it writes are marked as its own.

    Caches and sources are told once. Where attention asks how far tokens are apart, all is told at each step.
    """
    always = not party.state.apart or decoder.spec.ordered
    if party.facts is None or always:
        for i, known in enumerate(party.told):
            if known is None or always:
                party.told[i] = decoder.told(run_of(decoder, party.state_of(i), x))
        party.facts = np.stack([facts for facts, _ in party.told])
    if always:
        return party.facts
    state, mask = party.state, None
    if state.lineage is not None:
        mask = ops.own_slots(state.lineage, state.at).numpy()
    decoder.move(party.facts, state.at.numpy(), mask)
    return party.facts


def run_of(decoder: Any, state: State, x: Tensor) -> Inputs:
    """What one text's hypotheses read beside all others; of `x` only the kind of numbers is seen."""
    ids, start, order, mask, state = to_read(ops, decoder, state)
    place = Place(None, torch.tensor([[start]]), None if order is None else (torch.tensor([[start]]), order))
    like = x[:1].expand(ids.numel(), -1).view(*ids.shape, -1)
    seen = state.memory, state.memory_mask, state.cache, state.at
    return Inputs(like, place, mask, *seen, stands=state.stands)
