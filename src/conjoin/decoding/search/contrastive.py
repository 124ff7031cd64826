"""Contrastive search: of the likeliest tokens the one least like what was said before.

Su et al. (2022), https://arxiv.org/abs/2202.06417. The candidates are hypotheses side by side that share their parent's
past by lineage: a step reads all of them, the next chooses one, and the others' slots are never seen again.
"""

from dataclasses import dataclass, replace
from typing import Any

from conjoin.decoding.search.steps import Result, Rules, apply
from conjoin.decoding.settings import Settings
from conjoin.decoding.state import State
from conjoin.decoding.stopping import ends

__all__ = ["Contrast", "contrast", "contrasted", "first_contrast"]

Array = Any
HIDDEN = -1.0e30  # a likeness below all others


@dataclass
class Contrast:
    """What candidates are compared with."""

    said: Array  # (B, W, L + 1) hidden states of the sequence, each of length one
    real: Array  # (B, L + 1) which columns are no padding of the prompt
    chance: Array  # (B, K) the candidates' probabilities
    ended: Array  # (B, 1)


def first_contrast(ops: Any, settings: Settings, state: State) -> State:
    """The state before the first token: the prompt's last token stands in the place of all candidates.

    ids get a column more, since the last candidates are written before one of them is the last token.
    """
    batch, count, room = state.ids.shape
    lineage: Any = state.lineage  # there, since there are several candidates
    hidden = ops.normalised(ops.wide(state.hidden))
    prompt = hidden.shape[1]
    blank = ops.zeros((batch, hidden.shape[2], room + 1 - prompt), hidden)
    columns = ops.arange(room + 1, state.ids)[None] >= settings.prompt
    unread = ops.broadcast(ops.false(state.ids[:, 0, :1]), (batch, room + 1 - prompt))
    contrast = Contrast(
        said=ops.concat([ops.transposed(hidden), blank], 2),
        real=ops.concat([lineage[:, 0, :prompt], unread], 1) | columns,
        chance=ops.number(ops.false(state.ids[..., 0])),
        ended=state.done[:, None],
    )
    return replace(
        state,
        ids=ops.concat([state.ids, state.ids[..., :1] * 0 + settings.pad], 2),
        hidden=ops.broadcast(ops.slot(state.hidden, settings.prompt - 1), (batch, count, hidden.shape[2])),
        search=contrast,
    )


def contrast(ops: Any, settings: Settings, rules: Rules, warps: Rules, noise: Any, state: State) -> State:
    """Chooses among the candidates, which stand in the last filled column, and writes those for the next token."""
    was, at, count = state.search, state.length - 1, state.ids.shape[1]
    hidden = ops.normalised(ops.wide(state.hidden))
    best = ops.argmax(liking(ops, settings, was, hidden, at))[:, None]
    every = ops.broadcast(best, (best.shape[0], count))
    ids, lineage = ops.pick(state.ids, every), ops.pick(state.lineage, every)
    token = ops.column(ids, at)[:, :1, 0]
    over = ends(ops, settings, replace(state, length=at), ids[:, :1], token)
    ended = was.ended | (over & (state.length > settings.prompt))
    against = None if state.against is None else ops.pick(state.against, best)
    one = replace(state, ids=ids[:, :1], logits=ops.pick(state.logits, best), against=against)
    chance, tokens = ops.top_k(ops.softmax(apply(rules, one, ops.wide(one.logits)))[:, 0], count)
    search = Contrast(
        said=ops.set_column(was.said, at, ops.pick(hidden, best)[:, 0]), real=was.real, chance=chance, ended=ended
    )
    return replace(
        state,
        ids=ops.set_column(ids, state.length, ops.where(ended, settings.pad, tokens)),
        length=state.length + 1,
        lineage=lineage,
        search=search,
        done=ended[:, 0] | (state.length >= settings.max_length),
    )


def liking(ops: Any, settings: Settings, was: Contrast, hidden: Array, at: Any) -> Array:
    """How much each candidate (B, K) is liked: its probability, less how like its state is to any before column `at`."""
    alike = ops.dots(hidden[:, None], ops.transposed(was.said)[:, None])[:, 0]
    before = was.real & (ops.arange(was.real.shape[1], was.real)[None] < at)
    most = ops.top_k(ops.where(before[:, None], alike, HIDDEN), 1)[0][..., 0]
    return (1.0 - settings.penalty_alpha) * was.chance - settings.penalty_alpha * most


def contrasted(ops: Any, settings: Settings, state: State) -> Result:
    """The sequences (B, 1, L), without the candidates that stand behind them."""
    return {"ids": state.ids[:, :1, : settings.room]}, state.length - 1
