"""One step of the decoder for many searches at once, each with a length, a cache and a source of its own.

Where the engine's kernels run, all tokens go through every product together, and attention goes from search to search: nothing is
padded or copied, and no number depends on what stands beside it. Elsewhere searches take turns.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch

from conjoin.backends import torch as ops
from conjoin.blocks import Inputs, Place
from conjoin.decoding.state import State, advance, has_read, to_read
from conjoin.engine.twins import is_native

__all__ = ["advance_all"]


def advance_all(model: Any, states: Sequence[State]) -> list[State]:
    """Feeds every hypothesis's last token to a model that is ready to generate: each state with logits of the next."""
    decoder = model.decoder
    if len(states) < 2 or not is_native(decoder) or any(state.record is not None for state in states):
        return [advance(ops, model, state) for state in states]
    asked = [to_read(ops, decoder, state) for state in states]
    states = [state for *_, state in asked]
    shapes = [ids.shape for ids, *_ in asked]
    ends = list(accumulate(batch * count for batch, count in shapes))
    tokens = torch.cat([ids.reshape(-1) for ids, *_ in asked])[None]
    starts = torch.tensor([start for _, start, *_ in asked]).repeat_interleave(torch.tensor(shapes).prod(1))
    place = decoder.abreast(tokens, starts[None, :, None], None)
    x = decoder.embed(tokens, place.rows)[0].float().contiguous()
    runs = []
    for (ids, start, order, mask, state), end in zip(asked, ends, strict=True):
        here = x[end - ids.numel() : end].view(*ids.shape, -1)
        own = Place(None, place.positions[:, :1], None if order is None else (torch.tensor([[start]]), order))
        seen = state.memory, state.memory_mask, state.cache, state.at
        runs.append(Inputs(here, own, mask, *seen, stands=state.stands))
    hidden = decoder.hidden_of_runs(x, place, runs)
    logits = decoder.logits(hidden)
    found = []
    for state, shape, end in zip(states, shapes, ends, strict=True):
        rows = slice(end - shape.numel(), end)
        found.append(has_read(state, hidden[rows].view(*shape, -1), logits[rows].view(*shape, -1), state.cache))
    return found
