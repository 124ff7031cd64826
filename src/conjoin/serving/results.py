"""What a finished search has to say: its sequences with their scores, each as long as it is."""

import time

from conjoin.backends import torch as ops
from conjoin.decoding.search import search_of
from conjoin.decoding.settings import Settings
from conjoin.decoding.state import State
from conjoin.serving.jobs import Answer, Job, Sequence

__all__ = ["answer_of"]


def answer_of(job: Job, state: State) -> Answer:
    """The answer to a job whose search is done."""
    settings = job.settings
    found, longest = search_of(settings).result(ops, settings, state)
    rows = found["ids"][0, : settings.num_return_sequences, : int(longest)].tolist()
    scores = found["sequences_scores"][0].tolist() if "sequences_scores" in found else [None] * len(rows)
    now = time.monotonic()
    written = [sequence_of(settings, ids, score) for ids, score in zip(rows, scores, strict=False)]
    return Answer(written, job.source_tokens, now - job.arrived, job.began - job.arrived)


def sequence_of(settings: Settings, ids: list[int], score: float | None) -> Sequence:
    """A sequence without what fills it up after its end."""
    new = ids[settings.prompt :]
    end = next((i + 1 for i, token in enumerate(new) if token in settings.eos), None)
    if end is None:  # the padding after a stop string, or nothing
        end = len(new)
        while len(new) < settings.max_length - settings.prompt and end and new[end - 1] == settings.pad:
            end -= 1
    ended = end < settings.max_length - settings.prompt or bool(new and new[end - 1] in settings.eos)
    return Sequence(ids[: settings.prompt + end], score, end, ended)
