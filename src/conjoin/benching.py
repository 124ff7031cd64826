"""How fast a joined model generates here, in each precision, beside transformers where it is installed and opens the folder."""

import importlib.util
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch

from conjoin.errors import InputError
from conjoin.torch import EncoderDecoderModel

__all__ = ["Measured", "Shape", "bench", "engines_for"]

Generate = Callable[..., torch.Tensor]
PEER = "transformers float32"


@dataclass(frozen=True)
class Shape:
    """What is generated: random source ids, and exactly so many new tokens."""

    batch: int = 8
    source: int = 128
    new: int = 64
    beams: int = 4


@dataclass
class Measured:
    """One engine: medians over turns in which engines alternate."""

    engine: str
    ms_per_step: float
    tokens_per_second: float
    first_token_ms: float
    agreement: float  # the share of new tokens that are those of the first engine
    ratio: float | None  # how many times as fast as the peer, the median of the turns'
    spread: tuple[float, float] | None


def engines_for(folder: str, dtypes: Iterable[str]) -> dict[str, Generate]:
    """`generate` of our model in each type, the first the one that others are compared with, and of transformers'."""
    engines: dict[str, Generate] = {}
    for dtype in dtypes:
        engines[f"conjoin {dtype}"] = EncoderDecoderModel.from_pretrained(folder, dtype=dtype).generate
    peer = opened_by_transformers(folder)
    if peer is not None:
        engines[PEER] = peer
    return engines


def opened_by_transformers(folder: str) -> Generate | None:
    """transformers' generate, or None where it is not installed or does not open the folder."""
    if importlib.util.find_spec("transformers") is None:
        return None
    import transformers

    transformers.logging.set_verbosity_error()
    try:
        found = transformers.EncoderDecoderModel.from_pretrained(folder)
    except (OSError, ValueError, KeyError):
        return None
    found.eval()

    def generate(ids: torch.Tensor, **asked: Any) -> torch.Tensor:
        with torch.inference_mode():
            made: torch.Tensor = found.generate(input_ids=ids, do_sample=False, **asked)
        return made

    return generate


def bench(engines: dict[str, Generate], shape: Shape, vocab: int, runs: int) -> list[Measured]:
    """Each engine at one shape, after one warm-up. Raises InputError for what is less than 1."""
    for name, value in {**vars(shape), "runs": runs}.items():
        if value < 1:
            raise InputError(f"{name} is {value}; a whole number from 1 on was expected.")
    ids = torch.randint(min(1000, vocab // 2), vocab, (shape.batch, shape.source))
    asked = {"attention_mask": torch.ones_like(ids), "num_beams": shape.beams, "eos_token_id": None}
    lengths = {"max_new_tokens": shape.new, "min_new_tokens": shape.new}
    made = {name: one(ids, **asked, **lengths) for name, one in engines.items()}
    whole = alternating(engines, runs, lambda one: one(ids, **asked, **lengths))
    first = alternating(engines, runs, lambda one: one(ids, **asked, max_new_tokens=1))
    rows, base = [], next(iter(made.values()))
    for name in engines:
        taken = statistics.median(whole[name])
        ratios = [a / b for a, b in zip(whole[PEER], whole[name], strict=True)] if PEER in whole else []
        same = (made[name][:, 1:] == base[:, 1:]).float().mean().item() if made[name].shape == base.shape else 0.0
        rows.append(
            Measured(
                name,
                1e3 * taken / shape.new,
                shape.batch * shape.new / taken,
                1e3 * statistics.median(first[name]),
                same,
                statistics.median(ratios) if ratios and name != PEER else None,
                (min(ratios), max(ratios)) if ratios and name != PEER else None,
            )
        )
    return rows


def alternating(engines: dict[str, Generate], runs: int, work: Callable[[Generate], Any]) -> dict[str, list[float]]:
    """Seconds of each engine's turns."""
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(runs):
        for name, one in engines.items():
            began = time.perf_counter()
            work(one)
            seconds[name].append(time.perf_counter() - began)
    return seconds
