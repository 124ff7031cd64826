"""The names of ViT's tensors, which its relatives share, those of transformers 5, and how a family is made of them."""

from typing import Any

from conjoin.spec import Family, Role, row, table

__all__ = ["ATTENTION", "BODY", "EMBEDDINGS", "LAYER", "NAMES", "PROJECTIONS", "image_family"]

LAYER = "encoder.layer.{}."
EMBEDDINGS = (
    row("embed.marks.0.weight", "embeddings.cls_token", row_vector=True),
    row("embed.marks.1.weight", "embeddings.distillation_token", row_vector=True),
    row("embed.position.weight", "embeddings.position_embeddings", row_vector=True),
    *table("embed.", "embeddings.", "patch=patch_embeddings.projection"),
    *table("", "", "norm=layernorm"),
)
ATTENTION = table(
    "layers.{}.attention.",
    LAYER + "attention.",
    "q=attention.query k=attention.key v=attention.value o=output.dense",
)
BODY = (
    *EMBEDDINGS,
    *ATTENTION,
    *table(
        "layers.{}.",
        LAYER,
        "attention_norm=layernorm_before ffn_norm=layernorm_after ffn.up=intermediate.dense ffn.down=output.dense",
    ),
)
# As transformers 5 calls them, where it is asked not to save the names of old.
PROJECTIONS = {
    r"attention\.q_proj\.": "attention.attention.query.",
    r"attention\.k_proj\.": "attention.attention.key.",
    r"attention\.v_proj\.": "attention.attention.value.",
    r"attention\.o_proj\.": "attention.output.dense.",
}
NAMES = {
    r"^(\w+\.)?layers\.(\d+)\.": r"\1encoder.layer.\2.",
    **PROJECTIONS,
    r"mlp\.fc1\.": "intermediate.dense.",
    r"mlp\.fc2\.": "output.dense.",
}
OTHERS = (r"^(\w+\.)?pooler\.", r"mask_token$", r"^(\w*classifier|decoder|lm_head)\.")


def image_family(
    config: type[Any], name: str, read: Any, body: Any, names: Any, others: tuple[str, ...] = ()
) -> Family:
    """A family of this kind, transformers' classes of which begin with `name`."""
    role = Role(f"{name}Model", read, body, ("", f"{config.model_type}."), (*OTHERS, *others))
    return Family(config=config, old_names=names, encoder=role)
