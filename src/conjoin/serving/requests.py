"""Between the event loop and the schedulers' threads: a request's jobs are sent, what becomes of them comes back in order."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from conjoin.pieces import Settling
from conjoin.serving.jobs import Answer, Job
from conjoin.serving.priority import yield_cores
from conjoin.serving.refusals import Refusal
from conjoin.serving.served import Served

__all__ = ["Exchange"]

Told = list[int] | Answer | Refusal
# Texts are read by few threads: when many come at once, each would take Python's lock as often as the event loop gets it.
READERS = ThreadPoolExecutor(2, "conjoin-reader", initializer=yield_cores)


class Exchange:
    """One request's texts on their way. Use as a context: whoever leaves it early cancels what still runs."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.loop = asyncio.get_running_loop()
        self.told: asyncio.Queue[tuple[Job, Told]] = asyncio.Queue()
        self.jobs: list[Job] = []
        self.open: set[Job] = set()

    async def send(self, texts: Sequence[str], settings: Mapping[str, Any], truncation: bool, streams: bool) -> None:
        """Checks the texts and hands them to the scheduler. Raises a Refusal."""
        scheduler = self.served.scheduler
        with scheduler.place_for(len(texts)):
            self.jobs = await self.loop.run_in_executor(
                READERS, self.served.jobs, texts, settings, truncation, streams, self.tell
            )
        scheduler.submit(self.jobs)
        self.open = set(self.jobs)

    def tell(self, job: Job, told: Told) -> None:
        """Called by the scheduler's thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
            self.loop.call_soon_threadsafe(self.told.put_nowait, (job, told))

    def __enter__(self) -> "Exchange":
        return self

    def __exit__(self, *_: object) -> None:
        if self.open:
            self.served.scheduler.cancel(self.open)

    async def events(self) -> AsyncIterator[tuple[int, str | Answer]]:
        """(number of the text, a piece or its answer) until all are answered. Raises the first Refusal."""
        number = {job: i for i, job in enumerate(self.jobs)}
        texts = {job: Settling(self.served.writer.tokenizers.target) for job in self.jobs}
        while self.open:
            job, told = await self.told.get()
            if isinstance(told, Refusal):
                self.open.discard(job)
                raise told
            piece = texts[job].after(told) if isinstance(told, list) else texts[job].rest()
            if piece:
                yield number[job], piece
            if isinstance(told, Answer):
                self.open.discard(job)
                yield number[job], told

    async def answers(self) -> list[Answer]:
        """All answers, in the order of the texts."""
        found: dict[int, Answer] = {}
        async for number, told in self.events():
            if isinstance(told, Answer):
                found[number] = told
        return [found[i] for i in range(len(self.jobs))]

    def texts_of(self, answer: Answer) -> list[str]:
        """The texts of an answer's sequences."""
        rows = [one.ids for one in answer.sequences]
        return self.served.writer.tokenizers.target.batch_decode(rows, skip_special_tokens=True)
