"""Real documents through a fine-tuned folder: documents a second and ROUGE-L, in every type, beside transformers.

python benchmarks/documents.py DIR TEST.jsonl --documents 184
python benchmarks/documents.py DIR TEST.jsonl --documents 200 --operations    # where the time goes in int8, one thread

DIR is a folder of `conjoin demo` or `conjoin train`; the file has lines with "source" and "target". Beam search with 4 beams;
each engine at the best of several batch sizes, found on 64 documents; turns alternate.
"""

import argparse
import gzip
import json
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("CONJOIN_ENGINE", "native")

import torch
import transformers
from common import alternate, show

from conjoin import EncoderDecoderModel, pipeline
from conjoin.engine.kernels.layout import FIELDS, Code
from conjoin.engine.kernels.team import Team, take_part
from conjoin.engine.program import Closed

SIZES = (8, 32)  # documents that transformers takes together
TOKENS = (1024, 2048, 4096)  # source tokens that we take together
BEAMS = {"num_beams": 4, "max_new_tokens": 32}


def read(path: str, count: int, source: str, target: str) -> list[dict[str, str]]:
    """Evenly spread documents of a file."""
    opened = gzip.open if path.endswith(".gz") else open
    with opened(path, "rt", encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    return [{"source": one[source], "target": one[target]} for one in lines[:: max(1, len(lines) // count)]][:count]


def by_transformers(folder: str) -> Callable[[list[str], int], list[str]]:
    """transformers on our folder: longest sources first, as ours."""
    model = transformers.EncoderDecoderModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    longest = model.config.encoder.max_position_embeddings

    def write(texts: list[str], size: int) -> list[str]:
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        made = [""] * len(texts)
        for start in range(0, len(texts), size):
            some = order[start : start + size]
            given = tokenizer(
                [texts[i] for i in some], return_tensors="pt", padding=True, truncation=True, max_length=longest
            )
            given.pop("token_type_ids", None)
            with torch.inference_mode():
                ids = model.generate(**given, **BEAMS, do_sample=False)
            for i, text in zip(some, tokenizer.batch_decode(ids, skip_special_tokens=True), strict=True):
                made[i] = text
        return made

    return write


def by_conjoin(folder: str, dtype: str) -> Callable[[list[str], int], list[str]]:
    """Ours."""
    write = pipeline(folder, dtype=dtype)
    return lambda texts, size: write(texts, max_batch_tokens=size, truncation=True, **BEAMS)


def by_operation(folder: str, texts: list[str]) -> None:
    """Milliseconds of one thread's processor time a document in int8: each kind of operation, and everything else."""
    torch.set_num_threads(1)
    write, spent, running = by_conjoin(folder, "int8"), defaultdict(float), []
    write(texts, TOKENS[1])
    began = time.process_time()
    write(texts, TOKENS[1])
    whole = time.process_time() - began
    run = Closed.run

    def noted(self: Closed, *given: object) -> None:
        running[:] = [self.program.operations, given]
        run(self, *given)

    def one_by_one(team: Team, ops: object, by: object, buffers: object, facts: object) -> None:
        operations, (x, _, batch, *_) = running
        phase = "source" if len(x) // batch > 4 else "step"
        for i, op in enumerate(operations):
            size = f" {op.numbers[5]} x {op.numbers[6]}" if op.code == Code.LINEAR else ""
            places = ops.ctypes.data + 8 * FIELDS * i, by.ctypes.data + 16 * i, buffers.ctypes.data, facts.ctypes.data
            began = time.thread_time()
            take_part(1, *places, team.shared.ctypes.data, 0, 1)
            spent[f"{phase}: {op.code.name}{size}"] += time.thread_time() - began

    Closed.run, Team.run = noted, one_by_one
    write(texts, TOKENS[1])
    spent["everything else"] = whole - sum(spent.values())
    each = sorted(((1000 * took / len(texts), name) for name, took in spent.items()), reverse=True)
    total = f"{len(texts)} documents, int8, 4 beams: {1000 * whole / len(texts):.2f} ms each"
    show(total, ["of which", "ms"], [[name, f"{took:.2f}"] for took, name in each])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("data")
    parser.add_argument("--documents", type=int, default=184)
    parser.add_argument("--source-column", default="source")
    parser.add_argument("--target-column", default="target")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16", "int8"])
    parser.add_argument("--operations", action="store_true")
    args = parser.parse_args()
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    pairs = read(args.data, args.documents, args.source_column, args.target_column)
    texts = [pair["source"] for pair in pairs]
    if args.operations:
        by_operation(args.folder, texts)
        return
    shared = str(Path(args.folder))
    if json.loads(Path(shared, "config.json").read_text()).get("tie_encoder_decoder"):
        shared += "-whole"
        EncoderDecoderModel.from_pretrained(args.folder).save_pretrained(shared, duplicate_shared=True)
    engines = {"transformers float32": by_transformers(shared)}
    engines |= {f"conjoin {kind}": by_conjoin(args.folder, kind) for kind in args.dtypes}
    work, written = {}, {}
    for name, write in engines.items():
        write(texts[:4], TOKENS[0])  # loads, and compiles
        sizes, kind = (SIZES, "documents") if name.startswith("transformers") else (TOKENS, "tokens")
        few = alternate({str(size): lambda size=size, write=write: write(texts[:64], size) for size in sizes}, 1)
        size = int(min(few, key=lambda s: few[s][0]))
        work[f"{name}, batches of {size} {kind}"] = lambda name=name, write=write, size=size: written.update(
            {name: write(texts, size)}
        )
    seconds = alternate(work, args.runs)
    base, rows = statistics.median(seconds[next(iter(work))]), []
    for label, name in zip(work, engines, strict=True):
        scores = [scorer.score(p["target"], w)["rougeL"].fmeasure for p, w in zip(pairs, written[name], strict=True)]
        taken = statistics.median(seconds[label])
        rows.append(
            [label, f"{len(texts) / taken:.1f}", f"{base / taken:.1f}", f"{100 * sum(scores) / len(scores):.2f}"]
        )
    show(f"{len(texts)} documents, 4 beams", ["engine", "documents a second", "x transformers", "ROUGE-L"], rows)


if __name__ == "__main__":
    main()
