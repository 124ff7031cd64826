"""The names of tensors in relatives of BERT that have norms before each sublayer, by the names of those norms."""

from conjoin.families.shared.bert_rows import LAYER
from conjoin.spec import Row, table

__all__ = ["body", "cross"]

EMBED = "embed.token=word_embeddings embed.position=position_embeddings embed.segment=token_type_embeddings "
PRODUCTS = (
    "attention.q=attention.self.query attention.k=attention.self.key attention.v=attention.self.value "
    "attention.o=attention.output.dense ffn.up=intermediate.dense ffn.down=output.dense "
)
CROSS_PRODUCTS = ".q=self.query .k=self.key .v=self.value .o=output.dense _gate:=gate "


def body(last: str, attention: str, feed_forward: str, embed: str = "") -> tuple[Row, ...]:
    """The body's rows, by the names of the last norm and of a layer's two norms."""
    return (
        *table("", "embeddings.", EMBED + embed),
        *table("", "", f"norm={last}"),
        *table("layers.{}.", LAYER, f"{PRODUCTS}attention_norm={attention} ffn_norm={feed_forward}"),
    )


def cross(norm: str) -> tuple[Row, ...]:
    """Cross-attention's rows, by the name of its norm."""
    return table("layers.{}.cross", LAYER + "crossattention.", f"{CROSS_PRODUCTS}_norm={norm}")
