"""What the benchmarks share: shapes, pairs of equal models, alternating timings, and a table."""

import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch
import transformers
from rich.console import Console
from rich.table import Table

from conjoin import EncoderDecoderModel

SIZES = {
    "minilm": {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536},
    "base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
}
TOKENS = {"decoder_start_token_id": 101, "pad_token_id": 0, "eos_token_id": None, "bos_token_id": None}


def pair_of_models(size: str) -> tuple[Any, EncoderDecoderModel]:
    """transformers' model of a BERT-to-BERT shape with random weights, and ours with the same weights."""
    torch.manual_seed(0)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    parts = [transformers.BertConfig(**SIZES[size]) for _ in range(2)]
    config = transformers.EncoderDecoderConfig.from_encoder_decoder_configs(*parts)
    peer = transformers.EncoderDecoderModel(config=config).eval()
    peer.config.decoder_start_token_id, peer.config.pad_token_id = 101, 0
    with tempfile.TemporaryDirectory() as folder:
        peer.save_pretrained(folder)
        ours = EncoderDecoderModel.from_pretrained(folder)
    for model in (peer, ours):
        for name, value in TOKENS.items():
            setattr(model.generation_config, name, value)
    return peer, ours


def alternate(work: dict[str, Callable[[], Any]], runs: int) -> dict[str, list[float]]:
    """Seconds of each, measured in turns after one warm-up of each."""
    for one in work.values():
        one()
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(runs):
        for name, one in work.items():
            began = time.perf_counter()
            one()
            seconds[name].append(time.perf_counter() - began)
    return seconds


def median_ratio(seconds: dict[str, list[float]], peer: str, ours: str) -> tuple[float, float, float]:
    """Median, least and greatest of peer / ours over the turns."""
    ratios = [a / b for a, b in zip(seconds[peer], seconds[ours], strict=True)]
    return statistics.median(ratios), min(ratios), max(ratios)


def show(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Prints a table."""
    table = Table(*columns, title=title)
    for row in rows:
        table.add_row(*row)
    Console(width=110).print(table)
