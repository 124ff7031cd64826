"""Times FlaxEncoderDecoderModel and TFEncoderDecoderModel beside transformers 4.57.6's and our PyTorch class: float32, CPU.

    python benchmarks/frameworks.py generate --size minilm --framework flax --peer-python PATH
    python benchmarks/frameworks.py train --size base --framework tf --peer-python PATH

PATH is the python of an environment with transformers 4.57.6 and what its Flax and TF classes need (see peers4.py). Every
engine has a process of its own; they take turns. "first" is an engine's first call, compilation included; "x ours" and
"x PyTorch" are medians, over the turns, of its time over that of our class, with the least and the greatest; "equal rows"
have the tokens of our PyTorch class.
"""

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from common import SIZES, TOKENS, median_ratio, show
from worker import Worker, WorkerError

from conjoin import BertConfig, EncoderDecoderConfig, EncoderDecoderModel

HERE = Path(__file__).resolve().parent
OURS, TORCH = "conjoin", "conjoin, PyTorch"
PEERS = {  # variants of peers4.py
    ("generate", "flax"): ("plain", "jax.jit"),
    ("generate", "tf"): ("eager", "XLA"),
    ("train", "flax"): ("jax.jit",),
    ("train", "tf"): ("tf.function", "XLA"),
}
SETTINGS = {
    "generate": [
        {"batch": batch, "source": 128, "new": 64, "beams": beams} for batch, beams in ((1, 1), (1, 4), (8, 1), (8, 4))
    ],
    "train": [{"batch": 8, "source": 128, "target": 32}],
}
COLUMNS = {
    do: [", ".join(SETTINGS[do][0]), "engine", "first, s", "ms a step", "x ours", "x PyTorch", last]
    for do, last in (("generate", "equal rows"), ("train", "first loss"))
}
QUICK = {
    "generate": [{"batch": 2, "source": 16, "new": 6, "beams": beams} for beams in (1, 4)],
    "train": [{"batch": 2, "source": 16, "target": 8}],
}


@dataclass
class Runner:
    """An engine: a worker, a way of calling it, and what came of it at the present setting."""

    worker: Worker
    variant: str
    first: dict[str, Any] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    failure: str = ""

    def call(self, do: str, setting: dict[str, int]) -> dict[str, Any]:
        try:
            return self.worker.ask(do, variant=self.variant, **setting)
        except WorkerError as error:
            self.failure = " ".join(str(error).split())[:300]
            print(f"{do} {setting} failed: {self.failure}", flush=True)
            return {}


def make_folder(size: str, folder: str) -> None:
    """A BERT-to-BERT model with random weights, wide enough that what it writes depends on the source."""
    torch.manual_seed(0)
    part = BertConfig(**SIZES[size], initializer_range=0.05)
    config = EncoderDecoderConfig(encoder=part, decoder=part, **TOKENS)
    EncoderDecoderModel(config=config).save_pretrained(folder)


@contextmanager
def engines(args: argparse.Namespace, framework: str, folder: str) -> Iterator[dict[str, Runner]]:
    """The engines of a framework by name, each loaded in its process; those that would not load say so."""
    scripts = {
        "transformers": (args.peer_python, HERE / "peers4.py", framework),
        OURS: (sys.executable, HERE / "framework_worker.py", framework),
        TORCH: (sys.executable, HERE / "framework_worker.py", "torch"),
    }
    with ExitStack() as stack:
        found = {}
        for name, command in scripts.items():
            worker = Worker(*command, loud=args.loud)
            stack.callback(worker.close)
            try:
                worker.ask("load", folder=folder)
            except WorkerError as error:
                print(f"{name} ({framework}) cannot be loaded: {error}", flush=True)
                continue
            variants = PEERS[args.command, framework] if name == "transformers" else ("",)
            found |= {f"{name}, {v}" if v else name: Runner(worker, v) for v in variants}
        yield found


def measure(runners: dict[str, Runner], do: str, setting: dict[str, int], runs: int) -> None:
    """One first call of each, then `runs` turns; whoever fails is left out of the rest."""
    for runner in runners.values():
        runner.failure, runner.seconds = "", []
        runner.first = runner.call(do, setting)
    for _ in range(runs):
        for runner in runners.values():
            if not runner.failure:
                runner.seconds.append(runner.call(do, setting).get("seconds", float("nan")))


def against(runners: dict[str, Runner], name: str, other: str) -> str:
    """The ratio of the two engines' times, with its spread."""
    if name == other or other not in runners or runners[name].failure or runners[other].failure:
        return "-"
    ratio, low, high = median_ratio({n: runners[n].seconds for n in (name, other)}, name, other)
    return f"{ratio:.2f} ({low:.2f}-{high:.2f})"


def outcome(runners: dict[str, Runner], name: str) -> str:
    """How many rows of tokens are those of our PyTorch class; of a training step, its loss."""
    first = runners[name].first
    if "loss" in first:
        return f"{first['loss']:.3f}"
    if TORCH not in runners or runners[TORCH].failure:
        return "-"
    reference = runners[TORCH].first["tokens"]
    return f"{sum(a == b for a, b in zip(first['tokens'], reference, strict=True))}/{len(reference)}"


def row_of(runners: dict[str, Runner], name: str, unit: int) -> list[str]:
    """An engine's cells: first call, time, ratios, outcome."""
    runner = runners[name]
    if runner.failure:
        return [name, "failed", "-", "-", "-", "-"]
    time = f"{1e3 * statistics.median(runner.seconds) / unit:.1f}"
    ratios = [against(runners, name, other) for other in (OURS, TORCH)]
    return [name, f"{runner.first['seconds']:.1f}", time, *ratios, outcome(runners, name)]


def compare(args: argparse.Namespace, size: str, framework: str, folder: str) -> list[list[str]]:
    """Measures one framework at one size; prints rows as they come."""
    rows = []
    with engines(args, framework, folder) as runners:
        for setting in (QUICK if args.quick else SETTINGS)[args.command]:
            measure(runners, args.command, setting, args.runs)
            title = ", ".join(map(str, setting.values()))
            for name in runners:
                rows.append([title, *row_of(runners, name, setting.get("new", 1))])
                print(framework, size, *rows[-1], sep="\t", flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=SETTINGS)
    parser.add_argument("--size", choices=SIZES, action="append")
    parser.add_argument("--framework", choices=("flax", "tf"), action="append")
    parser.add_argument("--peer-python", required=True, help="python of the environment with transformers 4.57.6")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument(
        "--fresh", action="store_true", help="as on a machine that has compiled none of our kernels yet"
    )
    parser.add_argument("--quick", action="store_true", help="short inputs, to see whether all is there")
    parser.add_argument("--loud", action="store_true", help="let the workers' libraries write to the standard error")
    args = parser.parse_args()
    print(f"load average at the start: {os.getloadavg()[0]:.1f} (other work slows the engines unequally)", flush=True)
    for framework in args.framework or ["flax", "tf"]:
        for size in args.size or list(SIZES):
            with tempfile.TemporaryDirectory() as folder:
                if args.fresh:
                    os.environ["NUMBA_CACHE_DIR"] = f"{folder}/kernels"
                make_folder(size, folder)
                rows = compare(args, size, framework, folder)
            show(f"{args.command}, {framework}, {size}, float32 (medians of {args.runs})", COLUMNS[args.command], rows)


if __name__ == "__main__":
    main()
