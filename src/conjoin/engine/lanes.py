"""Batches side by side: each on a thread of its own, so that what one does in Python hides behind the kernels of another."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from conjoin.decoding.callbacks import CALLBACKS
from conjoin.engine.threads import kernel_threads, kernels_alone, one_thread
from conjoin.engine.twins import as_they_are, is_native, twin_of

__all__ = ["in_lanes", "lanes_for"]

MOST = 4  # threads up to which each is a lane; with more, Python's lock would have to be measured again
ALONE = (
    "assistant_model",
    "guidance_scale",
    "compile_config",
    *CALLBACKS,
)  # what runs elsewhere, or calls what a user gave
Item = TypeVar("Item")
Made = TypeVar("Made")


def in_lanes(lanes: int, function: Callable[[Item], Made], items: Sequence[Item]) -> Iterator[Made]:
    """`function`, which generates, of each item, in their order; the first error that it raises ends it."""
    lanes = min(lanes, len(items))
    return map(function, items) if lanes < 2 else side_by_side(function, items, lanes)


def lanes_for(model: Any, asked: Mapping[str, Any]) -> int:
    """How many calls of `generate` may run side by side: they must not wait for another's random numbers, nor call a user."""
    own = model.config.generation
    samples = own.do_sample if asked.get("do_sample") is None else asked["do_sample"]
    alone = any(asked.get(name) is not None for name in ALONE) or own.guidance_scale is not None
    alone = alone or own.compile_config is not None
    if alone or (samples and asked.get("seed") is None):
        return 1
    threads = kernel_threads()
    return threads if 1 < threads <= MOST and is_native(twin_of(model.encoder), twin_of(model.decoder)) else 1


def side_by_side(function: Callable[[Item], Made], items: Sequence[Item], lanes: int) -> Iterator[Made]:
    """As map, some items ahead of who asks for them."""

    def alone(item: Item) -> Made:
        with one_thread(), as_they_are():
            return function(item)

    waiting: deque[Future[Made]] = deque()
    with kernels_alone(True), ThreadPoolExecutor(lanes, "conjoin-lane") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(alone, item))
                if len(waiting) > 2 * lanes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
