"""Run by test_training_processes.py under torchrun: what each of several processes sees of runs that they share.

torchrun --nproc-per-node 2 tests/several_processes.py FOLDER -> FOLDER/2-0.json, FOLDER/2-1.json
"""

import itertools
import json
import math
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from test_training_runs import tiny_model, tiny_pairs, tiny_run
from torch.distributed.tensor import DTensor

from conjoin.errors import ConjoinError
from conjoin.training import Pairs, PairStream, Recipe, Result, train
from conjoin.training.stepping import Stepper
from conjoin.training.tables import Lora

SETTINGS: dict[str, Any] = {"batch_size": 4, "schedule": "constant", "warmup_ratio": 0.0, "evaluate_every": 10}
FIRST: dict[str, Any] = {"train_first": ("cross_attention",), "train_first_steps": 2}
# Runs of five steps, each with as many batches a process as it says.
WAYS: dict[str, dict[str, Any]] = {
    "accumulated": {"gradient_accumulation_steps": 2},
    "accumulated, cut": {"gradient_accumulation_steps": 2, "sharding": "fsdp"},
    "some parts first": FIRST,
    # A cut model computes gradients of what waits, and layers with gradients draw what they drop in a way of their own.
    "some parts first, cut": {**FIRST, "sharding": "fsdp", "dropout": 0.0},
    "adapters": {"lora": Lora(rank=2)},
    "adapters, cut": {"lora": Lora(rank=2), "sharding": "fsdp"},
    "checkpointed, cut": {"gradient_checkpointing": True, "sharding": "fsdp"},
    "bfloat16, cut": {"precision": "bfloat16", "sharding": "fsdp"},
}


def refused(call: Callable[[], Any]) -> str:
    """The sentence that a call is refused with."""
    try:
        call()
    except ConjoinError as error:
        return f"{type(error).__name__}: {error}"
    return "it was not refused"


def sharded(folder: Path, share: str) -> dict[str, Any]:
    """Twenty steps with the model cut, stopped and gone on with after ten; and how much of it each process had."""
    seen: list[Stepper] = []
    kept = Stepper.__init__

    def noted(self: Stepper, *given: Any) -> None:
        kept(self, *given)
        seen.append(self)

    Stepper.__init__ = noted  # type: ignore[method-assign]
    output = folder / f"fsdp-{share}"
    for steps in (10, 20):
        result = tiny_run(folder / "model", output, max_steps=steps, sharding="fsdp", share=share, **SETTINGS)
    Stepper.__init__ = kept  # type: ignore[method-assign]
    trained = seen[-1].trained
    state = [value for of in seen[-1].optimiser.state.values() for value in of.values() if value.ndim]
    return {
        "losses": result.losses,
        "evaluations": result.evaluations,
        "share": sum(local(p).numel() for p in trained) / sum(p.numel() for p in trained),
        "state": sum(local(t).numel() for t in state) / sum(t.numel() for t in state),
    }


def local(tensor: torch.Tensor) -> torch.Tensor:
    """What this process has of a tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def trained_on(folder: Path, output: Path, pairs: Pairs, tokens: bool = True) -> Any:
    """A run on other pairs, or of a model without tokenizers."""
    recipe, model = Recipe(device="cpu", precision="float32", max_steps=1), tiny_model(folder / "model")
    if not tokens:
        model.encoder.tokenizer = None
    return train(model, pairs, None, recipe, output, quiet=True)


def streamed(folder: Path, output: Path, **settings: Any) -> Result:
    """Five steps on a stream of fifty pairs, twenty of them in memory."""
    pairs = tiny_pairs(50)
    stream = PairStream(lambda: zip(pairs.sources, pairs.targets, strict=True), "a stream", buffer=20)
    recipe = Recipe(device="cpu", precision="float32", max_steps=5, **{**SETTINGS, **settings})
    return train(tiny_model(folder / "model"), stream, tiny_pairs(10, 1), recipe, output, quiet=True)


def interrupted(folder: Path, rank: int) -> dict[str, Any]:
    """A run of which the second process alone is told to stop in its third step; and the same run gone on with."""
    kept = Stepper.step

    def step(self: Stepper, *given: Any) -> float:
        if rank == 1 and given[-1].steps == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return kept(self, *given)

    Stepper.step = step  # type: ignore[method-assign]
    stopped = tiny_run(folder / "model", folder / "signal", max_steps=6, **SETTINGS)
    Stepper.step = kept  # type: ignore[method-assign]
    whole = tiny_run(folder / "model", folder / "signal", max_steps=6, **SETTINGS)
    return {"signal": stopped.signal, "steps": stopped.steps, "losses": whole.losses}


def poisoned(folder: Path, rank: int) -> str:
    """A run in whose third step the second process alone has a loss that is no number."""
    kept, calls = Stepper.loss, itertools.count(1)

    def loss(self: Stepper, *given: Any) -> torch.Tensor:
        found = kept(self, *given)
        return found * math.nan if next(calls) == 3 and rank == 1 else found

    Stepper.loss = loss  # type: ignore[method-assign]
    try:
        return refused(lambda: tiny_run(folder / "model", folder / "poisoned", max_steps=5, save_every=1, **SETTINGS))
    finally:
        Stepper.loss = kept  # type: ignore[method-assign]


def disk_that_is_full(folder: Path, rank: int) -> str:
    """A run in which the process that writes finds no room."""
    save = torch.save

    def full(*args: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    if rank == 0:
        torch.save = full
    try:
        return refused(lambda: tiny_run(folder / "model", folder / "full", max_steps=1))
    finally:
        torch.save = save


def of_two(folder: Path, rank: int) -> dict[str, Any]:
    """All of the runs above."""
    return {
        "fsdp": {share: sharded(folder, share) for share in ("none", "all")},
        "copies": tiny_run(folder / "model", folder / "copies", max_steps=6, **SETTINGS).losses,
        "ways": {
            name: tiny_run(folder / "model", folder / name, max_steps=5, **SETTINGS, **way).losses
            for name, way in WAYS.items()
        },
        "streamed": streamed(folder, folder / "streamed").losses,
        "interrupted": interrupted(folder, rank),
        "other data": refused(lambda: trained_on(folder, folder / "other", tiny_pairs(20 + rank))),
        "broken": refused(lambda: trained_on(folder, folder / "broken", tiny_pairs(9), tokens=rank == 0)),
        "poisoned": poisoned(folder, rank),
        "full": disk_that_is_full(folder, rank),
    }


def of_three(folder: Path) -> dict[str, Any]:
    """Five steps with copies, and with the model cut into parts that are not equal."""
    ways: dict[str, Any] = {"copies": {}, "cut": {"sharding": "fsdp"}}
    return {
        name: tiny_run(folder / "model", folder / f"three-{name}", max_steps=5, **SETTINGS, **way).losses
        for name, way in ways.items()
    }


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    rank, processes = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    found = of_two(folder, rank) if processes == 2 else of_three(folder)
    (folder / f"{processes}-{rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
