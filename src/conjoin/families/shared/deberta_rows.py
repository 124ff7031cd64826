"""The names of tensors that DeBERTa and its later versions share, and what else their files may have."""

from conjoin.families.shared.bert_rows import LAYER, TASKS
from conjoin.spec import table

__all__ = ["EMBEDDINGS", "LAYERS", "OTHERS"]

EMBEDDINGS = table(
    "embed.",
    "embeddings.",
    "token=word_embeddings position=position_embeddings segment=token_type_embeddings project=embed_proj norm=LayerNorm",
)
LAYERS = table(
    "layers.{}.",
    LAYER,
    "attention.o=attention.output.dense attention_norm=attention.output.LayerNorm "
    "ffn.up=intermediate.dense ffn.down=output.dense ffn_norm=output.LayerNorm",
)
# Heads of transformers, and of the authors' own files; a table of positions that is not added.
OTHERS = (
    r"^(cls|lm_predictions|mask_predictions)\.",
    r"embeddings\.position_embeddings\.",
    TASKS,
)
