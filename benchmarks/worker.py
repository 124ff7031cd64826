"""What frameworks.py and its worker processes share: a line of JSON each way, timings, and equal inputs; needs numpy only.

A worker is asked `{"do": "load", ...}` once, then `{"do": "generate", ...}` or `{"do": "train", ...}`, and answers with
`{"answer": ...}` or `{"error": ...}`. It lives in a process, and where need be an environment, of its own.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

START, PAD = 101, 0
QUIET = {
    "CUDA_VISIBLE_DEVICES": "-1",
    "JAX_PLATFORMS": "cpu",
    "HF_HUB_OFFLINE": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "PYTHONWARNINGS": "ignore",
}


class Engine(Protocol):
    """A model of one framework, and the ways in which its users call it."""

    def generators(self) -> dict[str, Callable[[np.ndarray, int, int], np.ndarray]]:
        """By variant: source ids (batch, source), new tokens, beams -> ids (batch, 1 + new)."""

    def trainers(self) -> dict[str, Callable[[dict[str, np.ndarray]], float]]:
        """By variant: a batch -> the loss of one optimiser step on it, which is done when it returns."""


def sources(batch: int, length: int) -> np.ndarray:
    """Random ids of sources without padding: the same in every process."""
    return np.random.default_rng(0).integers(1000, 30000, (batch, length))


def padded_batch(batch: int, source: int, target: int) -> dict[str, np.ndarray]:
    """A random padded batch for training: the same in every process."""
    draw = np.random.default_rng(0)
    ids, labels = (draw.integers(1000, 30000, (batch, length)) for length in (source, target))
    real, told = (
        np.arange(length)[None] < draw.integers(length // 2, length + 1, (batch, 1)) for length in (source, target)
    )
    return {
        "input_ids": np.where(real, ids, PAD),
        "attention_mask": real.astype(np.int64),
        "labels": np.where(told, labels, -100),
    }


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds, and what came of it."""
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


# The worker's end.


class Served:
    """What a worker does when it is asked."""

    def __init__(self, opened: Callable[[str], Engine]) -> None:
        self.opened = opened

    def load(self, folder: str) -> None:
        self.engine = self.opened(folder)
        self.ways: dict[str, dict[str, Callable[..., Any]]] = {}

    def way(self, do: str, variant: str) -> Callable[..., Any]:
        """How the engine does it; made when it is first asked for, since an optimiser's state is large."""
        if do not in self.ways:
            self.ways[do] = self.engine.generators() if do == "generate" else self.engine.trainers()
        return self.ways[do][variant]

    def generate(self, variant: str, batch: int, source: int, new: int, beams: int) -> dict[str, Any]:
        ids, way = sources(batch, source), self.way("generate", variant)
        seconds, tokens = timed(lambda: way(ids, new, beams))
        return {"seconds": seconds, "tokens": tokens.tolist()}

    def train(self, variant: str, batch: int, source: int, target: int) -> dict[str, float]:
        given, way = padded_batch(batch, source, target), self.way("train", variant)
        seconds, loss = timed(lambda: way(given))
        return {"seconds": seconds, "loss": loss}


def serve(opened: Callable[[str], Engine]) -> None:
    """Answers until the input ends. What libraries print goes to the standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    served = Served(opened)
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer = {"answer": getattr(served, asked.pop("do"))(**asked)}
        except Exception as error:  # whatever it was, the benchmark goes on with the other engines
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


# The benchmark's end.


class WorkerError(Exception):
    """A worker's work failed, or the worker ended."""


class Worker:
    """A worker process: `python script arguments`."""

    def __init__(self, python: str, script: Path, *arguments: str, loud: bool = False) -> None:
        self.process = subprocess.Popen(
            [python, str(script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if loud else subprocess.DEVNULL,
            text=True,
            env={**os.environ, **QUIET},
        )

    def ask(self, do: str, **given: Any) -> Any:
        """The worker's answer. Raises WorkerError."""
        try:
            print(json.dumps({"do": do, **given}), file=self.process.stdin, flush=True)
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise WorkerError(f"the worker ended ({self.process.wait()}); --loud shows what it said")
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer["answer"]

    def close(self) -> None:
        """Ends the process."""
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
