"""Nomic BERT (https://arxiv.org/abs/2402.01613): an encoder, BERT with rotary positions, gates and no biases."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families import bert
from conjoin.families.rope import RopeConfig, rotary
from conjoin.spec import Family, Role, StackSpec, stack, table

__all__ = ["FAMILIES", "NOMIC_BERT", "NomicBertConfig"]


@config_class
@dataclass(kw_only=True)
class NomicBertConfig(RopeConfig):
    """Sizes and settings of a Nomic BERT, with transformers' names and defaults; its authors' names are read too."""

    model_type: ClassVar[str] = "nomic_bert"
    attribute_map: ClassVar[dict[str, str]] = {
        "n_embd": "hidden_size",
        "n_layer": "num_hidden_layers",
        "n_head": "num_attention_heads",
        "n_inner": "intermediate_size",
        "n_positions": "max_position_embeddings",
        "resid_pdrop": "hidden_dropout_prob",
        "attn_pdrop": "attention_probs_dropout_prob",
        "layer_norm_epsilon": "layer_norm_eps",
        "rotary_emb_base": "rope_theta",
    }
    irrelevant: ClassVar[frozenset[str]] = bert.BertConfig.irrelevant | frozenset(
        "dense_seq_output embd_pdrop fused_bias_fc fused_dropout_add_ln max_trained_positions pad_vocab_size_multiple "
        "reorder_and_upcast_attn summary_activation summary_first_dropout summary_proj_to_labels summary_type "
        "summary_use_proj use_flash_attn use_xentropy pad_vocab_to_multiple_of".split()
    )
    only: ClassVar[dict[str, tuple[object, ...]]] = {
        "activation_function": ("swiglu",),
        "causal": (False,),
        "mlp_fc1_bias": (False,),
        "mlp_fc2_bias": (False,),
        "norm_mlp": (False, None),
        "num_experts": (0, None),
        "num_heads_kv": (None,),
        "parallel_block": (False,),
        "parallel_block_tied_norm": (False,),
        "prenorm": (False,),
        "qkv_proj_bias": (False,),
        "rotary_emb_fraction": (1.0,),
        "rotary_emb_interleaved": (False,),
        "rotary_emb_scale_base": (None,),
        "rotary_head_dim": (False, None),
        "rotary_scaling_factor": (None,),
        "scale_attn_by_inverse_layer_idx": (False,),
        "scale_attn_weights": (True,),
        "use_rms_norm": (False, None),
    }

    vocab_size: int = 30528
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    head_dim: int | None = None
    hidden_act: str = "silu"
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    max_position_embeddings: int = 2048
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    rope_theta: float | None = 1000.0
    pad_token_id: int | None = 0


def read(config: NomicBertConfig) -> StackSpec:
    """The facts of an encoder."""
    size = config.head_dim or config.hidden_size // config.num_attention_heads
    return stack(
        config,
        limit=config.max_position_embeddings,
        types=config.type_vocab_size,
        head_size=size,
        rotary=(rotary(config, size),) * config.num_hidden_layers,
        activation=config.hidden_act,
        gated=True,
        biases=frozenset(),
        norm_eps=config.layer_norm_eps,
        embed_norm=True,
        dropout=config.hidden_dropout_prob,
        embed_dropout=config.hidden_dropout_prob,
        attention_dropout=config.attention_probs_dropout_prob,
    )


BODY = (
    *table("embed.", "", "token=embeddings.word_embeddings segment=embeddings.token_type_embeddings norm=emb_ln"),
    *table(
        "layers.{}.",
        "encoder.layers.{}.",
        "attention.q+k+v=attn.Wqkv attention.o=attn.out_proj attention_norm=norm1 "
        "ffn.gate=mlp.fc12 ffn.up=mlp.fc11 ffn.down=mlp.fc2 ffn_norm=norm2",
    ),
)

NOMIC_BERT = Family(
    config=NomicBertConfig,
    encoder=Role("NomicBertModel", read, BODY, ("", "nomic_bert.", "bert."), (*bert.BUFFERS, r"^cls\.", bert.TASKS)),
)
FAMILIES = (NOMIC_BERT,)
