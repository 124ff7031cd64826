"""DeiT (https://arxiv.org/abs/2012.12877): a ViT with a second learned token."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families.shared.patch_stack import patch_stack, qkv
from conjoin.families.shared.patches import patches
from conjoin.families.shared.vit_rows import BODY, NAMES, image_family
from conjoin.families.vit import ViTConfig
from conjoin.spec import StackSpec

__all__ = ["DEIT", "FAMILIES", "DeiTConfig"]


@config_class
@dataclass(kw_only=True)
class DeiTConfig(ViTConfig):
    """Sizes and settings of a DeiT, with transformers' names and defaults: a ViT's."""

    model_type: ClassVar[str] = "deit"


def read(config: DeiTConfig) -> StackSpec:
    """The facts of a DeiT."""
    return patch_stack(config, patches(config, marks=2), biases=qkv(config))


DEIT = image_family(DeiTConfig, "DeiT", read, BODY, NAMES)
FAMILIES = (DEIT,)
