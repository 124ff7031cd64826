"""The names of ProphetNet's tensors, and what else its files may have on either side."""

from conjoin.spec import row, table

__all__ = ["ANOTHER", "BODY", "CROSS", "HEAD", "PREFIXES", "STREAMS"]

SHARED = ("prophetnet.word_embeddings.weight", "word_embeddings.weight")
PREFIXES = ("", "prophetnet.encoder.", "encoder.")  # of an encoder
ATTENTION = ".q={0}.query_proj .k={0}.key_proj .v={0}.value_proj .o={0}.out_proj _norm={0}_layer_norm"
BODY = (
    row("embed.token.weight", "word_embeddings.weight", also=SHARED),
    row("embed.position.weight", "position_embeddings.weight"),
    *table("embed.", "", "norm=embeddings_layer_norm"),
    *table("layers.{}.attention", "layers.{}.", ATTENTION.format("self_attn")),
    *table(
        "layers.{}.",
        "layers.{}.",
        "ffn.up=feed_forward.intermediate ffn.down=feed_forward.output ffn_norm=feed_forward_layer_norm",
    ),
)
STREAMS = (
    row("embed.stream.weight", "ngram_embeddings.weight"),
    *table("layers.{}.attention.", "layers.{}.self_attn.", "distance=relative_pos_embeddings"),
)
CROSS = table("layers.{}.cross", "layers.{}.", ATTENTION.format("cross_attn") + " _gate:=cross_attn.gate")
HEAD = row("output.weight", "lm_head.weight", rooted=True, also=SHARED)
WORDS = r"^(prophetnet\.)?word_embeddings\.weight$"
ANOTHER = {
    "encoder": (WORDS, r"^(prophetnet\.)?decoder\.", r"^lm_head\."),
    "decoder": (WORDS, r"^(prophetnet\.)?encoder\.", r"^lm_head\.weight$"),
}
