"""What distillation buys: a joined model's decoder made shallower, its ROUGE and its speed, beside the teacher's.

    python benchmarks/distillation.py DIR --keep 2 --output STUDENTS

DIR is the folder of `conjoin demo`. Students keep these of its decoder's layers and are fine-tuned on the first
`--examples` training pairs of the demo's data, `--epochs` times: on the pairs as they are, on what the teacher writes of
their sources (4 beams), or on both. The encoder and the token embeddings stay as they are. Then all write the test
sources with so many `--beams`, in turns, and are scored. Students that are in STUDENTS already are not trained again;
with `--turns 0` nothing is timed.
"""

import argparse
import json
import statistics
import time
from functools import partial
from pathlib import Path

import torch
from common import show

from conjoin import EncoderDecoderModel, pipeline
from conjoin.data import split_file
from conjoin.evaluation import Scores, score
from conjoin.training import Pairs, Recipe, read_pairs, train
from conjoin.training.distilling import taught
from conjoin.training.shrinking import shrunk

BATCH = 16


def trained(args: argparse.Namespace, teacher: EncoderDecoderModel, targets: str, folder: Path) -> None:
    """Trains a student into a folder, and prints how long its parts took."""
    pairs, held_out = (read_pairs(split_file(split)) for split in ("train", "validation"))
    began = time.perf_counter()
    lessons = taught(teacher, pairs.first(args.examples), targets, Path(args.output), num_beams=4)  # type: ignore[arg-type]
    written = time.perf_counter()
    recipe = Recipe(
        epochs=args.epochs,
        learning_rate=args.rate,
        batch_size=BATCH,
        dropout=0.0,
        freeze=tuple(args.freeze),
        max_source_length=64,
        max_target_length=32,
        generation_examples=0,
        keep_checkpoints=1,
    )
    result = train(shrunk(teacher, args.keep), lessons, held_out, recipe, folder, quiet=True)
    if result.path is None:
        raise SystemExit("stopped; the same command goes on")
    facts = {
        "seconds_writing": round(written - began, 1),
        "seconds_training": round(result.seconds, 1),
        "steps": result.steps,
        "validation_loss": [round(one["loss"], 3) for one in result.evaluations],
    }
    print(json.dumps({folder.name: facts}), flush=True)


def timed(
    folders: dict[str, Path], test: Pairs, turns: int, dtype: str, beams: list[int]
) -> dict[str, tuple[list[float], Scores]]:
    """The seconds that each model takes for the test sources, in turns after a warm-up, and its scores."""
    writers = {}
    for name, folder in folders.items():
        write = pipeline(folder, dtype=dtype, batch_size=BATCH, truncation=True)
        for count in beams:
            writers[f"{name}, {count} beams"] = partial(write, num_beams=count)
    seconds: dict[str, list[float]] = {name: [] for name in writers}
    texts: dict[str, list[str]] = {}
    for write in writers.values():
        write(test.sources[: 2 * BATCH])
    for _ in range(turns):
        for name, write in writers.items():
            began = time.perf_counter()
            texts[name] = write(test.sources)
            seconds[name].append(time.perf_counter() - began)
    return {name: (seconds[name], score(texts[name], test.targets)) for name in writers}


def row(name: str, dtype: str, found: tuple[list[float], Scores], teacher: list[float], pairs: int) -> list[str]:
    """A line of the table."""
    seconds, scores = found
    ratios = [a / b for a, b in zip(teacher, seconds, strict=True)]
    speed = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
    rouge = [f"{scores.estimate(metric).value:.1f}" for metric in ("rouge1", "rouge2")]
    return [name, dtype, *rouge, str(scores.rougeL), f"{pairs / statistics.median(seconds):.1f}", speed]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("teacher")
    parser.add_argument("--output", required=True)
    parser.add_argument("--keep", type=int, nargs="+", default=[2])
    parser.add_argument("--targets", nargs="+", default=["pairs", "teacher"])
    parser.add_argument("--examples", type=int, default=4000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--freeze", nargs="*", default=["encoder", "token_embeddings"])
    parser.add_argument("--rate", type=float, default=3e-4)
    parser.add_argument("--test-pairs", type=int, default=500)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--beams", type=int, nargs="+", default=[4])
    parser.add_argument("--dtypes", nargs="+", default=["float32", "int8"])
    args = parser.parse_args()
    torch.manual_seed(0)
    model = EncoderDecoderModel.from_pretrained(args.teacher)
    test = read_pairs(split_file("test")).first(args.test_pairs)
    folders = {"teacher": Path(args.teacher)}
    for targets in args.targets:
        name = f"{'-'.join(map(str, args.keep))} {targets}"
        folders[name] = Path(args.output) / name.replace(" ", "_")
        if not (folders[name] / "config.json").exists():
            trained(args, model, targets, folders[name])
    if args.turns == 0:
        return
    rows = []
    for dtype in args.dtypes:
        found = timed(folders, test, args.turns, dtype, args.beams)
        teacher = next(iter(found.values()))[0]
        rows += [row(name, dtype, one, teacher, len(test)) for name, one in found.items()]
    columns = ["layers, targets", "dtype", "ROUGE-1", "ROUGE-2", "ROUGE-L", "documents/s", "x teacher"]
    show(f"{len(test)} test documents, batches of {BATCH}", columns, rows)


if __name__ == "__main__":
    main()
