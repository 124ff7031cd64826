"""The names of BERT's tensors, and what else its files may have; its relatives share them."""

from conjoin.spec import row, table

__all__ = ["BODY", "BUFFERS", "CROSS", "EMBED", "HEAD", "LAYER", "OLD_NAMES", "TASKS"]

LAYER = "encoder.layer.{}."
EMBED = table(
    "embed.",
    "embeddings.",
    "token=word_embeddings position=position_embeddings segment=token_type_embeddings norm=LayerNorm",
)
BODY = (
    *EMBED,
    *table(
        "layers.{}.",
        LAYER,
        "attention.q=attention.self.query attention.k=attention.self.key attention.v=attention.self.value "
        "attention.distance=attention.self.distance_embedding "
        "attention.o=attention.output.dense attention_norm=attention.output.LayerNorm "
        "ffn.up=intermediate.dense ffn.down=output.dense ffn_norm=output.LayerNorm",
    ),
)
CROSS = table(
    "layers.{}.cross",
    LAYER + "crossattention.",
    ".q=self.query .k=self.key .v=self.value .o=output.dense _norm=output.LayerNorm _gate:=gate",
)
HEAD = (
    *table("head.", "cls.predictions.transform.", "dense=dense norm=LayerNorm", rooted=True),
    # Where the head is untied, transformers 5 adds `decoder.bias` and leaves `bias` unused.
    row("head.bias", "cls.predictions.bias", rooted=True, untied="cls.predictions.decoder.bias"),
    row("output.weight", "cls.predictions.decoder.weight", rooted=True),
)
OLD_NAMES = {r"LayerNorm\.gamma$": "LayerNorm.weight", r"LayerNorm\.beta$": "LayerNorm.bias"}
BUFFERS = (r"embeddings\.position_ids$", r"embeddings\.token_type_ids$", r"^(\w+\.)?pooler\.")
TASKS = r"^(classifier|qa_outputs)\."
