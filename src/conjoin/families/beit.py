"""BEiT (https://arxiv.org/abs/2106.08254): a ViT whose patches know their distances, with scaled sublayers."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families.shared import vit_rows
from conjoin.families.shared.patch_stack import PatchConfig, patch_stack
from conjoin.families.shared.patches import patches
from conjoin.senses import Window
from conjoin.spec import BIASES, StackSpec, row, table

__all__ = ["BEIT", "FAMILIES", "BeitConfig"]


@config_class
@dataclass(kw_only=True)
class BeitConfig(PatchConfig):
    """Sizes and settings of a BEiT, with transformers' names and defaults."""

    model_type: ClassVar[str] = "beit"
    irrelevant: ClassVar[frozenset[str]] = frozenset(
        "add_fpn auxiliary_channels auxiliary_concat_input auxiliary_loss_weight auxiliary_num_convs out_features "
        "out_indices pool_scales reshape_hidden_states segmentation_indices semantic_loss_ignore_index stage_names "
        "use_auxiliary_head use_mask_token vocab_size".split()
    )

    intermediate_size: int = 3072
    use_absolute_position_embeddings: bool = False
    use_relative_position_bias: bool = False
    use_shared_relative_position_bias: bool = False
    layer_scale_init_value: float = 0.1
    drop_path_rate: float = 0.1  # of training, which a join leaves out; kept for who trains elsewhere
    use_mean_pooling: bool = True


def read(config: BeitConfig) -> StackSpec:
    """ViT's facts, without positions, with windows and scales; images of other sizes are read too."""
    front = patches(config, resizes=True)
    own, shared = config.use_relative_position_bias, config.use_shared_relative_position_bias
    more = {} if config.use_absolute_position_embeddings else {"positions": 0}
    return patch_stack(
        config,
        front,
        biases=BIASES - {"k"},
        window=Window(size=front.grid(*front.image), own=own, shared=shared) if own or shared else None,
        layer_scale=config.layer_scale_init_value or None,
        final_norm=not config.use_mean_pooling,
        **more,
    )


TABLE = "relative_position_bias.relative_position_bias_table"
BODY = (
    *vit_rows.BODY,
    *table("layers.{}.", vit_rows.LAYER, "attention_scale:=lambda_1 ffn_scale:=lambda_2"),
    row("layers.{}.window.weight", f"{vit_rows.LAYER}attention.attention.{TABLE}"),
    row("window.weight", f"encoder.{TABLE}"),
)
NAMES = {
    **vit_rows.NAMES,
    r"shared_position_bias\.": "encoder.relative_position_bias.",
    r"(encoder\.layer\.\d+)\.relative_position_bias\.": r"\1.attention.attention.relative_position_bias.",
}
OTHERS = (r"relative_position_index$", r"^layernorm\.")

BEIT = vit_rows.image_family(BeitConfig, "Beit", read, BODY, NAMES, OTHERS)
FAMILIES = (BEIT,)
