"""Times a training step and a step of generating, MiniLM pair, for one setting of the threads' environment.

GOMP_SPINCOUNT=1000 python benchmarks/threads.py
(while :; do :; done) & GOMP_SPINCOUNT=1000 python benchmarks/threads.py; kill %1
"""

import statistics

import torch
from common import SIZES, alternate

from conjoin import BertConfig, EncoderDecoderConfig, EncoderDecoderModel


def main() -> None:
    torch.manual_seed(0)
    parts = [BertConfig(**SIZES["minilm"]) for _ in range(2)]
    config = EncoderDecoderConfig.from_encoder_decoder_configs(*parts, decoder_start_token_id=101)
    model = EncoderDecoderModel(config=config)
    ids, labels = torch.randint(1000, 30000, (16, 64)), torch.randint(1000, 30000, (16, 10))

    def train() -> None:
        model.train()
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(input_ids=ids, labels=labels, return_logits=False).loss
        loss.backward()
        model.zero_grad()

    def generate() -> None:
        model.generate(ids[:4], max_new_tokens=20, min_new_tokens=20)

    trained, generated = (alternate({"": work}, 7)[""] for work in (train, generate))
    print(
        f"{torch.get_num_threads()} threads: training step {1e3 * statistics.median(trained):.0f} ms, "
        f"step of generating {1e3 * statistics.median(generated) / 20:.1f} ms"
    )


if __name__ == "__main__":
    main()
