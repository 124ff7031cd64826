"""How far whole numbers move a model: the mean divergence of its next tokens' probabilities from float32's, in nats.

python benchmarks/divergence.py DIR TEST.jsonl --documents 400 --dtypes int8 int4_weight_only

DIR is a folder of `conjoin demo` or `conjoin train`; the model reads each document and its reference, token by token. Where
ROUGE-L of a test set swings by half a point, this tells one rounding from another on a quarter of it.
"""

import argparse
import time
from collections.abc import Iterator

import torch
from common import show
from documents import read
from torch import Tensor

from conjoin import EncoderDecoderModel

SIZE = 16  # documents at a time


def batches(model: EncoderDecoderModel, lines: list[dict[str, str]]) -> Iterator[dict[str, Tensor]]:
    """The arguments of calls, texts of like lengths together."""
    lines = sorted(lines, key=lambda line: len(line["source"]))
    source, target = model.tokenizers.source, model.tokenizers.target
    asked = {"padding": True, "truncation": True, "return_tensors": "pt"}
    for start in range(0, len(lines), SIZE):
        some = lines[start : start + SIZE]
        given = source([line["source"] for line in some], max_length=model.encoder.spec.max_length, **asked)
        wanted = target([line["target"] for line in some], max_length=64, **asked)
        yield {
            "input_ids": given["input_ids"],
            "attention_mask": given["attention_mask"],
            "decoder_input_ids": wanted["input_ids"][:, :-1],
            "real": wanted["attention_mask"][:, 1:].bool(),
        }


def divergence(exact: EncoderDecoderModel, near: EncoderDecoderModel, lines: list[dict[str, str]]) -> float:
    """Nats a token."""
    total, count = 0.0, 0
    for batch in batches(exact, lines):
        real = batch.pop("real")
        wanted, found = (model(**batch).logits[real].log_softmax(-1) for model in (exact, near))
        total += float((wanted.exp() * (wanted - found)).sum())
        count += len(wanted)
    return total / count


@torch.inference_mode()
def main() -> None:
    """Loads the folder in each type and prints a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("--documents", type=int, default=400)
    parser.add_argument("--source-column", default="source")
    parser.add_argument("--target-column", default="target")
    parser.add_argument("--dtypes", nargs="+", default=["int8", "int8_weight_only", "int4_weight_only"])
    asked = parser.parse_args()
    lines = read(asked.data, asked.documents, asked.source_column, asked.target_column)
    exact, rows = EncoderDecoderModel.from_pretrained(asked.model), []
    for kind in asked.dtypes:
        began = time.perf_counter()
        near = EncoderDecoderModel.from_pretrained(asked.model, dtype=kind)
        seconds = time.perf_counter() - began
        rows.append([kind, f"{divergence(exact, near, lines):.4f}", f"{seconds:.1f}"])
    show(f"{len(lines)} documents", ["dtype", "divergence", "seconds to load"], rows)


if __name__ == "__main__":
    main()
