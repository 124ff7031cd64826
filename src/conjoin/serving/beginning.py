"""How texts begin: sources encoded several at a time by their tokens, each then with a cache and a search of its own."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from conjoin.backends import torch as ops
from conjoin.decoding.generate import begun
from conjoin.engine.twins import is_native
from conjoin.serving.jobs import Job

__all__ = ["TOKENS", "begin", "groups"]

TOKENS = 512  # of sources that are encoded between two steps: more would let those who run wait


def groups(model: Any, jobs: Sequence[Job]) -> Iterator[list[Job]]:
    """Jobs in their order, those that are encoded together side by side."""
    some: list[Job] = []
    for job in jobs:
        full = sum(one.source_tokens for one in some) + job.source_tokens > TOKENS
        if some and (full or not (shares(model, job) and shares(model, some[0]))):
            yield some
            some = []
        some.append(job)
    if some:
        yield some


def shares(model: Any, job: Job) -> bool:
    """Whether a source's states are the same, bit for bit, whatever is encoded beside it."""
    plain = job.settings.chunks is None and job.call.states is None and job.call.input_ids is not None
    return plain and is_native(model.encoder) and not model.encoder.spec.padding_counts


def begin(model: Any, jobs: Sequence[Job]) -> None:
    """Encodes the sources of jobs that belong together, and gives each the state before its first step."""
    calls = [job.call for job in jobs]
    if len(jobs) > 1:
        ids, seen = padded([call.source for call in calls])
        states = model.encoder(input_ids=ids, attention_mask=seen)["last_hidden_state"]
        calls = [
            replace(c, states=states[i : i + 1, : job.source_tokens])
            for i, (c, job) in enumerate(zip(calls, jobs, strict=True))
        ]
    for job, call in zip(jobs, calls, strict=True):
        job.state = begun(ops, model, job.settings, call, start_waits=True)


def padded(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Ids (1, S) of several sources as one batch, and which of them are real."""
    longest = max(row.shape[1] for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.int64)
    seen = torch.zeros(len(rows), longest, dtype=torch.bool)
    for i, row in enumerate(rows):
        ids[i, : row.shape[1]], seen[i, : row.shape[1]] = row[0], True
    return ids, seen
