"""Continuous batching: texts join and leave the running batch at every step, in the order in which they came.

One thread turns a wheel: who was cancelled or is too late leaves, who fits joins and has its source encoded, all together take
one step of the decoder, each search chooses, and who is done is answered. Every text has a search, a cache and a source of its
own, so that no answer depends on what else was in the batch. The thread sleeps while there is nothing to do.
"""

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from conjoin.backends import torch as ops
from conjoin.backends.torch.generating import ReadyModel, no_gradients
from conjoin.decoding.certain import Certain
from conjoin.decoding.generate import chooser
from conjoin.decoding.search import search_of
from conjoin.decoding.state import advance
from conjoin.engine.threads import kernels_alone
from conjoin.engine.twins import is_native, twin_of
from conjoin.serving.abreast import advance_all
from conjoin.serving.allocating import give_back
from conjoin.serving.beginning import TOKENS, begin, groups
from conjoin.serving.jobs import Answer, Job
from conjoin.serving.limits import Limits
from conjoin.serving.metrics import ModelMetrics
from conjoin.serving.refusals import Refusal
from conjoin.serving.results import answer_of
from conjoin.serving.together import choose_all, exact, kind_of, kinds

__all__ = ["Scheduler"]

logger = logging.getLogger("conjoin.serving")

# What torch and our own code raise when a step fails: the texts in it are answered so, and the next ones are served.
FAILURES = (ArithmeticError, LookupError, MemoryError, RuntimeError, TypeError, ValueError)

TIDY = 5.0  # seconds between two times that memory is given back


class Scheduler:
    """The running batch of one model.

    Only `submit`, `submit_first`, `check_room`, `cancel` and `stop` are called by other threads.
    """

    def __init__(
        self, model: Any, limits: Limits, memory: int, metrics: ModelMetrics, *, batching: bool = True
    ) -> None:
        """`memory` is how many bytes all texts that run may need together; without `batching` one runs at a time."""
        self.limits, self.memory, self.metrics = limits, memory, metrics
        self.model = ReadyModel(model, twin_of(model.encoder), twin_of(model.decoder))
        self.exact = exact(model)
        self.own = ReadyModel(model, model.encoder, model.decoder)  # what guidance runs on
        self.batching = batching
        self.waiting: deque[Job] = deque()
        self.running: list[Job] = []
        self.changed = threading.Condition()
        self.stopped = False
        self.tidied = time.monotonic()
        self.thread = threading.Thread(target=self.run, name="conjoin-scheduler", daemon=True)

    # For other threads.

    def start(self) -> None:
        """Begins to serve."""
        self.thread.start()

    def submit(self, jobs: Sequence[Job]) -> None:
        """Takes texts in, all or none. Raises a Refusal where the queue has no room for them, or nobody writes any more."""
        with self.changed:
            if not self.thread.is_alive():
                raise Refusal(503, "stopped", "the thread that writes has ended; the log says why.")
            self.check_room(len(jobs))
            if tables([*self.waiting, *jobs]) > self.memory:
                raise self.full("the tables of stop strings that texts wait with fill the memory")
            self.waiting.extend(jobs)
            self.changed.notify()

    def submit_first(self, jobs: Sequence[Job]) -> None:
        """Takes the server's own texts in before all that wait, whatever waits."""
        with self.changed:
            self.waiting.extendleft(reversed(jobs))
            self.changed.notify()

    def check_room(self, count: int) -> None:
        """Raises a Refusal where the queue has no room for so many texts."""
        if count > self.limits.queue - len(self.waiting):
            raise self.full(f"{len(self.waiting)} texts wait already and the queue takes {self.limits.queue}")

    def full(self, why: str) -> Refusal:
        """What is said to who finds no room."""
        return Refusal(429, "queue", f"{why}; try again later.", retry_after=self.wait())

    def cancel(self, jobs: Iterable[Job]) -> None:
        """Gives up texts: their rows are free with the next step."""
        with self.changed:
            for job in jobs:
                job.cancelled = True
            gone = sum(job.cancelled for job in self.waiting)
            if gone:
                self.waiting = deque(job for job in self.waiting if not job.cancelled)
                self.metrics.cancelled.inc(gone)

    def stop(self) -> None:
        """Ends the thread with the step that it takes, whoever waits or runs."""
        with self.changed:
            self.stopped = True
            self.changed.notify()
        if self.thread.is_alive():
            self.thread.join()

    def wait(self) -> float:
        """Seconds after which a place in the queue is likely."""
        return max(1.0, round(self.metrics.mean * len(self.waiting) / max(1, len(self.running))))

    # The wheel.

    def run(self) -> None:
        """What the thread does."""
        native = is_native(self.model.encoder, self.model.decoder)
        try:
            with no_gradients(self.model.joined):
                while self.sleep():
                    with kernels_alone(native):
                        while (self.waiting or self.running) and not self.stopped:
                            self.turn()
        finally:
            for job in [*self.running, *self.waiting]:
                job.tell(job, Refusal(503, "stopped", "the server ended before the text did."))

    def sleep(self) -> bool:
        """Waits until there is something to do; False where there never will be."""
        self.tidy(time.monotonic())
        with self.changed:
            self.metrics.batch(0, 0, 0)
            self.changed.wait_for(lambda: self.waiting or self.stopped)
            return not self.stopped

    def turn(self) -> None:
        """One step of everybody."""
        now = time.monotonic()
        self.running = [job for job in self.running if self.stays(job, now)]
        self.join(now)
        if self.running:
            self.attempt(self.step, self.running)
        self.metrics.batch(len(self.waiting), len(self.running), sum(job.rows for job in self.running))
        self.tidy(now)

    def tidy(self, now: float) -> None:
        """Gives memory back now and then."""
        if now - self.tidied > TIDY:
            self.tidied = now
            give_back()

    def attempt(self, work: Any, jobs: list[Job]) -> None:
        """Does some work for jobs; where it fails, they are answered so, and are gone."""
        try:
            work(jobs)
        except FAILURES:
            logger.exception("a step failed; %d texts are answered with an error", len(jobs))
            for job in [job for job in jobs if job in self.running]:
                self.end(job, Refusal(500, "internal", "the step that wrote this text failed; the log says why."))

    def stays(self, job: Job, now: float) -> bool:
        """Whether a running job goes on."""
        if job.cancelled:
            self.metrics.cancelled.inc()
            return False
        if now - job.arrived > self.limits.seconds:
            job.tell(job, Refusal(503, "seconds", f"the answer took more than {self.limits.seconds:g} seconds."))
            return False
        return True

    def join(self, now: float) -> None:
        """Lets in whoever is first in the queue, and the next, while there is room; their sources are encoded together."""
        new: list[Job] = []
        with self.changed:
            while (job := self.first(now)) is not None and self.fits(job, new):
                self.waiting.popleft()
                job.began = now
                new.append(job)
        for guided in (False, True):
            which = [job for job in new if job.guided == guided]
            for some in groups(self.own if guided else self.model, which):
                self.running.extend(some)
                self.attempt(self.begin, some)
        # A step of few costs little, so whoever streams need not wait for the first token as long as all together take.
        if streams := [job for job in new if job.streams and job in self.running]:
            self.attempt(self.step, streams)

    def first(self, now: float) -> Job | None:
        """The first in the queue who has not waited too long; who has is answered so. Called with the lock."""
        while self.waiting:
            job = self.waiting[0]
            if now - job.arrived <= self.limits.queue_seconds:
                return job
            self.waiting.popleft()
            sentence = f"the text waited more than {self.limits.queue_seconds:g} seconds; try again later."
            job.tell(job, Refusal(503, "queue_seconds", sentence, retry_after=self.wait()))
        return None

    def fits(self, job: Job, new: list[Job]) -> bool:
        """Whether a job has room beside those that run. One alone always has: what is too large is refused before."""
        beside = [*self.running, *new]
        if not beside:
            return True
        if not self.batching:
            return False
        rows, size = sum(one.rows for one in beside), sum(one.bytes for one in beside)
        if new and job.source_tokens + sum(one.source_tokens for one in new) > TOKENS:
            return False
        return rows + job.rows <= self.limits.rows and size + job.bytes <= self.memory

    def begin(self, jobs: list[Job]) -> None:
        """Encodes the sources of jobs that have just joined, and makes their searches ready."""
        begin(self.own if jobs[0].guided else self.model, jobs)
        for job in jobs:
            job.choose = chooser(ops, job.settings, job.noise, job.call.rule_ids)
            job.kind = kind_of(job.settings) if self.exact else None
            job.certain = Certain(ops, 1) if job.streams else None
            job.state = search_of(job.settings).first(ops, job.settings, job.state)
        self.choose([job for job in jobs if job.state.logits is not None])

    def step(self, jobs: list[Job]) -> None:
        """One token more for everybody."""
        began = time.perf_counter()
        rows, everybody = sum(job.rows for job in jobs), list(jobs)
        alike = [
            job for some in kinds(jobs) for job in some if not job.guided
        ]  # so that logits of a kind lie side by side
        states = advance_all(self.model, [job.state for job in alike])
        for job, state in zip(alike, states, strict=True):
            job.state = state
        for job in jobs:
            if job.guided:
                job.state = advance(ops, self.own, job.state)
        self.choose(everybody)
        self.metrics.stepped(time.perf_counter() - began, rows)

    def choose(self, jobs: Sequence[Job]) -> None:
        """Lets searches choose, those of a kind together, and tells what came of it."""
        first = [job for job in jobs if job.state.length == job.settings.prompt]
        for some in kinds(jobs):
            self.attempt(self.chosen, some)
        now = time.monotonic()
        for job in first:
            self.metrics.first.observe(now - job.arrived)

    def chosen(self, jobs: list[Job]) -> None:
        """Lets the searches of one kind choose."""
        choose_all(jobs)
        for job in jobs:
            if job.certain is not None:
                for _, ids in job.certain.after(job.state):
                    job.tell(job, ids)
            if bool(job.state.done):
                self.end(job, answer_of(job, job.state))

    def end(self, job: Job, told: Answer | Refusal) -> None:
        """Answers a job, which leaves."""
        if isinstance(told, Answer):
            new = sum(one.tokens for one in told.sequences)
            self.metrics.answered(told.source_tokens, new, told.seconds, told.queued)
        with contextlib.suppress(ValueError):
            self.running.remove(job)
        job.state = job.choose = None
        job.tell(job, told)


def tables(jobs: Iterable[Job]) -> int:
    """Bytes of the tables of stop strings of jobs; several may have one."""
    return sum({x.data_ptr(): x.nbytes for job in jobs if (x := job.call.stop_moves) is not None}.values())
