"""Continuous batching: texts join and leave the running batch at every step, in the order in which they came.

A thread turns a wheel: who was cancelled or is too late leaves, who fits joins and has its source encoded, all together take
one step of the decoder, each search chooses, and who is done is answered. Every text has a search, a cache and a source of its
own, so that no answer depends on what else was in the batch. A second wheel turns beside it where there are texts enough for both
(`lanes.py`). Threads sleep while there is nothing to do.
"""

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from conjoin.backends import torch as ops
from conjoin.backends.torch.generating import ReadyModel, no_gradients
from conjoin.decoding.certain import Certain
from conjoin.decoding.generate import chooser
from conjoin.decoding.search import search_of
from conjoin.decoding.state import advance
from conjoin.engine.threads import kernels_alone, threads_of
from conjoin.engine.twins import is_native, twin_of
from conjoin.serving.abreast import advance_all, goes_abreast
from conjoin.serving.allocating import give_back
from conjoin.serving.beginning import TOKENS, begin, groups
from conjoin.serving.jobs import Answer, Job
from conjoin.serving.kinds import exact, kind_of
from conjoin.serving.lanes import Lane, lanes_for, next_lane, share_of
from conjoin.serving.limits import Limits
from conjoin.serving.metrics import ModelMetrics
from conjoin.serving.parties import Party, gathered
from conjoin.serving.priority import yield_cores
from conjoin.serving.refusals import Refusal
from conjoin.serving.results import answer_of

__all__ = ["Scheduler"]

logger = logging.getLogger("conjoin.serving")

# What torch and our own code raise when a step fails: the texts in it are answered so, and the next ones are served.
FAILURES = (ArithmeticError, LookupError, MemoryError, RuntimeError, TypeError, ValueError)

TIDY = 5.0  # seconds between two times that memory is given back


class Scheduler:
    """The running batch of one model.

    Only `submit`, `submit_first`, `place_for`, `has_room`, `check_room`, `cancel` and `stop` are called by other threads.
    """

    def __init__(
        self, model: Any, limits: Limits, memory: int, metrics: ModelMetrics, *, batching: bool = True
    ) -> None:
        """`memory` is how many bytes all texts that run may need together; without `batching` one runs at a time."""
        self.limits, self.memory, self.metrics = limits, memory, metrics
        self.model = ReadyModel(model, twin_of(model.encoder), twin_of(model.decoder))
        self.exact = exact(model) and goes_abreast(self.model)
        self.own = ReadyModel(model, model.encoder, model.decoder)  # what guidance runs on
        self.batching = batching
        self.waiting: deque[Job] = deque()
        self.coming = 0  # texts that are being read, for whom places are kept; the event loop's alone
        self.lanes = lanes_for(batching and is_native(self.model.encoder, self.model.decoder))
        self.changed = threading.Condition()
        self.stopped = False
        self.tidied = time.monotonic()
        self.threads = [
            threading.Thread(target=self.run, args=(lane,), name=f"conjoin-lane-{i}", daemon=True)
            for i, lane in enumerate(self.lanes)
        ]

    @property
    def running(self) -> list[Job]:
        """The texts that are being written."""
        return [job for lane in self.lanes for job in lane.running]

    @property
    def alive(self) -> bool:
        """Whether all threads write."""
        return all(thread.is_alive() for thread in self.threads)

    # For other threads.

    def start(self) -> None:
        """Begins to serve."""
        for thread in self.threads:
            thread.start()

    def submit(self, jobs: Sequence[Job]) -> None:
        """Takes texts in, all or none. Raises a Refusal where the queue has no room for them, or nobody writes any more."""
        with self.changed:
            if not self.alive:
                raise Refusal(503, "stopped", "the thread that writes has ended; the log says why.")
            self.check_room(len(jobs))
            if tables([*self.waiting, *jobs]) > self.memory:
                raise self.full("the tables of stop strings that texts wait with fill the memory")
            self.waiting.extend(jobs)
            self.changed.notify_all()

    def submit_first(self, jobs: Sequence[Job]) -> None:
        """Takes the server's own texts in before all that wait, whatever waits."""
        with self.changed:
            self.waiting.extendleft(reversed(jobs))
            self.changed.notify_all()

    @contextlib.contextmanager
    def place_for(self, count: int) -> Iterator[None]:
        """Keeps places in the queue for texts that are read meanwhile. Raises a Refusal where there are too few.

        Reading is most of the work of a refusal: of hundreds that come at once, only those that will wait are read.
        """
        self.check_room(count)
        self.coming += count
        try:
            yield
        finally:
            self.coming -= count

    def has_room(self, count: int) -> bool:
        """Whether the queue takes so many texts more."""
        return len(self.waiting) + self.coming + count <= self.limits.queue

    def check_room(self, count: int) -> None:
        """Raises a Refusal where the queue has no room for so many texts."""
        if not self.has_room(count):
            raise self.full(
                f"{len(self.waiting) + self.coming} texts wait already and the queue takes {self.limits.queue}"
            )

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
            self.changed.notify_all()
        for thread in self.threads:
            if thread.is_alive():
                thread.join()

    def wait(self) -> float:
        """Seconds after which a place in the queue is likely."""
        return max(1.0, round(self.metrics.mean * len(self.waiting) / max(1, len(self.running))))

    # The wheel.

    def run(self, lane: Lane) -> None:
        """What a lane's thread does."""
        yield_cores()
        native = is_native(self.model.encoder, self.model.decoder)
        try:
            with no_gradients(self.model.joined):
                while self.sleep(lane):
                    with kernels_alone(native):
                        while (lane.running or self.is_next(lane)) and not self.stopped:
                            with threads_of(share_of(self.lanes)):
                                self.turn(lane)
        finally:
            with self.changed:
                self.stopped = True  # one lane alone would be half a server
                self.changed.notify_all()
                left, self.waiting = [*lane.running, *self.waiting], deque()
            for job in left:
                job.tell(job, Refusal(503, "stopped", "the server ended before the text did."))

    def is_next(self, lane: Lane) -> bool:
        """Whether who is first in the queue is to join this lane, and fits."""
        with self.changed:
            return bool(self.waiting) and next_lane(self.lanes) is lane and self.fits(self.waiting[0], [])

    def sleep(self, lane: Lane) -> bool:
        """Waits until there is something to do; False where there never will be."""
        self.tidy(time.monotonic())
        with self.changed:
            if not self.running:
                self.metrics.batch(0, 0, 0)
            self.changed.notify_all()  # what this lane has no more may be room for another's
            self.changed.wait_for(lambda: self.is_next(lane) or self.stopped)
            return not self.stopped

    def turn(self, lane: Lane) -> None:
        """One step of everybody."""
        now = time.monotonic()
        lane.running = [job for job in lane.running if self.stays(job, now)]
        self.join(lane, now)
        if lane.running:
            self.attempt(self.step, lane.running)
        running = self.running
        self.metrics.batch(len(self.waiting), len(running), sum(job.rows for job in running))
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
            job.gone = True
            self.metrics.cancelled.inc()
            return False
        if now - job.arrived > self.limits.seconds:
            job.gone = True
            job.tell(job, Refusal(503, "seconds", f"the answer took more than {self.limits.seconds:g} seconds."))
            return False
        return True

    def join(self, lane: Lane, now: float) -> None:
        """Lets in whoever is first in the queue, and the next, while there is room; their sources are encoded together."""
        new: list[Job] = []
        with self.changed:
            while (job := self.first(now)) is not None and next_lane(self.lanes) is lane and self.fits(job, new):
                self.waiting.popleft()
                job.began = now
                new.append(job)
                lane.running.append(job)
            self.changed.notify_all()
        for guided in (False, True):
            which = [job for job in new if job.guided == guided]
            for some in groups(self.own if guided else self.model, which):
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
        beside = self.running
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
            job.kind = kind_of(job.settings) if self.exact else None
            job.certain = Certain(ops, 1) if job.streams else None
            state = search_of(job.settings).first(ops, job.settings, job.state)
            job.party = Party(job, state, chooser(ops, job.settings, job.noise, job.call.rule_ids))
            job.state = None
        self.choose([job.party for job in jobs if job.party.state.logits is not None])

    def step(self, jobs: list[Job]) -> None:
        """One token more for everybody."""
        began = time.perf_counter()
        rows, parties = sum(job.rows for job in jobs), gathered(jobs)
        advance_all(self.model, [party for party in parties if not party.jobs[0].guided])
        for party in parties:
            if party.jobs[0].guided:
                party.state = advance(ops, self.own, party.state)
        self.choose(parties)
        self.metrics.stepped(time.perf_counter() - began, rows)

    def choose(self, parties: Sequence[Party]) -> None:
        """Lets searches choose, and tells what came of it."""
        for party in parties:
            self.attempt(self.chosen, party.jobs)

    def chosen(self, jobs: list[Job]) -> None:
        """Lets the searches of one party, which are these, choose."""
        party = jobs[0].party
        party.state = party.choose(party.state)
        now = time.monotonic()
        for number, (job, ended) in enumerate(zip(jobs, party.ended(), strict=True)):
            if job.first:
                job.first = False
                self.metrics.first.observe(now - job.arrived)
            if job.certain is not None:
                for _, ids in job.certain.after(party.state_of(number)):
                    job.tell(job, ids)
            if ended:
                self.end(job, answer_of(job, party.state_of(number)))

    def end(self, job: Job, told: Answer | Refusal) -> None:
        """Answers a job, which leaves."""
        if isinstance(told, Answer):
            new = sum(one.tokens for one in told.sequences)
            self.metrics.answered(told.source_tokens, new, told.seconds, told.queued)
        with contextlib.suppress(StopIteration):
            next(lane.running for lane in self.lanes if job in lane.running).remove(job)
        job.state = job.party = None
        job.gone = True
        job.tell(job, told)


def tables(jobs: Iterable[Job]) -> int:
    """Bytes of the tables of stop strings of jobs; several may have one."""
    return sum({x.data_ptr(): x.nbytes for job in jobs if (x := job.call.stop_moves) is not None}.values())
