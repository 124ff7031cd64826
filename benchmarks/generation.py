"""Times `generate` beside transformers' on the same weights, encoder included: greedy and beam search, float32, CPU.

python benchmarks/generation.py --size minilm --size base
"""

import argparse
import statistics

import torch
from common import SIZES, alternate, median_ratio, pair_of_models, show

SETTINGS = [(1, 128, 64, 1), (8, 128, 64, 1), (8, 128, 64, 4), (1, 510, 64, 4)]  # batch, source, new, beams


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, action="append")
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    rows = []
    for size in args.size or list(SIZES):
        peer, ours = pair_of_models(size)
        for batch, source, new, beams in SETTINGS:
            ids = torch.randint(1000, 30000, (batch, source))
            asked = {"attention_mask": torch.ones_like(ids), "num_beams": beams, "do_sample": False}
            asked |= {"max_new_tokens": new, "min_new_tokens": new}
            same = bool((peer.generate(input_ids=ids, **asked) == ours.generate(input_ids=ids, **asked)).all())
            work = {
                "transformers": lambda ids=ids, asked=asked: peer.generate(input_ids=ids, **asked),
                "conjoin": lambda ids=ids, asked=asked: ours.generate(input_ids=ids, **asked),
            }
            seconds = alternate(work, args.runs)
            ratio, low, high = median_ratio(seconds, "transformers", "conjoin")
            step = {name: f"{1e3 * statistics.median(s) / new:.1f}" for name, s in seconds.items()}
            setting = f"batch {batch}, source {source}, new {new}, beams {beams}"
            rows.append(
                [
                    size,
                    setting,
                    step["transformers"],
                    step["conjoin"],
                    f"{ratio:.2f}",
                    f"{low:.2f}-{high:.2f}",
                    str(same),
                ]
            )
            print(*rows[-1], sep="\t", flush=True)
    show(
        "generate, float32, ms a step (medians)",
        ["size", "setting", "transformers", "conjoin", "ratio", "spread", "equal tokens"],
        rows,
    )


if __name__ == "__main__":
    main()
