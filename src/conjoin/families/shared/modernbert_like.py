"""What ModernBERT and its decoder have in common: the facts, the names of tensors, and what else their files may have."""

from typing import Any

from conjoin.families.shared.windows import FULL, SLIDING, turns
from conjoin.spec import BIASES, StackSpec, stack, table

__all__ = ["BODY", "HEADS", "modernbert_stack"]


def modernbert_stack(config: Any) -> StackSpec:
    """An encoder's facts: a token sees half of `local_attention` either way; what attention adds has its dropout."""
    size, kinds = config.hidden_size // config.num_attention_heads, config.kinds()
    reaches = {FULL: None, SLIDING: config.local_attention // 2}
    biases = "q k v o " * config.attention_bias + "up gate down " * config.mlp_bias + "head" * config.classifier_bias
    return stack(
        config,
        limit=config.max_position_embeddings,
        reaches=tuple(reaches[kind] for kind in kinds),
        rotary=turns(config, size, kinds),
        activation=config.hidden_activation,
        gated=True,
        biases=BIASES & frozenset(biases.split()),
        norm_eps=config.norm_eps,
        norm_bias=config.norm_bias,
        norms="pre",
        embed_norm=True,
        first_norm=False,
        final_norm=True,
        embed_dropout=config.embedding_dropout,
        attention_dropout=config.attention_dropout,
        dropout=config.attention_dropout,
        activation_dropout=config.mlp_dropout,
        ffn_dropout=0.0,
        scaled_residual_init=True,
    )


BODY = (
    *table("", "", "embed.token=embeddings.tok_embeddings embed.norm=embeddings.norm norm=final_norm"),
    *table(
        "layers.{}.",
        "layers.{}.",
        "attention.o=attn.Wo attention_norm=attn_norm ffn.gate+up=mlp.Wi ffn.down=mlp.Wo ffn_norm=mlp_norm",
    ),
)
HEADS = (r"^(lm_)?head\.", r"^decoder\.", r"^classifier\.")
