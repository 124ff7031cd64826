"""What a text was read from: the cross-attention of each of its tokens over the source, from one pass over both."""

from collections.abc import Sequence
from typing import Any

import torch

from conjoin.decoding.budget import readable
from conjoin.serving.refusals import Refusal
from conjoin.serving.served import Served, expect_characters

__all__ = ["looked_at"]

NUMBER = 4  # bytes


def looked_at(served: Served, source: str, text: str) -> dict[str, Any]:
    """Where tokens stand in source and text, [from, to] in characters, and for each of the text's its weights over the source.

    Weights are means over layers and heads. Raises a Refusal for what is empty or too long.
    """
    pair, model = served.writer.tokenizers, served.model
    expect_characters(source, "the source")
    expect_characters(text, "the text")
    read, read_at = tokens(pair.source, source, special=True)
    made, made_at = tokens(pair.target, text, special=False)
    if not source.strip() or not made:
        raise Refusal(422, "text", "a source and a text were expected, and one of them is empty.", field="text")
    limit = min(served.limits.source_tokens, int(model.encoder.spec.max_length))
    read, read_at = read[:limit], read_at[:limit]
    served.limits.refuse("new_tokens", len(made), "tokens of the text", "text")
    if len(made) > served.positions:
        raise Refusal(
            422, "new_tokens", f"the text has {len(made)} tokens, and the decoder has positions for {served.positions}."
        )
    spec = model.decoder.spec
    size = 2 * NUMBER * spec.layers * spec.heads * len(made) * (len(read) + len(made))
    if size > served.memory:
        raise Refusal(422, "memory", f"the weights would need {readable(size)}; send a shorter source or text.")
    mask = torch.ones(1, len(read), dtype=torch.int64)
    with torch.inference_mode():
        out = model(
            encoder_outputs=model.encode(torch.tensor([read]), mask),  # without the weights of its own attention
            attention_mask=mask,
            decoder_input_ids=torch.tensor([[model.start_token(), *made[:-1]]]),
            output_attentions=True,
        )
    each = torch.stack([layer[0].mean(0) for layer in out["cross_attentions"] if layer is not None])
    weights = [[round(x, 4) for x in row] for row in each.mean(0).tolist()]
    return {"source": read_at, "text": made_at, "weights": weights}


def tokens(tokenizer: Any, text: str, *, special: bool) -> tuple[list[int], list[Sequence[int]]]:
    """Ids, and where they stand in the text."""
    found = tokenizer(text, add_special_tokens=special, return_offsets_mapping=True)
    return list(found["input_ids"]), [list(place) for place in found["offset_mapping"]]
