"""Continuous batching: an answer is what `generate` gives of its text alone, whoever else comes, stays or leaves."""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import tiny
import torch
from test_engine import kernels
from tiny import TEXTS

from conjoin.decoding.stop_strings import KEPT, TABLES
from conjoin.pipelines import Writer, pipeline
from conjoin.serving.allocating import give_back
from conjoin.serving.app import App
from conjoin.serving.beginning import groups
from conjoin.serving.jobs import Answer, Job
from conjoin.serving.limits import Limits
from conjoin.serving.metrics import Metrics
from conjoin.serving.refusals import Refusal
from conjoin.serving.requests import Exchange
from conjoin.serving.scheduler import tables
from conjoin.serving.served import Served

# Every kind of search, side by side with different lengths, widths and rules.
ASKED: list[dict[str, Any]] = [
    {"max_new_tokens": 12},
    {"max_new_tokens": 9, "num_beams": 3},
    {"max_new_tokens": 15, "num_beams": 4, "num_return_sequences": 2, "length_penalty": 2.0, "early_stopping": True},
    {"max_new_tokens": 10, "do_sample": True, "seed": 3, "top_k": 0},
    {"max_new_tokens": 7, "do_sample": True, "seed": 5, "num_beams": 2, "temperature": 0.7},
    {"max_new_tokens": 8, "do_sample": True, "seed": 5, "num_return_sequences": 3, "top_p": 0.8},
    {"max_new_tokens": 11, "no_repeat_ngram_size": 2, "repetition_penalty": 1.3, "min_new_tokens": 6},
    {"max_new_tokens": 8, "num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.5},
    {"max_new_tokens": 9, "penalty_alpha": 0.6, "top_k": 4},
    {"max_new_tokens": 6, "guidance_scale": 1.5},
    {"max_new_tokens": 6, "guidance_scale": 1.5, "num_beams": 2},
    {"max_new_tokens": 12, "num_beams": 3, "force_words_ids": [[7]]},
    {"max_new_tokens": 9, "num_beams": 2, "stop_strings": [" cat", "."]},
    {"max_new_tokens": 3, "prompt_lookup_num_tokens": 2},
    {"max_new_tokens": 1},
]


@pytest.fixture(scope="module", params=["bert", "gpt2"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.join(tmp_path_factory.mktemp("served") / request.param, request.param)


@pytest.fixture(params=[pytest.param("native", marks=kernels), "torch"])
def write(request: pytest.FixtureRequest, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Writer:
    monkeypatch.setenv("CONJOIN_ENGINE", request.param)
    found: Writer = pipeline(folder)
    return found


only_torch = pytest.mark.parametrize("write", ["torch"], indirect=True)
only_bert = pytest.mark.parametrize("folder", ["bert"], indirect=True)


class Told:
    """What a scheduler said of some jobs, waited for."""

    def __init__(self) -> None:
        self.pieces: dict[Job, list[int]] = {}
        self.ends: dict[Job, Answer | Refusal] = {}
        self.changed = threading.Condition()

    def __call__(self, job: Job, told: list[int] | Answer | Refusal) -> None:
        with self.changed:
            if isinstance(told, list):
                self.pieces.setdefault(job, []).extend(told)
            else:
                self.ends[job] = told
            self.changed.notify()

    def wait(self, jobs: list[Job]) -> list[Any]:
        with self.changed:
            assert self.changed.wait_for(lambda: all(job in self.ends for job in jobs), 60)
        return [self.ends[job] for job in jobs]


@pytest.fixture
def serve(write: Writer) -> Iterator[Callable[..., Served]]:
    """A served model whose thread runs."""
    made: list[Served] = []

    def of(*, batching: bool = True, **limits: Any) -> Served:
        made.append(Served("tiny", write, Limits(**limits), Metrics().of("tiny"), batching=batching))
        made[-1].scheduler.start()
        return made[-1]

    yield of
    for one in made:
        one.scheduler.stop()


def alone(write: Writer, text: str, asked: dict[str, Any]) -> tuple[list[list[int]], list[float] | None]:
    """Ids and scores as `generate` gives them of one text."""
    ids, _ = write.padded(write.encoded([text], False, None))
    given = {**asked, "return_dict_in_generate": True, "output_scores": True, "tokenizer": write.tokenizers.target}
    if "prompt_lookup_num_tokens" in given:
        given = {"max_new_tokens": asked["max_new_tokens"], "return_dict_in_generate": True}
    out = write.model.generate(ids, **given)
    scores = None if out.get("sequences_scores") is None else out["sequences_scores"].tolist()
    return out["sequences"].tolist(), scores


def same(answer: Answer, expected: tuple[list[list[int]], list[float] | None]) -> bool:
    """Whether an answer's ids are these, padding aside, and its scores equal to the last bit."""
    ids, scores = expected
    whole = [one.ids == row[: len(one.ids)] for one, row in zip(answer.sequences, ids, strict=True)]
    rest = [set(row[len(one.ids) :]) <= {0, 2, 3, 256} for one, row in zip(answer.sequences, ids, strict=True)]
    return all(whole) and all(rest) and (scores is None or [one.score for one in answer.sequences] == scores)


def test_every_search_side_by_side_is_what_it_is_alone(write: Writer, serve: Callable[..., Served]) -> None:
    served, told = serve(), Told()
    jobs, expected = [], []
    for number, asked in enumerate(ASKED):
        for text in (TEXTS[number % 5], TEXTS[(number + 2) % 5]):
            expected.append(alone(write, text, asked))
            jobs += served.jobs([text], asked, False, False, told)
    for start in range(0, len(jobs), 7):  # they come while others run
        served.scheduler.submit(jobs[start : start + 7])
        time.sleep(0.01)
    answers = told.wait(jobs)
    for job, answer, one in zip(jobs, answers, expected, strict=True):
        assert isinstance(answer, Answer), answer
        assert same(answer, one), job.settings


@only_bert
@pytest.mark.parametrize("write", [pytest.param("native", marks=kernels)], indirect=True)
def test_batches_side_by_side_answer_the_same_and_take_texts_in_their_order(
    write: Writer, serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conjoin.engine.rows.WIDE", 32)  # so that those of a kind choose together
    monkeypatch.setattr("conjoin.serving.lanes.kernel_threads", lambda: 2)
    monkeypatch.setattr("conjoin.serving.lanes.ENOUGH", 4)
    served, told, stepped = serve(rows=24), Told(), []
    step = served.scheduler.step

    def noted(jobs: list[Job]) -> None:
        stepped.append((threading.current_thread().name, set(jobs)))
        step(jobs)

    served.scheduler.step = noted  # type: ignore[method-assign]
    asked = [{"num_beams": 1 + 2 * (n % 2), "max_new_tokens": 8 + n % 7, "no_repeat_ngram_size": 2} for n in range(20)]
    expected = [alone(write, TEXTS[n % 5], one) for n, one in enumerate(asked)]
    jobs = [job for n, one in enumerate(asked) for job in served.jobs([TEXTS[n % 5]], one, False, n % 3 == 0, told)]
    served.scheduler.submit(jobs)
    for answer, one in zip(told.wait(jobs), expected, strict=True):
        assert isinstance(answer, Answer), answer
        assert same(answer, one)
    assert [job.began for job in jobs] == sorted(job.began for job in jobs)
    assert len({name for name, _ in stepped}) == 2
    assert len({name for name, some in stepped if jobs[7] in some}) == 1
    assert max(sum(job.rows for job in some) for _, some in stepped) <= 24
    assert all(
        told.pieces[job] == answer.sequences[0].ids
        for job, answer in zip(jobs, told.wait(jobs), strict=True)
        if job.streams
    )


@only_bert
@pytest.mark.parametrize("write", [pytest.param("native", marks=kernels)], indirect=True)
def test_a_lane_that_has_nothing_waits_until_there_is_room_for_who_is_next(
    serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first lane is done before the second, and who waits needs what the second has."""
    monkeypatch.setattr("conjoin.serving.lanes.kernel_threads", lambda: 2)
    monkeypatch.setattr("conjoin.serving.lanes.ENOUGH", 1)
    served, told = serve(rows=4, beams=4, sequences=4), Told()
    turn, idle = served.scheduler.turn, []

    def counted(lane: Any) -> None:
        turn(lane)
        idle.append(not lane.running)

    served.scheduler.turn = counted  # type: ignore[method-assign]
    short, long, wide = ({"max_new_tokens": 2}, {"max_new_tokens": 20, "min_new_tokens": 20}, {"num_beams": 4})
    jobs = [job for asked in (short, long, wide) for job in served.jobs(TEXTS[:1], asked, False, False, told)]
    served.scheduler.submit(jobs)
    assert all(isinstance(answer, Answer) for answer in told.wait(jobs))
    assert sum(idle) <= 6


# Of one kind, so that they choose together: at different lengths, since they come one by one.
ALIKE: list[dict[str, Any]] = [
    {"num_beams": 3, "length_penalty": 0.3, "no_repeat_ngram_size": 2, "repetition_penalty": 1.2},
    {"num_beams": 4, "early_stopping": "never", "length_penalty": -1.0},
    {"num_beams": 2, "renormalize_logits": True, "bad_words_ids": [[7], [8, 9]], "sequence_bias": [[[5, 6], 3.0]]},
    {"exponential_decay_length_penalty": (3, 1.5), "forced_eos_token_id": 3, "suppress_tokens": [7]},
]


@pytest.mark.parametrize("asked", ALIKE, ids=["beams", "never", "biases", "rules"])
@pytest.mark.parametrize("write", [pytest.param("native", marks=kernels)], indirect=True)
def test_searches_of_a_kind_choose_together_at_lengths_of_their_own(
    write: Writer, serve: Callable[..., Served], asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conjoin.engine.rows.WIDE", 32)  # so that the kernels choose in so small a vocabulary too
    served, told = serve(), Told()
    assert served.scheduler.exact
    jobs, expected, together, runs = [], [], [], []
    decoder = served.scheduler.model.decoder
    tell = decoder.told
    monkeypatch.setattr(decoder, "told", lambda run: (runs.append(run), tell(run))[1])
    for number, text in enumerate(TEXTS):
        own = {**asked, "max_new_tokens": 16 - 2 * number, "min_new_tokens": (0, 3, 6)[number % 3]}
        expected.append(alone(write, text, own))
        jobs += served.jobs([text], own, False, False, told)
    scheduler = served.scheduler
    chosen = scheduler.chosen

    def one_more(some: list[Job]) -> None:
        party = some[0].party
        together.append({int(party.state_of(i).length) for i in range(len(party.jobs))})
        chosen(some)
        if len(together) < len(jobs):
            scheduler.submit([jobs[len(together)]])

    scheduler.chosen = one_more  # type: ignore[method-assign]
    scheduler.submit(jobs[:1])
    for job, answer, one in zip(jobs, told.wait(jobs), expected, strict=True):
        assert isinstance(answer, Answer), answer
        assert same(answer, one), job.settings
    assert max(len(lengths) for lengths in together) > 2
    assert len(runs) <= len(jobs)  # the engine is told of each once, whoever comes and goes


@pytest.mark.parametrize("write", [pytest.param("native", marks=kernels)], indirect=True)
def test_sources_that_are_encoded_together_are_what_they_are_alone(write: Writer, serve: Callable[..., Served]) -> None:
    """All five come before the first step, so that they are one batch of the encoder, padded."""
    served, told = serve(), Told()
    jobs = served.jobs(TEXTS, {"max_new_tokens": 9, "num_beams": 2}, False, False, told)
    assert [len(some) for some in groups(served.scheduler.model, jobs)] == [5]
    served.scheduler.submit(jobs)
    answers = told.wait(jobs)
    assert all(
        same(a, alone(write, t, {"max_new_tokens": 9, "num_beams": 2})) for a, t in zip(answers, TEXTS, strict=True)
    )
    assert len({tuple(answer.sequences[0].ids) for answer in answers}) > 1


@pytest.fixture
def plain(folder: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Writer:
    """The quickest of the four."""
    monkeypatch.setenv("CONJOIN_ENGINE", "torch")
    found: Writer = pipeline(folder)
    return found


@only_torch
@pytest.mark.parametrize("asked", [ASKED[0], ASKED[1], ASKED[3]], ids=["greedy", "beams", "sample"])
def test_a_stream_is_told_what_the_answer_is(serve: Callable[..., Served], asked: dict[str, Any]) -> None:
    served, told = serve(), Told()
    jobs = served.jobs(TEXTS, asked, False, True, told)
    served.scheduler.submit(jobs)
    for job, answer in zip(jobs, told.wait(jobs), strict=True):
        ids = answer.sequences[0].ids
        assert told.pieces[job][: len(ids)] == ids


@only_bert
@only_torch
def test_who_comes_first_begins_first_and_a_large_one_is_not_overtaken(serve: Callable[..., Served]) -> None:
    served, told = serve(rows=8, beams=8), Told()
    wide = {"max_new_tokens": 9, "num_beams": 6}
    jobs = [*served.jobs(TEXTS[:2], wide, False, False, told), *served.jobs(TEXTS[2:], {}, False, False, told)]
    served.scheduler.submit(jobs)
    told.wait(jobs)
    assert [job.began for job in jobs] == sorted(job.began for job in jobs)


@only_bert
@only_torch
def test_without_batching_one_runs_at_a_time_and_writes_the_same(write: Writer, serve: Callable[..., Served]) -> None:
    served, told = serve(batching=False), Told()
    most = []
    served.metrics.batch = lambda waiting, running, rows: most.append(running)  # type: ignore[method-assign]
    jobs = served.jobs(TEXTS, ASKED[0], False, False, told)
    served.scheduler.submit(jobs)
    answers = told.wait(jobs)
    assert max(most) == 1
    assert all(same(a, alone(write, t, ASKED[0])) for a, t in zip(answers, TEXTS, strict=True))


@only_bert
@only_torch
def test_who_is_cancelled_leaves_with_the_next_step_and_others_go_on(
    write: Writer, serve: Callable[..., Served]
) -> None:
    served, told = serve(), Told()
    jobs = served.jobs(TEXTS[:3], {"max_new_tokens": 20, "min_new_tokens": 20}, False, True, told)
    scheduler, seen = served.scheduler, []
    step = scheduler.step

    def counted(running: list[Job]) -> None:
        seen.append(set(running))
        step(running)
        if len(seen) == 3:
            scheduler.cancel([jobs[1]])

    scheduler.step = counted  # type: ignore[method-assign]
    scheduler.submit(jobs)
    told.wait([jobs[0], jobs[2]])
    assert jobs[1] in seen[2]
    assert not any(jobs[1] in running for running in seen[3:])
    assert jobs[1] not in told.ends
    assert len(told.pieces[jobs[1]]) < len(told.pieces[jobs[0]])
    waiting, last = (served.jobs(TEXTS[:1], {}, False, False, told) for _ in range(2))
    with scheduler.changed:  # nobody joins meanwhile
        scheduler.submit([*waiting, *last])
        scheduler.cancel(waiting)
        assert list(scheduler.waiting) == last
    told.wait(last)
    assert waiting[0] not in told.ends
    assert served.metrics.cancelled._value.get() == 2


@only_bert
@only_torch
def test_limits_refuse_by_name(write: Writer, serve: Callable[..., Served]) -> None:
    served, told = serve(new_tokens=12, beams=4, sequences=2, texts=3, source_tokens=9, queue=4), Told()

    def refusal(
        texts: list[str], asked: dict[str, Any], truncation: bool = False, streams: bool = False
    ) -> tuple[int, str]:
        with pytest.raises(Refusal) as found:
            served.scheduler.submit(served.jobs(texts, asked, truncation, streams, told))
        return found.value.status, found.value.name

    assert refusal(TEXTS[:1], {"max_new_tokens": 13}) == (422, "new_tokens")
    assert refusal(TEXTS[:1], {"num_beams": 5}) == (422, "beams")
    assert refusal(TEXTS[:1], {"num_beams": 4, "num_return_sequences": 3}) == (422, "sequences")
    assert refusal(TEXTS[:1], {"do_sample": True, "num_return_sequences": 3}) == (422, "sequences")
    assert refusal(TEXTS[:4], {}) == (422, "texts")
    assert refusal([TEXTS[2]], {}) == (422, "source_tokens")
    assert refusal([TEXTS[2] * 9], {}) == (422, "source_tokens")
    assert refusal([" "], {}) == (422, "invalid_value")
    assert refusal(["a \ud800"], {}) == (422, "invalid_value")
    assert refusal(TEXTS[:1], {"num_beams": 0}) == (422, "invalid_value")
    assert refusal(TEXTS[:1], {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.5}, streams=True)[0] == 422
    served.memory = 1000
    assert refusal(TEXTS[:1], {}) == (422, "memory")
    served.memory = 1 << 30
    jobs = served.jobs([TEXTS[2] * 9], {}, True, False, told)
    served.scheduler.submit(jobs)
    assert told.wait(jobs)[0].source_tokens == 9


@only_bert
@only_torch
def test_a_full_queue_refuses_all_of_a_request_and_says_when_to_come_back(serve: Callable[..., Served]) -> None:
    served, told = serve(queue=4), Told()
    scheduler = served.scheduler
    with scheduler.changed:  # nobody joins meanwhile
        scheduler.submit(served.jobs(TEXTS[:3], {}, False, False, told))
        with pytest.raises(Refusal) as found:
            scheduler.submit(served.jobs(TEXTS[:2], {}, False, False, told))
        assert (found.value.status, found.value.name) == (429, "queue")
        assert (found.value.retry_after or 0) >= 1
        assert len(scheduler.waiting) == 3


@only_bert
@only_torch
def test_who_waits_or_takes_too_long_is_answered_so(serve: Callable[..., Served]) -> None:
    served, told = serve(), Told()
    late, slow = (served.jobs(TEXTS[:1], {}, False, False, told)[0] for _ in range(2))
    late.arrived -= 31
    served.scheduler.submit([late])
    assert told.wait([late])[0].name == "queue_seconds"
    step = served.scheduler.step

    def slowly(running: list[Job]) -> None:
        slow.arrived -= 121
        step(running)

    served.scheduler.step = slowly  # type: ignore[method-assign]
    served.scheduler.submit([slow])
    assert told.wait([slow])[0].name == "seconds"


@only_bert
@only_torch
def test_a_step_that_fails_is_answered_and_the_next_texts_are_served(serve: Callable[..., Served]) -> None:
    served, told = serve(), Told()
    broken = served.jobs(TEXTS[:2], {}, False, False, told)

    def fails(*_: object) -> torch.Tensor:
        raise RuntimeError("as if memory had run out")

    broken[1].noise = fails
    object.__setattr__(broken[1].settings, "do_sample", True)
    served.scheduler.submit(broken)
    assert {answer.name for answer in told.wait(broken) if isinstance(answer, Refusal)} == {"internal"}
    fine = served.jobs(TEXTS[:1], {}, False, False, told)
    served.scheduler.submit(fine)
    assert isinstance(told.wait(fine)[0], Answer)


@only_bert
@only_torch
def test_where_a_whole_step_fails_everybody_in_it_is_answered_once(serve: Callable[..., Served]) -> None:
    served, told = serve(), Told()
    step, failed = served.scheduler.step, threading.Event()

    def fails(jobs: list[Job]) -> None:
        if len(jobs) == 5 and not failed.is_set():
            failed.set()
            raise MemoryError
        step(jobs)

    served.scheduler.step = fails  # type: ignore[method-assign]
    jobs = served.jobs(TEXTS, {"max_new_tokens": 20, "min_new_tokens": 20}, False, False, told)
    served.scheduler.submit(jobs)
    assert [one.name for one in told.wait(jobs)] == ["internal"] * 5
    assert not served.scheduler.running


@only_bert
@only_torch
def test_who_is_there_when_the_thread_ends_is_answered_and_nobody_is_taken_in(
    serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    served, told = serve(), Told()

    class Unforeseen(Exception):  # noqa: N818
        pass

    def fails(*_: object) -> None:
        raise Unforeseen

    served.scheduler.step = fails  # type: ignore[method-assign]
    jobs = served.jobs(TEXTS, {}, False, False, told)
    died: list[object] = []
    monkeypatch.setattr(threading, "excepthook", died.append)
    served.scheduler.submit(jobs)
    assert {one.name for one in told.wait(jobs)} == {"stopped"}
    for thread in served.scheduler.threads:
        thread.join()
    assert len(died) == 1
    with pytest.raises(Refusal, match="has ended"):
        served.scheduler.submit(served.jobs(TEXTS[:1], {}, False, False, told))


@only_bert
@only_torch
def test_of_texts_that_come_at_once_only_those_that_find_a_place_are_read(serve: Callable[..., Served]) -> None:
    served, read = serve(queue=2), []
    scheduler, jobs = served.scheduler, served.jobs

    def counted(*args: Any) -> Any:
        read.append(args[0])
        return jobs(*args)

    async def send(texts: list[str]) -> Exchange:
        exchange = Exchange(served)
        await exchange.send(texts, {"max_new_tokens": 2}, False, streams=False)
        return exchange

    async def all_at_once() -> list[Any]:
        sent = await asyncio.gather(*(send(TEXTS[:1]) for _ in range(5)), return_exceptions=True)
        assert not scheduler.coming
        return [one.name if isinstance(one, Refusal) else len(await one.answers()) for one in sent]

    served.jobs = counted  # type: ignore[method-assign]
    assert sorted(asyncio.run(all_at_once()), key=str) == [1, 1, "queue", "queue", "queue"]
    assert len(read) == 2

    async def none() -> None:
        await send(["\ud800"])

    with pytest.raises(Refusal, match="surrogate"):
        asyncio.run(none())
    assert scheduler.has_room(2)
    assert not scheduler.has_room(3)


@only_bert
@only_torch
@pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities of their own on Linux")
def test_threads_that_compute_let_the_event_loop_have_a_core(serve: Callable[..., Served]) -> None:
    def nice(thread: threading.Thread) -> int:
        return os.getpriority(os.PRIO_PROCESS, thread.native_id or 0)

    serve().warm()
    computing = [one for one in threading.enumerate() if one.name.startswith("conjoin-lane")]
    assert computing
    assert all(nice(one) > nice(threading.main_thread()) for one in computing)


@only_bert
@only_torch
def test_where_the_queue_is_full_texts_are_refused_before_they_are_read(
    serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    served, told = serve(queue=2), Told()
    scheduler = served.scheduler

    async def send() -> None:
        await Exchange(served).send(TEXTS[:1], {}, False, streams=False)

    with scheduler.changed:  # nobody joins meanwhile
        scheduler.submit(served.jobs(TEXTS[:2], {}, False, False, told))
        monkeypatch.setattr(served, "jobs", None)
        with pytest.raises(Refusal) as found:
            asyncio.run(send())
    assert found.value.name == "queue"


@only_bert
@only_torch
def test_memory_is_given_back_now_and_then(serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[float] = []
    monkeypatch.setattr("conjoin.serving.scheduler.give_back", lambda: calls.append(time.monotonic()))
    monkeypatch.setattr("conjoin.serving.scheduler.TIDY", 0.0)
    served, told = serve(), Told()
    jobs = served.jobs(TEXTS[:1], {"max_new_tokens": 5}, False, False, told)
    served.scheduler.submit(jobs)
    told.wait(jobs)
    assert len(calls) > 3
    held = [np.ones(8000) for _ in range(2000)]  # blocks of 64 KB, of which every other one goes
    del held[::2]
    before = psutil.Process().memory_info().rss
    give_back()
    assert before - psutil.Process().memory_info().rss > 32 << 20


@only_bert
@only_torch
def test_tables_of_stop_strings_have_no_more_memory_than_there_is(write: Writer, serve: Callable[..., Served]) -> None:
    served, told = serve(), Told()
    for number in range(12):
        asked = {"stop_strings": [f"cat {number}"], "max_new_tokens": 4}
        jobs = served.jobs(TEXTS[:2], asked, False, False, told)
        served.scheduler.submit(jobs)
    told.wait(jobs)
    assert len(TABLES[write.model.decoder.tokenizer]) == KEPT
    table = jobs[0].call.stop_moves
    assert tables(jobs) == table.nbytes > 0
    plain = served.jobs(TEXTS[:2], {"max_new_tokens": 4}, False, False, told)
    assert [job.bytes for job in jobs] == [job.bytes + table.nbytes for job in plain]
    served.scheduler.memory = table.nbytes - 1
    with pytest.raises(Refusal, match="the tables of stop strings"):
        served.scheduler.submit(jobs)


@only_bert
@only_torch
def test_warming_writes_several_texts_side_by_side_and_by_beams(serve: Callable[..., Served]) -> None:
    served = serve()
    step, seen = served.scheduler.step, []

    def counted(running: list[Job]) -> None:
        seen.append({job.settings.num_beams for job in running})
        step(running)

    served.scheduler.step = counted  # type: ignore[method-assign]
    served.warm()
    assert {1, 2} in seen
    serve(beams=1, queue=1, texts=1, new_tokens=1).warm()


@only_bert
@only_torch
@pytest.mark.parametrize(
    ("own", "refused"),
    [
        ({"min_length": 9, "max_length": 15, "num_beams": 3}, False),  # as summarizers of newspapers have it
        ({"min_new_tokens": 9, "num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.5}, True),
        ({"num_beams": 3, "num_return_sequences": 3, "min_length": 4}, False),
    ],
)
def test_a_models_own_settings_do_not_keep_it_from_becoming_warm(
    serve: Callable[..., Served],
    write: Writer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    own: dict[str, Any],
    refused: bool,
) -> None:
    monkeypatch.setattr(write.model.config, "generation", write.model.config.generation.updated(own))
    serve(beams=3, new_tokens=16).warm()
    assert ("a request that sets nothing is refused" in caplog.text) == refused


@only_bert
@only_torch
@pytest.mark.parametrize(
    ("own", "most"),
    [({"max_length": 7}, 6), ({"max_new_tokens": 5, "max_length": 9}, 5), ({"max_length": 99}, 16), ({}, 16)],
)
def test_without_a_length_the_models_own_holds_within_the_limit(
    serve: Callable[..., Served], write: Writer, monkeypatch: pytest.MonkeyPatch, own: dict[str, Any], most: int
) -> None:
    asked = {"max_length": None, "max_new_tokens": None, "eos_token_id": None, **own}
    monkeypatch.setattr(write.model.config, "generation", write.model.config.generation.updated(asked))
    told, served = Told(), serve(new_tokens=16)
    served.scheduler.submit(jobs := served.jobs([TEXTS[0]], {}, False, False, told))
    assert told.wait(jobs)[0].sequences[0].tokens == most


@only_bert
@only_torch
def test_a_model_that_does_not_write_is_said_to_be_never_ready(
    serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    served = serve()

    def broken(jobs: list[Job]) -> None:
        raise RuntimeError

    monkeypatch.setattr(served.scheduler, "step", broken)
    app = App([served], served.limits, Metrics())
    asyncio.run(app.warm_up())
    assert not app.ready
    assert 'never ready: "tiny" does not write' in caplog.text


@only_bert
@only_torch
def test_a_server_becomes_warm_though_its_queue_is_full(serve: Callable[..., Served]) -> None:
    served = serve()

    def full(count: int) -> None:
        raise served.scheduler.full("clients were first")

    served.scheduler.check_room = full  # type: ignore[method-assign]
    with pytest.raises(Refusal, match="clients were first"):
        served.scheduler.submit(served.jobs(TEXTS[:1], {}, True, False, lambda _, what: None))
    served.warm()
