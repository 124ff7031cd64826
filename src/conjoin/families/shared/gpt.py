"""What GPT-2 and GPT-J have in common: fields of their configs, with GPT-2's defaults, and facts."""

from dataclasses import dataclass
from typing import Any, ClassVar

from conjoin.config import ModelConfig
from conjoin.families.shared.causal import causal_stack
from conjoin.spec import StackSpec

__all__ = ["GPTConfig", "gpt_stack"]


@dataclass(kw_only=True)
class GPTConfig(ModelConfig):
    """What the configs of GPT-2 and GPT-J have in common."""

    attribute_map: ClassVar[dict[str, str]] = {
        "hidden_size": "n_embd",
        "max_position_embeddings": "n_positions",
        "num_attention_heads": "n_head",
        "num_hidden_layers": "n_layer",
        "intermediate_size": "n_inner",
    }
    irrelevant: ClassVar[frozenset[str]] = frozenset(
        "n_ctx summary_activation summary_first_dropout summary_proj_to_labels summary_type summary_use_proj".split()
    )

    vocab_size: int = 50257
    n_positions: int = 1024
    n_embd: int = 768
    n_layer: int = 12
    n_head: int = 12
    n_inner: int | None = None
    activation_function: str = "gelu_new"
    resid_pdrop: float = 0.1
    embd_pdrop: float = 0.1
    attn_pdrop: float = 0.1
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02
    bos_token_id: int | None = 50256
    eos_token_id: int | list[int] | None = 50256


def gpt_stack(config: Any, **facts: Any) -> StackSpec:
    """The facts in common, with further ones."""
    return causal_stack(
        config,
        ffn=config.n_inner or 4 * config.n_embd,
        activation=config.activation_function,
        norm_eps=config.layer_norm_epsilon,
        dropout=config.resid_pdrop,
        embed_dropout=config.embd_pdrop,
        attention_dropout=config.attn_pdrop,
        **facts,
    )
