"""What ViT and its relatives have in common: fields of the config, and facts."""

from dataclasses import dataclass
from typing import Any

from conjoin.config import ModelConfig
from conjoin.senses import Patches
from conjoin.spec import BIASES, StackSpec, stack

__all__ = ["PatchConfig", "patch_stack", "qkv"]


@dataclass(kw_only=True)
class PatchConfig(ModelConfig):
    """What the configs of ViT and its relatives have in common."""

    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    image_size: int | list[int] = 224
    patch_size: int | list[int] = 16
    num_channels: int = 3


def patch_stack(config: Any, front: Patches, **facts: Any) -> StackSpec:
    """What ViT and its relatives have in common, with further facts."""
    height, width = front.grid(*front.image)
    common: dict[str, Any] = {
        "positions": front.marks + height * width,
        "dropout": config.hidden_dropout_prob,
        "final_norm": True,
    }
    fixed: dict[str, Any] = {
        "vocab": 0,
        "front": front,
        "activation": config.hidden_act,
        "norm_eps": config.layer_norm_eps,
        "norms": "pre",
        "embed_dropout": config.hidden_dropout_prob,
        "attention_dropout": config.attention_probs_dropout_prob,
    }
    return stack(config, **{**common, **fixed, **facts})


def qkv(config: Any) -> frozenset[str]:
    """The linear layers with a bias."""
    return BIASES if config.qkv_bias else BIASES - {"q", "k", "v"}
