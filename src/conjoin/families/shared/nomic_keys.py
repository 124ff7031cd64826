"""The keys of a Nomic BERT's config as its authors write it: other names, those of no meaning, and those of one value."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.families.bert import BertConfig
from conjoin.families.shared.rope import RopeConfig

__all__ = ["NomicKeysConfig"]


@dataclass(kw_only=True)
class NomicKeysConfig(RopeConfig):
    """A config that reads these keys too."""

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
    irrelevant: ClassVar[frozenset[str]] = BertConfig.irrelevant | frozenset(
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
