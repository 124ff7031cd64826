"""The names of T5's tensors, which its relatives share, and what else their files may have."""

from typing import Any

from conjoin.spec import Row, row, table

__all__ = ["CROSS", "HEAD", "OTHERS", "TASKS", "attention_rows", "body_rows", "distance_rows"]

COPIES = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "transformer.shared.weight")
CROSS = table(
    "layers.{}.cross",
    "block.{}.layer.1.",
    ".q=EncDecAttention.q .k=EncDecAttention.k .v=EncDecAttention.v .o=EncDecAttention.o _norm=layer_norm "
    "_gate:=EncDecAttention.gate",
)
HEAD = row("output.weight", "lm_head.weight", rooted=True, also=("shared.weight", *COPIES))
OTHERS = (r"^(shared|encoder\.embed_tokens|decoder\.embed_tokens|lm_head)\.weight$",)
TASKS = (r"^(transformer\.)?decoder\.", r"^(classifier|classification_head|qa_outputs)\.")


def attention_rows(name: str, **facts: Any) -> tuple[Row, ...]:
    """The products of self-attention that is called so."""
    return table("layers.{}.attention", f"block.{{}}.layer.0.{name}", ".q=.q .k=.k .v=.v .o=.o", **facts)


def distance_rows(ours: str, name: str, which: str = "relative", **facts: Any) -> tuple[Row, ...]:
    """The table of distances, which stands in self-attention that is called so: in each layer's, or in the first's."""
    layer = "{}" if "{}" in ours else "0"
    return table("", f"block.{layer}.layer.0.{name}.", f"{ours}={which}_attention_bias", **facts)


def body_rows(feed_forward: int) -> tuple[Row, ...]:
    """The rest of a side, of which layers the `feed_forward`-th part is what its name says."""
    up = f"layer.{feed_forward}.DenseReluDense"
    return (
        row("embed.token.weight", "shared.weight", rooted=True, also=COPIES),
        *table("", "", "norm=final_layer_norm"),
        *table(
            "layers.{}.",
            "block.{}.",
            f"attention_norm=layer.0.layer_norm ffn.gate={up}.wi_0 ffn.down={up}.wo "
            f"ffn_norm=layer.{feed_forward}.layer_norm",
        ),
        *table("layers.{}.", "block.{}.", f"ffn.up={up}.wi_1", beside="gate"),
        *table("layers.{}.", "block.{}.", f"ffn.up={up}.wi", without="gate"),
    )
