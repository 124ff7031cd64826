"""The names of a layer's tensors in GPT-NeoX and BLOOM, whose files join queries, keys and values head by head."""

from conjoin.spec import Row, table

__all__ = ["layer_rows"]


def layer_rows(layer: str, attention: str) -> tuple[Row, ...]:
    """The rows, behind the names of a layer, with the name of its attention."""
    return (
        *table("layers.{}.", layer, "attention_norm=input_layernorm ffn_norm=post_attention_layernorm"),
        *table("layers.{}.attention.", layer + attention, "o=.dense"),
        *table("layers.{}.ffn.", layer + "mlp.", "up=dense_h_to_4h down=dense_4h_to_h"),
        *table("layers.{}.attention.", layer + attention, "q+k+v=.query_key_value", by_head=True),
    )
