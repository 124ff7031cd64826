"""ViT (https://arxiv.org/abs/2010.11929): an encoder of images, in patches."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families.shared.patch_stack import PatchConfig, patch_stack, qkv
from conjoin.families.shared.patches import patches
from conjoin.families.shared.vit_rows import BODY, NAMES, image_family
from conjoin.spec import StackSpec

__all__ = ["FAMILIES", "VIT", "ViTConfig"]


@config_class
@dataclass(kw_only=True)
class ViTConfig(PatchConfig):
    """Sizes and settings of a ViT, with transformers' names and defaults."""

    model_type: ClassVar[str] = "vit"
    irrelevant: ClassVar[frozenset[str]] = frozenset({"encoder_stride", "pooler_act", "pooler_output_size"})

    intermediate_size: int = 3072
    qkv_bias: bool = True


def read(config: ViTConfig) -> StackSpec:
    """The facts of a ViT."""
    return patch_stack(config, patches(config), biases=qkv(config))


VIT = image_family(ViTConfig, "ViT", read, BODY, NAMES)
FAMILIES = (VIT,)
