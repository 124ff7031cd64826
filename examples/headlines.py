"""What the examples share: MiniLM joined with three of its own layers, pairs to learn headlines from, and some headlines."""

import argparse
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from conjoin import pipeline
from conjoin.cli.demo import weights_folder
from conjoin.data import split_file
from conjoin.training import array_batches, read_pairs

LENGTHS = {"max_source_length": 64, "max_target_length": 32}
NO_DROPOUT = {
    f"{side}_{name}": 0.0
    for side in ("encoder", "decoder")
    for name in ("hidden_dropout_prob", "attention_probs_dropout_prob")
}


def arguments(what: str) -> argparse.Namespace:
    """The command line of an example."""
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--steps", type=int, default=300, help="updates of the weights")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--model", help="a folder to start from; by default MiniLM is joined with itself")
    parser.add_argument("--output", default="headlines-model", help="the folder for the trained model")
    return parser.parse_args()


def start(kind: Any, folder: str | None = None) -> Any:
    """A model of class `kind`: of a folder, or MiniLM as encoder and three of its layers as decoder.

    Token embeddings stay as they are, and nothing is dropped out: the pairs are seen fewer than once.
    """
    if folder is not None:
        model = kind.from_pretrained(folder)
    else:
        model = kind.from_encoder_decoder_pretrained(
            weights_folder(),
            weights_folder(),
            cross_attention_init="self_attention",
            decoder_keep_layers=(0, 2, 4),
            num_beams=4,
            max_new_tokens=24,
            no_repeat_ngram_size=3,
            **NO_DROPOUT,
        )
    model.freeze("token_embeddings")
    return model


def batches(model: Any, steps: int, batch_size: int) -> Iterator[dict[str, Any]]:
    """As many batches of the demo's pairs as there are steps, the same for every framework."""
    pairs = read_pairs(split_file("train"), source_column="document", target_column="summary")
    epochs = -(-steps * batch_size // len(pairs)) + 1
    return islice(array_batches(model, pairs, batch_size=batch_size, epochs=epochs, **LENGTHS), steps)


def report(step: int, loss: float) -> None:
    """One line now and then."""
    if step % 20 == 0:
        print(f"step {step:4d}  loss {loss:.3f}", flush=True)


def show(folder: str | Path, backend: Any, count: int = 4) -> list[str]:
    """Prints and returns headlines of some test descriptions, by the saved model."""
    pairs = read_pairs(split_file("test"), source_column="document", target_column="summary").first(count)
    write = pipeline(folder, backend=backend, truncation=True)
    made = write(list(pairs.sources))
    for reference, headline in zip(pairs.targets, made, strict=True):
        print(f"reference: {reference}\nheadline:  {headline}\n")
    return made
