"""What transformers reaches on the demo's data in the demo's minutes: the figure beside `conjoin demo`.

    python benchmarks/demo_quality.py --minutes 6.4
    conjoin demo --minutes 8

The same 8,000 training pairs, the same weights (MiniLM to MiniLM), the same test pairs, beam search with 4 beams; its
own documented recipe: AdamW at 2e-4 with warm-up and linear decay over the minutes, batches of 32, float32. `--minutes`
is training time alone; `conjoin demo` trains for 80% of the minutes it is given. `--bf16` trains under autocast,
`--buckets` makes batches of like lengths. quality.py runs it beside conjoin by processor time.
"""

import argparse
import json
import random
import time
from collections.abc import Callable

import torch
import transformers
from training import minilm

from conjoin.data import split_file
from conjoin.evaluation import lead_baseline, score
from conjoin.training import Pairs, read_pairs


def trained(
    args: argparse.Namespace,
    tokenizer: transformers.PreTrainedTokenizerBase,
    pairs: Pairs,
    clock: Callable[[], float] = time.time,
) -> tuple[object, int]:
    """A fine-tuned model, and how many examples it saw; `clock` gives the seconds that its minutes are counted by."""
    folder = minilm()
    model = transformers.EncoderDecoderModel.from_encoder_decoder_pretrained(
        folder, folder, encoder_add_pooling_layer=False
    )
    start = tokenizer.cls_token_id
    model.config.decoder_start_token_id, model.config.pad_token_id = start, 0
    tokens = {
        "decoder_start_token_id": start,
        "bos_token_id": start,
        "pad_token_id": 0,
        "eos_token_id": tokenizer.sep_token_id,
    }
    for key, value in tokens.items():
        setattr(model.generation_config, key, value)
    batches: list[list[int]] = []
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.rate, weight_decay=0.01)
    model.train()
    began, seen = clock(), 0
    while (spent := clock() - began) < 60 * args.minutes:
        batches = batches or batches_of(pairs, args.batch, args.buckets)
        rows = batches.pop()
        for group in optimizer.param_groups:
            group["lr"] = (
                args.rate * min(1, (seen + 1) / (100 * args.batch)) * max(0.0, 1 - spent / (60 * args.minutes))
            )
        ask = {"truncation": True, "padding": True, "return_tensors": "pt"}
        source = tokenizer([pairs.sources[i] for i in rows], max_length=args.length, **ask)
        target = tokenizer([pairs.targets[i] for i in rows], max_length=32, **ask)
        labels = target.input_ids.masked_fill(target.attention_mask == 0, -100)
        with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
            loss = model(input_ids=source.input_ids, attention_mask=source.attention_mask, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        seen += len(rows)
    return model.eval(), seen


def batches_of(pairs: Pairs, size: int, alike: bool) -> list[list[int]]:
    """An epoch's batches in random order; with `alike` of sources of like lengths."""
    order = list(range(len(pairs)))
    random.shuffle(order)
    if alike:
        order.sort(key=lambda row: len(pairs.sources[row]) // 40 + 4 * random.random())
    batches = [order[at : at + size] for at in range(0, len(order) - size + 1, size)]
    random.shuffle(batches)
    return batches


def texts(model: object, tokenizer: transformers.PreTrainedTokenizerBase, pairs: Pairs, length: int) -> list[str]:
    """What the model writes of each source."""
    found = []
    for at in range(0, len(pairs), 32):
        ask = {"truncation": True, "max_length": length, "padding": True, "return_tensors": "pt"}
        source = tokenizer(pairs.sources[at : at + 32], **ask)
        ids = model.generate(  # type: ignore[attr-defined]
            input_ids=source.input_ids,
            attention_mask=source.attention_mask,
            num_beams=4,
            max_new_tokens=24,
            no_repeat_ngram_size=3,
        )
        found += tokenizer.batch_decode(ids, skip_special_tokens=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=6.4)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=2e-4)
    parser.add_argument("--length", type=int, default=192, help="source tokens")
    parser.add_argument("--buckets", action="store_true")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--test-pairs", type=int, default=500)
    args = parser.parse_args()
    torch.manual_seed(0)
    random.seed(0)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    tokenizer = transformers.AutoTokenizer.from_pretrained(minilm())
    model, seen = trained(args, tokenizer, read_pairs(split_file("train")))
    test = read_pairs(split_file("test")).first(args.test_pairs)
    ours, lead = score(texts(model, tokenizer, test, args.length), test.targets), lead_baseline(test)
    found = {
        name: [round(s.rouge1.value, 1), round(s.rouge2.value, 1), round(s.rougeL.value, 1)]
        for name, s in (("transformers", ours), ("lead", lead))
    }
    print(json.dumps({"minutes": args.minutes, "examples": seen, "rouge1_2_L": found}))


if __name__ == "__main__":
    main()
