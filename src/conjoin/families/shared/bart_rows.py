"""The names of BART's tensors, and what else its files may have; its relatives, and decoders made after it, share them."""

from conjoin.spec import row, table

__all__ = ["BODY", "CROSS", "HEAD", "LAYERS", "OTHERS", "SHARED", "TOKEN"]

SHARED = ("model.shared.weight", "shared.weight")
TOKEN = row("embed.token.weight", "embed_tokens.weight", also=SHARED)
LAYERS = table(
    "layers.{}.",
    "layers.{}.",
    "attention.q=self_attn.q_proj attention.k=self_attn.k_proj attention.v=self_attn.v_proj "
    "attention.o=self_attn.out_proj attention_norm=self_attn_layer_norm "
    "ffn.up=fc1 ffn.down=fc2 ffn_norm=final_layer_norm",
)
BODY = (TOKEN, *table("embed.", "", "position=embed_positions norm=layernorm_embedding"), *LAYERS)
CROSS = table(
    "layers.{}.cross",
    "layers.{}.encoder_attn",
    ".q=.q_proj .k=.k_proj .v=.v_proj .o=.out_proj _norm=_layer_norm _gate:=.gate",
)
HEAD = (
    row("output.weight", "lm_head.weight", rooted=True, also=SHARED),
    row("head.bias", "final_logits_bias", rooted=True, optional=True, row_vector=True),
)
OTHERS = (r"^(model\.)?shared\.", r"^classification_head\.")
