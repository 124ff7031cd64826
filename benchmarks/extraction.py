"""What extraction reaches on the demo's data: MiniLM taught to choose sentences, beside the first ones and the oracle's.

    python benchmarks/extraction.py --minutes 3

The demo's 8,000 training pairs, MiniLM as the encoder; scored on the test pairs by ROUGE. The first sentence of a package's
description is nearly always its best; with `--shuffled` all documents have their sentences in random order, so that only what
a sentence says can tell, and "lead" is a sentence at random.
"""

import argparse
import json
import random
import tempfile
import time
from dataclasses import replace

from common import show

from conjoin.cli.demo import weights_folder
from conjoin.data import split_file
from conjoin.evaluation import METRICS
from conjoin.extraction import (
    Documents,
    Extractor,
    evaluate_extractor,
    extractor_for,
    read_documents,
    train_extractor,
)
from conjoin.torch import Encoder
from conjoin.training import Recipe
from conjoin.training.randomness import seed_all


def shuffled(documents: Documents) -> Documents:
    """The same documents, the sentences of each in an order of their own."""
    draw = random.Random(0)
    return replace(documents, sentences=[draw.sample(own, len(own)) for own in documents.sentences])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--rate", type=float, default=1e-4)
    parser.add_argument("--head-rate", type=float, default=1e-3)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--shuffled", action="store_true")
    args = parser.parse_args()
    seed_all(42)
    order = shuffled if args.shuffled else lambda documents: documents
    train, validation, test = (order(read_documents(split_file(split))) for split in ("train", "validation", "test"))
    began = time.perf_counter()
    model = extractor_for(Encoder.from_pretrained(weights_folder()), train, max_source_length=args.length)
    print(f"labels: {time.perf_counter() - began:.1f} s; {model.settings.sentences} sentences a summary")
    recipe = Recipe(
        minutes=args.minutes, learning_rate=args.rate, new_learning_rate=args.head_rate, batch_size=args.batch
    )
    with tempfile.TemporaryDirectory() as folder:
        facts = train_extractor(model, train, validation, recipe, folder)
        best = Extractor.from_pretrained(folder)
    losses = [round(one["loss"], 4) for one in facts["evaluations"]]
    print(json.dumps({"steps": facts["steps"], "seconds": round(facts["seconds"]), "validation_loss": losses}))
    began = time.perf_counter()
    best.chosen(test.sentences)
    print(f"{len(test) / (time.perf_counter() - began):.0f} documents a second")
    found = evaluate_extractor(best, test)
    rows = [[METRICS[metric], *(str(found[name].estimate(metric)) for name in found)] for metric in METRICS]
    show(f"{len(test)} test documents", ["", *found], rows)


if __name__ == "__main__":
    main()
