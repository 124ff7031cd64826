"""DINOv2 (https://arxiv.org/abs/2304.07193): a ViT with scaled sublayers, that reads images of many sizes."""

from dataclasses import dataclass
from typing import Any, ClassVar

from conjoin.config import config_class
from conjoin.families.shared import vit_rows
from conjoin.families.shared.patch_stack import PatchConfig, patch_stack, qkv
from conjoin.families.shared.patches import patches
from conjoin.spec import StackSpec, table

__all__ = ["DINOV2", "FAMILIES", "Dinov2Config"]


@config_class
@dataclass(kw_only=True)
class Dinov2Config(PatchConfig):
    """Sizes and settings of a DINOv2, with transformers' names and defaults."""

    model_type: ClassVar[str] = "dinov2"
    irrelevant: ClassVar[frozenset[str]] = frozenset(
        "apply_layernorm out_features out_indices reshape_hidden_states stage_names use_mask_token".split()
    )

    mlp_ratio: float = 4
    qkv_bias: bool = True
    layer_norm_eps: float = 1e-6
    patch_size: int | list[int] = 14
    layerscale_value: float = 1.0
    drop_path_rate: float = 0.0  # of training, which a join leaves out; kept for who trains elsewhere
    use_swiglu_ffn: bool = False

    def to_dict(self) -> dict[str, Any]:
        """What goes into a config.json; without the token for hidden patches, which no join reads or saves."""
        return {**super().to_dict(), "use_mask_token": False}


def read(config: Dinov2Config) -> StackSpec:
    """ViT's facts, with scales; a gated feed-forward is narrower, in multiples of eight."""
    ffn = int(config.hidden_size * config.mlp_ratio)
    return patch_stack(
        config,
        patches(config, resizes=True),
        ffn=(int(ffn * 2 / 3) + 7) // 8 * 8 if config.use_swiglu_ffn else ffn,
        gated=config.use_swiglu_ffn,
        activation="silu" if config.use_swiglu_ffn else config.hidden_act,
        layer_scale=config.layerscale_value,
        dropout=0.0,
        biases=qkv(config),
    )


BODY = (
    *vit_rows.EMBEDDINGS,
    *vit_rows.ATTENTION,
    *table(
        "layers.{}.",
        vit_rows.LAYER,
        "attention_norm=norm1 ffn_norm=norm2 attention_scale:=layer_scale1.lambda1 ffn_scale:=layer_scale2.lambda1",
    ),
    *table("layers.{}.ffn.", vit_rows.LAYER + "mlp.", "gate+up=weights_in down=weights_out", beside="gate"),
    *table("layers.{}.ffn.", vit_rows.LAYER + "mlp.", "up=fc1 down=fc2", without="gate"),
)

DINOV2 = vit_rows.image_family(Dinov2Config, "Dinov2", read, BODY, vit_rows.PROJECTIONS)
FAMILIES = (DINOV2,)
