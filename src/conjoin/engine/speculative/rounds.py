"""Rounds of drafting and checking: the model reads its last token and a draft after it in one step, until all rows are done."""

from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from conjoin.backends import torch as ops
from conjoin.backends.torch.generating import no_gradients, ready_for
from conjoin.decoding.call import Call
from conjoin.decoding.generate import begun, encoded
from conjoin.decoding.settings import Settings
from conjoin.engine.speculative.assistant import Assistant
from conjoin.engine.speculative.choosing import Choice, Chooser
from conjoin.engine.speculative.lookup import Lookup
from conjoin.engine.speculative.reader import Reader
from conjoin.engine.speculative.translated import Translated, sources_of

__all__ = ["speculated"]

STAY = 0.75  # with more than this share of its rows alive, a batch is not worth copying


class Drafter(Protocol):
    """What proposes tokens."""

    def draft(self, ids: Tensor, length: Tensor, row: Tensor, most: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, D) after `length` (B,) of ids (B, L) of sources `row` (B,), and how many (B,) count, at most `most`."""

    def learn(self, made: Tensor, counts: Tensor) -> None:
        """What became of the draft: rows made so many (B,) tokens where `counts` (B,) were drafted."""

    def select(self, index: Tensor) -> None:
        """Only some rows from here on."""


@dataclass
class Rows:
    """What is written so far of sources `row` of the call."""

    ids: Tensor  # (B, L)
    length: Tensor  # (B,)
    row: Tensor  # (B,)
    done: Tensor  # (B,)

    def write(self, settings: Settings, choice: Choice, counts: Tensor) -> Tensor:
        """Writes the first `counts` (B,) of tokens (B, T), no further than to an end; gives how many each row took."""
        tokens, ends = choice.token, choice.ends
        each = torch.arange(tokens.shape[1], device=tokens.device)
        before = ends.long().cumsum(1) - ends.long()  # how many ended before
        counts = counts.minimum(settings.max_length - self.length).masked_fill(self.done, 0)
        taken = (each < counts[:, None]) & (before == 0)
        at = (self.length[:, None] + each).clamp(max=self.ids.shape[1] - 1)
        which, place = taken.nonzero(as_tuple=True)
        self.ids[which, at[which, place]] = tokens[which, place]
        made = taken.sum(1)
        self.length = self.length + made
        self.done = self.done | (ends & taken).any(1) | (self.length >= settings.max_length)
        return made

    def select(self, index: Tensor) -> None:
        """Only some rows from here on."""
        self.ids, self.length, self.row, self.done = (x[index] for x in (self.ids, self.length, self.row, self.done))


def speculated(model: Any, settings: Settings, call: Call, noise: Any) -> dict[str, Any]:
    """Sequences "ids" (B, 1, L) of a ready model and the "longest"'s length: what `decoded` gives, drafted and checked."""
    states, seen, _ = encoded(ops, model, settings, call)
    read = replace(call, states=states, seen=seen)
    state = begun(ops, model, settings, read)
    chooser = Chooser(settings, state, call.rule_ids, noise)
    rows = Rows(state.ids[:, 0], torch.full_like(state.row, settings.prompt), state.row, state.done.clone())
    logits: Any = state.logits
    rows.write(settings, chooser.choose(logits, rows.ids, rows.length[:, None], rows.row), torch.ones_like(rows.length))
    assistant = settings.assistant
    with nullcontext() if assistant is None else no_gradients(assistant):
        if settings.vocabularies is not None:
            sources = sources_of(model.joined, assistant, call.input_ids, seen, states)
            drafter: Drafter = Translated(settings, sources)
        elif assistant is None:
            drafter = Lookup(settings, call.rule_ids if settings.lookup_source else None, call.seen)
        else:
            ready = ready_for(assistant, settings)
            told = read if assistant.encoder is model.joined.encoder else call
            drafter = Assistant(settings, Reader(ready.decoder, begun(ops, ready, settings, told)), chooser)
        finished = checked(settings, Reader(model.decoder, state), drafter, chooser, rows)
    order = torch.cat([done.row for done in finished]).argsort()
    longest = max(int(done.length.max()) for done in finished)
    return {"ids": torch.cat([done.ids for done in finished])[order][:, None], "longest": longest, "steps": None}


def checked(settings: Settings, reader: Reader, drafter: Drafter, chooser: Chooser, rows: Rows) -> list[Rows]:
    """Rounds until all rows are done: rows that together hold every source."""
    left: list[Rows] = []
    while True:
        done = int(rows.done.sum())
        if done == len(rows.done):
            return [*left, rows]
        if done > (1 - STAY) * len(rows.done):
            left.append(replace(rows))
            left[-1].select(rows.done.nonzero()[:, 0])
            index = (~rows.done).nonzero()[:, 0]
            for one in (rows, reader, drafter):
                one.select(index)
        a_round(settings, reader, drafter, chooser, rows)


def a_round(settings: Settings, reader: Reader, drafter: Drafter, chooser: Chooser, rows: Rows) -> None:
    """One draft, checked: each row takes what agrees with its own choice, and the choice after it."""
    chooser.forget(int(rows.length.min()))
    most = (settings.max_length - 1 - rows.length).clamp(min=0).masked_fill(rows.done, 0)
    draft, counts = drafter.draft(rows.ids, rows.length, rows.row, most)
    draft = draft[:, : int(counts.max())]
    each = torch.arange(draft.shape[1] + 1, device=draft.device)
    last = rows.length[:, None] - 1
    reader.begin()
    logits = reader.read(torch.cat([rows.ids.gather(1, last), draft], 1), last[:, 0])
    # For the rules each row stands with its whole draft; a place sees what is before it.
    room = rows.ids.new_zeros(len(rows.ids), draft.shape[1])
    tried = torch.cat([rows.ids, room], 1).scatter(1, rows.length[:, None] + each[:-1], draft)
    places = (rows.length[:, None] + each).clamp(max=settings.max_length - 1)
    choice = chooser.choose(logits, tried, places, rows.row, draft)
    agrees = (choice.token[:, :-1] == draft) & (each[:-1] < counts[:, None])
    made = rows.write(settings, choice, agrees.long().cumprod(1).sum(1) + 1)
    reader.keep(made)
    drafter.learn(made, counts)
