"""GPT-J (https://github.com/kingoflolz/mesh-transformer-jax): side by side after one norm; neighbours turn in pairs."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import ModelConfig, config_class
from conjoin.families.causal import causal_family, cross_rows
from conjoin.families.phi import BIASED_HEAD
from conjoin.spec import Rotary, StackSpec, stack, table

__all__ = ["FAMILIES", "GPTJ", "GPTJConfig"]


@config_class
@dataclass(kw_only=True)
class GPTJConfig(ModelConfig):
    """Sizes and settings of a GPT-J, with transformers' names and defaults."""

    model_type: ClassVar[str] = "gptj"
    attribute_map: ClassVar[dict[str, str]] = {
        "hidden_size": "n_embd",
        "max_position_embeddings": "n_positions",
        "num_attention_heads": "n_head",
        "num_hidden_layers": "n_layer",
        "intermediate_size": "n_inner",
    }
    irrelevant: ClassVar[frozenset[str]] = frozenset(
        "n_ctx scale_attn_weights summary_activation summary_first_dropout summary_proj_to_labels summary_type "
        "summary_use_proj".split()
    )
    only: ClassVar[dict[str, tuple[object, ...]]] = {"rotary": (True,)}

    vocab_size: int = 50400
    n_positions: int = 2048
    n_embd: int = 4096
    n_layer: int = 28
    n_head: int = 16
    rotary_dim: int = 64  # of each head's numbers, how many turn
    n_inner: int | None = None
    activation_function: str = "gelu_new"
    resid_pdrop: float = 0.0
    embd_pdrop: float = 0.0
    attn_pdrop: float = 0.0
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02
    tie_word_embeddings: bool = False
    bos_token_id: int | None = 50256
    eos_token_id: int | list[int] | None = 50256


def read(config: GPTJConfig) -> StackSpec:
    """GPT-J's facts; causal on either side."""
    pairs = config.rotary_dim // 2
    turn = Rotary(tuple(10000.0 ** (-i / pairs) for i in range(pairs)), interleaved=True)
    return stack(
        config,
        ffn=config.n_inner or 4 * config.n_embd,
        limit=config.n_positions,
        rotary=(turn,) * config.n_layer,
        activation=config.activation_function,
        norm_eps=config.layer_norm_epsilon,
        norms="pre",
        parallel="one_norm",
        final_norm=True,
        biases=frozenset({"up", "down"}),
        causal=True,
        dropout=config.resid_pdrop,
        embed_dropout=config.embd_pdrop,
        attention_dropout=config.attn_pdrop,
        head="plain" if config.is_decoder else "none",
        head_bias="trained" if config.is_decoder else "none",
    )


LAYER = "h.{}."
BODY = (
    *table("", "", "embed.token=wte norm=ln_f"),
    *table(
        "layers.{}.",
        LAYER,
        "attention.q=attn.q_proj attention.k=attn.k_proj attention.v=attn.v_proj attention.o=attn.out_proj "
        "attention_norm=ln_1 ffn.up=mlp.fc_in ffn.down=mlp.fc_out",
    ),
)
BUFFERS = (r"\.attn\.(bias|masked_bias)$",)

GPTJ = causal_family(
    GPTJConfig, "GPTJ", read, BODY, cross=cross_rows(LAYER), head=BIASED_HEAD, prefix="transformer.", buffers=BUFFERS
)
FAMILIES = (GPTJ,)
