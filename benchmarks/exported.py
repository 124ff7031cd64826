"""Times an exported model in ONNX Runtime beside `generate` in PyTorch on the same weights, float32 and int8, CPU.

    python benchmarks/exported.py speed --size minilm --size base
    python benchmarks/exported.py agreement DIR

speed: ms a step, encoder included, in turns; whether tokens are equal. agreement, of a trained model with tokenizers: how many
texts of the demo's test data come out the same, and ROUGE-L of each beside the references.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import torch
from common import SIZES, alternate, pair_of_models, show

from conjoin import EncoderDecoderModel, OnnxEncoderDecoderModel, export_onnx, pipeline
from conjoin.data import split_file
from conjoin.evaluation import score
from conjoin.training import read_pairs

TYPES = ("float32", "int8")
SETTINGS = [(1, 128, 32, 1), (8, 128, 32, 4)]  # batch, source, new, beams


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    timed = commands.add_parser("speed")
    timed.add_argument("--size", choices=SIZES, action="append")
    timed.add_argument("--runs", type=int, default=5)
    same = commands.add_parser("agreement")
    same.add_argument("folder", type=Path)
    same.add_argument("--texts", type=int, default=100)
    args = parser.parse_args()
    if args.command == "speed":
        speed(args.size or list(SIZES), args.runs)
    else:
        agreement(args.folder, args.texts)


def exported(model: EncoderDecoderModel, folder: Path) -> dict[str, Path]:
    """The folders of each type."""
    for kind in TYPES:
        export_onnx(model, folder / kind, dtype=kind)
    return {kind: folder / kind for kind in TYPES}


def megabytes(folder: Path) -> float:
    """Of a folder's graphs."""
    return sum(path.stat().st_size for path in folder.glob("*.onnx*")) / 1e6


def speed(sizes: list[str], runs: int) -> None:
    """Milliseconds a step."""
    rows = []
    for size in sizes:
        ours = pair_of_models(size)[1]
        with tempfile.TemporaryDirectory() as folder:
            graphs = {}
            for kind, path in exported(ours, Path(folder)).items():
                print(f"{size} {kind}: {megabytes(path):.0f} MB", flush=True)
                graphs[kind] = OnnxEncoderDecoderModel.from_pretrained(path)
                graphs[kind].config.generation = ours.config.generation
            for batch, source, new, beams in SETTINGS:
                ids = torch.randint(1000, 30000, (batch, source))
                asked = {"num_beams": beams, "max_new_tokens": new, "min_new_tokens": new}
                work = {"torch": lambda ids=ids, asked=asked: ours.generate(ids, **asked)}
                array = ids.numpy()
                for kind, graph in graphs.items():
                    work[kind] = lambda ids=array, asked=asked, graph=graph: graph.generate(ids, **asked)
                tokens = {name: one().tolist() for name, one in work.items()}
                seconds = alternate(work, runs)
                step = [f"{1e3 * statistics.median(seconds[name]) / new:.1f}" for name in ("torch", *TYPES)]
                setting = f"batch {batch}, source {source}, new {new}, beams {beams}"
                rows.append([size, setting, *step, str(tokens["torch"] == tokens["float32"])])
                print(*rows[-1], sep="\t", flush=True)
    show("ms a step (medians)", ["size", "setting", "PyTorch", "ONNX Runtime", "int8", "equal tokens"], rows)


def agreement(folder: Path, count: int) -> None:
    """What a trained model writes."""
    pairs = read_pairs(split_file("test"))
    sources, references = pairs.sources[:count], pairs.targets[:count]
    ask = {"num_beams": 4, "max_new_tokens": 24, "truncation": True}
    expected = pipeline(folder)(sources, **ask)
    rows = [["PyTorch", "", "", f"{rouge(expected, references):.1f}"]]
    with tempfile.TemporaryDirectory() as made:
        for kind, path in exported(EncoderDecoderModel.from_pretrained(folder), Path(made)).items():
            texts = pipeline(path)(sources, **ask)
            equal = sum(a == b for a, b in zip(texts, expected, strict=True))
            rows.append([kind, f"{megabytes(path):.0f}", f"{equal} of {count}", f"{rouge(texts, references):.1f}"])
    show("texts of 4 beams", ["", "MB", "equal", "ROUGE-L"], rows)


def rouge(texts: list[str], references: list[str]) -> float:
    """ROUGE-L, of 100."""
    return score(texts, references).rougeL.value


if __name__ == "__main__":
    main()
