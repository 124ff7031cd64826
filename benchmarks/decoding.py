"""Times generate beside transformers and CTranslate2: ms a step, encoder included, in every precision, with what each peaks at.

python benchmarks/decoding.py --size minilm --size base --runs 5
python benchmarks/decoding.py --size base --memory

Engines take turns in one process, each on the same shapes with random weights; ours has transformers' weights. CTranslate2, which
loads no such model, gets an encoder and decoder of equal sizes without BERT's head transform: slightly less work. It is left out
where it is not installed; the extra `bench` has it, and what --plot needs.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

os.environ.setdefault("CONJOIN_ENGINE", "native")

import torch
from common import SIZES, TOKENS, alternate, pair_of_models, show

from conjoin import EncoderDecoderModel
from conjoin.checkpoint import NARROW
from conjoin.plotting import Panel, check_plot, plot_speeds

SETTINGS = [(1, 128, 64, 1), (8, 128, 64, 1), (8, 128, 64, 4), (1, 510, 64, 4)]  # batch, source, new, beams
PRECISIONS = ("float32", "bfloat16", "int8")  # unless others are asked for
TRANSFORMERS, CTRANSLATE2 = "transformers float32", "ctranslate2"


def ours_in(precision: str, folder: str) -> EncoderDecoderModel:
    """Our model in a precision."""
    model = EncoderDecoderModel.from_pretrained(folder, dtype=precision)
    for name, value in TOKENS.items():
        setattr(model.generation_config, name, value)
    return model


def translator(size: str, precision: str, folder: str) -> Any:
    """CTranslate2 on a model of the same shapes."""
    import ctranslate2
    from peers_ctranslate2 import build

    sizes = SIZES[size]
    if not Path(folder).exists():
        build(sizes, folder)
    kind = {"int8": "int8_float32"}.get(precision, precision)
    return ctranslate2.Translator(folder, device="cpu", compute_type=kind, inter_threads=1, intra_threads=threads())


def threads() -> int:
    """How many threads every engine gets."""
    return torch.get_num_threads()


def works(
    size: str, folder: str, peer: Any, precisions: Iterable[str]
) -> dict[str, Callable[[torch.Tensor, dict[str, Any]], Any]]:
    """By engine: what makes one generation from ids and settings."""
    found: dict[str, Callable[[torch.Tensor, dict[str, Any]], Any]] = {
        TRANSFORMERS: lambda ids, asked: peer.generate(input_ids=ids, **asked)
    }
    for precision in precisions:
        model = ours_in(precision, folder)
        found[f"conjoin {precision}"] = lambda ids, asked, model=model: model.generate(ids, **asked)
    if importlib.util.find_spec("ctranslate2"):
        for precision in ("float32", "int8"):
            engine = translator(size, precision, f"{folder}-ct2")
            found[f"{CTRANSLATE2} {precision}"] = lambda ids, asked, engine=engine: translated(engine, ids, asked)
    return found


def translated(engine: Any, ids: torch.Tensor, asked: dict[str, Any]) -> Any:
    """The same by CTranslate2."""
    texts = [[f"t{i}" for i in row] for row in (ids - 1000).tolist()]
    new = asked["max_new_tokens"]
    return engine.translate_batch(
        texts, beam_size=asked["num_beams"], max_decoding_length=new, min_decoding_length=new, max_batch_size=64
    )


def compare(size: str, runs: int, precisions: Iterable[str]) -> list[dict[str, Any]]:
    """Medians by setting and engine."""
    rows = []
    with tempfile.TemporaryDirectory() as parent:
        peer, ours = pair_of_models(size)
        folder = f"{parent}/model"
        ours.save_pretrained(folder)
        del ours
        engines = works(size, folder, peer, precisions)
        for batch, source, new, beams in SETTINGS:
            ids = torch.randint(1000, 30000, (batch, source))
            asked = {"attention_mask": torch.ones_like(ids), "num_beams": beams, "do_sample": False}
            asked |= {"max_new_tokens": new, "min_new_tokens": new}
            work = {name: lambda one=one, ids=ids, asked=asked: one(ids, asked) for name, one in engines.items()}
            seconds = alternate(work, runs)
            for name, taken in seconds.items():
                rows.append(row_of(size, (batch, source, new, beams), name, taken, seconds))
                print(json.dumps(rows[-1]), flush=True)
    return rows


def row_of(size: str, setting: tuple[int, ...], name: str, taken: list[float], seconds: dict[str, list[float]]) -> Any:
    """One engine at one setting: time, and how many times faster than each peer in the same turns."""
    batch, source, new, beams = setting
    row: dict[str, Any] = {"size": size, "batch": batch, "source": source, "new": new, "beams": beams, "engine": name}
    row["ms_per_step"] = round(1e3 * statistics.median(taken) / new, 2)
    row["tokens_per_second"] = round(batch * new / statistics.median(taken), 1)
    same = f"{CTRANSLATE2} {name.split()[-1]}"
    for peer in (TRANSFORMERS, same):
        if name.startswith("conjoin") and peer in seconds:
            ratios = [a / b for a, b in zip(seconds[peer], taken, strict=True)]
            row[f"x {peer.split()[0]}"] = [round(f(ratios), 2) for f in (statistics.median, min, max)]
    return row


def tables(rows: list[dict[str, Any]]) -> None:
    """One table a size."""
    for size in dict.fromkeys(row["size"] for row in rows):
        lines = []
        for row in rows:
            if row["size"] == size:
                setting = f"{row['batch']} x {row['source']}, beams {row['beams']}"
                ratios = [ratio(row.get(f"x {peer}")) for peer in ("transformers", "ctranslate2")]
                lines.append([setting, row["engine"], f"{row['ms_per_step']:.2f}", *ratios])
        show(
            f"{size}, {threads()} threads",
            ["batch x source", "engine", "ms a step", "x transformers", "x ctranslate2"],
            lines,
        )


def ratio(found: list[float] | None) -> str:
    """A ratio with its spread."""
    return "" if found is None else f"{found[0]:.2f} ({found[1]:.2f}-{found[2]:.2f})"


def panels(rows: list[dict[str, Any]]) -> list[Panel]:
    """Tokens a second, a panel for each size."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for row in rows:
        setting = f"{row['batch']} x {row['source']} tokens\n{row['beams']} beam{'s' * (row['beams'] > 1)}"
        found.setdefault(row["size"], {}).setdefault(setting, {})[row["engine"]] = row["tokens_per_second"]
    return [Panel(f"{size}, {threads()} threads", speeds) for size, speeds in found.items()]


def memory(size: str) -> None:
    """Peak memory beyond imports of loading and generating (8 x 128, 64 new, beams 4), each engine in its own process."""
    with tempfile.TemporaryDirectory() as parent:
        _, ours = pair_of_models(size)
        ours.save_pretrained(f"{parent}/float32")
        del ours
        for kind in NARROW:
            ours_in(kind, f"{parent}/float32").save_pretrained(f"{parent}/{kind}")
        if importlib.util.find_spec("ctranslate2"):
            translator(size, "float32", f"{parent}/ct2")
        lines = []
        for name, folder in (
            ("transformers float32", "float32"),
            ("conjoin float32", "float32"),
            ("conjoin bfloat16", "float32"),
            *((f"conjoin {kind}", kind) for kind in NARROW),
            ("ctranslate2 int8", "ct2"),
        ):
            if Path(parent, folder).exists():
                command = [
                    sys.executable,
                    str(Path(__file__).with_name("decoding_memory.py")),
                    name,
                    f"{parent}/{folder}",
                ]
                said = subprocess.run([*command, size], capture_output=True, text=True, check=True).stdout
                lines.append([name, said.split()[-1]])
    show(f"{size}: peak memory beyond imports, MB", ["engine", "MB"], lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, action="append")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--precisions", nargs="+", default=PRECISIONS)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--plot", help="a PNG file")
    args = parser.parse_args()
    if args.plot:
        check_plot(args.plot)
    if args.memory:
        for size in args.size or list(SIZES):
            memory(size)
        return
    rows = [row for size in args.size or list(SIZES) for row in compare(size, args.runs, args.precisions)]
    tables(rows)
    if args.plot:
        plot_speeds(panels(rows), args.plot)


if __name__ == "__main__":
    main()
