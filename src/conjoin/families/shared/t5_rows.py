"""The names of T5's tensors, which its relatives share, and what else their files may have."""

from conjoin.spec import Row, row, table

__all__ = ["CROSS", "HEAD", "OTHERS", "TASKS", "rows"]

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


def rows(attention: str, feed_forward: int, each_layer: bool = False) -> tuple[Row, ...]:
    """A side's rows: what its self-attention is called, and which of a layer's parts is the feed-forward."""
    own, up = f"layer.0.{attention}.", f"layer.{feed_forward}.DenseReluDense"
    distances = f"block.{{}}.{own}" if each_layer else f"block.0.{own}"
    return (
        row("embed.token.weight", "shared.weight", rooted=True, also=COPIES),
        row("relative.{}.weight" if each_layer else "relative.0.weight", f"{distances}relative_attention_bias.weight"),
        *table("", "", "norm=final_layer_norm"),
        *table(
            "layers.{}.",
            "block.{}.",
            f"attention.q={own}q attention.k={own}k attention.v={own}v attention.o={own}o "
            f"attention_norm=layer.0.layer_norm ffn.gate={up}.wi_0 ffn.down={up}.wo "
            f"ffn_norm=layer.{feed_forward}.layer_norm",
        ),
        *table("layers.{}.", "block.{}.", f"ffn.up={up}.wi_1", beside="gate"),
        *table("layers.{}.", "block.{}.", f"ffn.up={up}.wi", without="gate"),
    )
