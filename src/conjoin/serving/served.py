"""A model as the server has it: by a name, with its tokenizers, its limits and the thread that runs it; requests made jobs."""

import contextlib
import logging
import math
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from queue import SimpleQueue
from typing import Any

import torch

from conjoin.backends import torch as ops
from conjoin.decoding.budget import estimate, readable
from conjoin.decoding.generate import resolved
from conjoin.decoding.settings import Settings, resolve
from conjoin.decoding.stream import check
from conjoin.errors import InputError
from conjoin.generation import GENERATION_FIELDS
from conjoin.pipelines import LENGTHS, SourceTooLongError, Writer
from conjoin.serving.jobs import Answer, Job
from conjoin.serving.limits import Limits
from conjoin.serving.metrics import ModelMetrics
from conjoin.serving.refusals import Refusal
from conjoin.serving.scheduler import Scheduler

__all__ = ["Served", "expect_characters"]

logger = logging.getLogger("conjoin.serving")

SHARE = 0.5  # of the memory that is free at the start, for all texts that run together
# In place of a model's own settings, of which another number of beams or tokens might make no sense.
PLAIN = {
    "num_return_sequences": 1,
    "min_length": None,
    "min_new_tokens": None,
    "num_beam_groups": None,
    "diversity_penalty": None,
}
UNKNOWN_FREE = 4 << 30  # bytes, where the system does not say what is free
Tell = Callable[[Job, list[int] | Answer | Refusal], None]


class Served:
    """One model of a server."""

    def __init__(
        self,
        name: str,
        writer: Writer,
        limits: Limits,
        metrics: ModelMetrics,
        *,
        models: int = 1,
        batching: bool = True,
    ) -> None:
        """`models` share the memory. Raises InputError where one text within the limits might need more than there is."""
        self.name, self.writer, self.limits, self.metrics = name, writer, limits, metrics
        self.model: Any = writer.model
        self.positions = int(self.model.decoder.spec.max_length)
        free = self.model.ops.free_memory(self.model) or UNKNOWN_FREE
        self.memory = int(free * SHARE / models)
        worst = self.worst()
        if worst > self.memory:
            raise InputError(
                f'one text within the limits may need {readable(worst)} and "{name}" has {readable(self.memory)}, '
                f"{SHARE:.0%} of what is free; lower --max-new-tokens, --max-beams or --max-source-tokens."
            )
        self.scheduler = Scheduler(self.model, limits, self.memory, metrics, batching=batching)

    @property
    def new_tokens(self) -> int:
        """The most that a request may ask for."""
        return min(self.limits.new_tokens, self.positions)

    def source_limit(self, asked: Mapping[str, Any]) -> int:
        """How many tokens a source may have under the settings of a request."""
        own = self.writer.limit(asked)
        return self.limits.source_tokens if own is None else min(own, self.limits.source_tokens)

    def worst(self) -> int:
        """Bytes that the largest text within the limits needs while it runs."""
        config = self.model.config.generation.updated(
            {
                **PLAIN,
                "num_beams": self.limits.beams,
                "max_new_tokens": self.new_tokens,
            }
        )
        spec = self.model.decoder.spec
        settings = resolve(config, prompt=1, positions=self.positions, vocab=spec.vocab)
        return sum(estimate(self.model, settings, 1, self.limits.source_tokens).values())

    def jobs(
        self, texts: Sequence[str], asked: Mapping[str, Any], truncation: bool, streams: bool, tell: Tell
    ) -> list[Job]:
        """A job for each text, checked. Raises a Refusal for what this server or this model does not take."""
        self.limits.refuse("texts", len(texts), "texts in one request", "texts")
        try:
            given = self.given(asked)
            rows = self.sources(texts, truncation, given)
            return [self.job(row, given, streams, tell) for row in rows]
        except SourceTooLongError as error:
            raise Refusal(422, "source_tokens", str(error), field="texts") from None
        except InputError as error:
            raise Refusal(422, "invalid_value", str(error)) from None

    def given(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """The settings of a request, with what holds where it says nothing. Raises a Refusal."""
        given = self.writer.resolved(asked)
        own = self.model.config.generation
        if (asked.get("max_new_tokens") or 0) > self.new_tokens:
            sentence = (
                f"max_new_tokens: {asked['max_new_tokens']} came and this server takes at most {self.new_tokens}."
            )
            raise Refusal(422, "new_tokens", sentence, field="max_new_tokens")
        if all(asked.get(name) is None for name in LENGTHS):
            length = given.get("max_new_tokens") or own.max_new_tokens
            if length is None and own.max_length is not None:
                length = own.max_length - 1  # which counts the start token
            given["max_new_tokens"] = min(math.inf if length is None else length, self.new_tokens)
        samples = own.do_sample if given.get("do_sample") is None else given["do_sample"]
        if samples and given.get("seed") is None:
            given["seed"] = secrets.randbits(31)
        return {**given, "prompt_lookup_num_tokens": None}  # drafts change time alone, and that of one text

    def sources(self, texts: Sequence[str], truncation: bool, given: Mapping[str, Any]) -> list[list[int]]:
        """The ids of texts."""
        for i, text in enumerate(texts):
            expect_characters(text, f"the source at index {i}")
        limit = self.source_limit(given)
        rows = self.writer.encoded(texts, truncation, self.writer.limit(given))
        for row in rows:
            if truncation:
                del row[limit:]
            self.limits.refuse("source_tokens", len(row), "tokens of a source", "texts")
        return rows

    def job(self, row: list[int], given: Mapping[str, Any], streams: bool, tell: Tell) -> Job:
        """One text's."""
        config = self.model.config.generation.updated({k: v for k, v in given.items() if k in GENERATION_FIELDS})
        settings, call = resolved(self.model, torch.tensor([row]), config, given)
        self.limits.check_settings(settings)
        if streams:  # of beams the best is told as it comes, the others at the end
            check(replace(settings, num_return_sequences=1) if settings.num_beams > 1 else settings)
        size = self.size(settings, len(row), 0 if call.stop_moves is None else call.stop_moves.nbytes)
        noise = ops.noise(given.get("seed"), 1, settings.hypotheses)
        return Job(settings, call, noise, size, tell, streams)

    def size(self, settings: Settings, source: int, table: int) -> int:
        """Bytes that a text needs while it runs, a table among them. Raises a Refusal where there are never so many."""
        size = sum(estimate(self.model, settings, 1, source).values()) + table
        if size > self.memory:
            raise Refusal(
                422,
                "memory",
                f"this text would need {readable(size)} and all together have {readable(self.memory)}; ask for fewer or "
                f"shorter sequences.",
            )
        return size

    def warm(self) -> None:
        """Writes two tokens of several texts side by side, by beams too, so that everything is compiled and loaded.

        Raises InputError where a text is not written. Logs a warning where a request that sets nothing would be refused.
        """
        told: SimpleQueue[Any] = SimpleQueue()

        def made(text: str, asked: Mapping[str, Any]) -> list[Job]:
            return self.jobs([text], asked, True, False, lambda _, what: told.put(what))

        try:
            made("ready", {})
        except Refusal as refusal:
            logger.warning('"%s": by its own settings a request that sets nothing is refused: %s', self.name, refusal)
        jobs: list[Job] = []
        for beams in ({}, {"num_beams": min(2, self.limits.beams)}):
            asked = {**PLAIN, **beams, "max_new_tokens": min(2, self.new_tokens)}
            with contextlib.suppress(Refusal):  # a model's own settings may leave no beams, or too many
                jobs += [job for text in ("ready", "ready to write") for job in made(text, asked)]
        self.scheduler.submit_first(jobs)
        for _ in jobs:
            if isinstance(what := told.get(), Refusal):
                raise InputError(f'"{self.name}" does not write: {what}')


def expect_characters(text: str, what: str) -> None:
    """Raises a Refusal for half of a surrogate pair, which JSON can escape, and which is no character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Refusal(
            422, "invalid_value", f"{what} holds half of a surrogate pair; a text was expected.", field="text"
        ) from None
