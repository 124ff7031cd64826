"""ViT (https://arxiv.org/abs/2010.11929) and DeiT (https://arxiv.org/abs/2012.12877): encoders of images, in patches."""

from dataclasses import dataclass
from typing import Any, ClassVar

from conjoin.config import ModelConfig, config_class
from conjoin.errors import ConfigError
from conjoin.senses import Patches
from conjoin.spec import BIASES, Family, Role, StackSpec, row, stack, table

__all__ = ["DEIT", "FAMILIES", "VIT", "DeiTConfig", "ViTConfig"]


@config_class
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


@config_class
@dataclass(kw_only=True)
class ViTConfig(PatchConfig):
    """Sizes and settings of a ViT, with transformers' names and defaults."""

    model_type: ClassVar[str] = "vit"
    irrelevant: ClassVar[frozenset[str]] = frozenset({"encoder_stride", "pooler_act", "pooler_output_size"})

    intermediate_size: int = 3072
    qkv_bias: bool = True


@config_class
@dataclass(kw_only=True)
class DeiTConfig(ViTConfig):
    """Sizes and settings of a DeiT: a ViT's."""

    model_type: ClassVar[str] = "deit"


def pair(config: Any, name: str) -> tuple[int, int]:
    """Height and width, of one number or two. Raises ConfigError for what is neither."""
    given = getattr(config, name)
    found = tuple(given) if isinstance(given, list | tuple) else (given, given)
    if len(found) != 2 or any(type(n) is not int or n < 1 for n in found):
        raise ConfigError(f'{config.model_type}: "{name}" is {given!r}; a whole number above 0, or two, was expected.')
    return found[0], found[1]


def patches(config: Any, marks: int = 1, *, resizes: bool = False) -> Patches:
    """What stands before the stack. Raises ConfigError for patches larger than the image."""
    image, patch = pair(config, "image_size"), pair(config, "patch_size")
    if patch[0] > image[0] or patch[1] > image[1]:
        raise ConfigError(f"{config.model_type}: patches of {patch} do not fit into an image of {image} pixels.")
    if resizes and image[0] // patch[0] != image[1] // patch[1]:
        raise ConfigError(
            f'{config.model_type}: "image_size" {config.image_size!r} in patches of {patch} is no square of patches; only '
            f"squares are implemented."
        )
    return Patches(channels=config.num_channels, image=image, patch=patch, marks=marks, resizes=resizes)


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


def read(config: ViTConfig, marks: int = 1) -> StackSpec:
    """The facts of a ViT, or with two learned tokens of a DeiT."""
    return patch_stack(config, patches(config, marks), biases=qkv(config))


LAYER = "encoder.layer.{}."
EMBEDDINGS = (
    row("embed.marks.0.weight", "embeddings.cls_token", row_vector=True),
    row("embed.marks.1.weight", "embeddings.distillation_token", row_vector=True),
    row("embed.position.weight", "embeddings.position_embeddings", row_vector=True),
    *table("embed.", "embeddings.", "patch=patch_embeddings.projection"),
    *table("", "", "norm=layernorm"),
)
ATTENTION = table(
    "layers.{}.attention.",
    LAYER + "attention.",
    "q=attention.query k=attention.key v=attention.value o=output.dense",
)
BODY = (
    *EMBEDDINGS,
    *ATTENTION,
    *table(
        "layers.{}.",
        LAYER,
        "attention_norm=layernorm_before ffn_norm=layernorm_after ffn.up=intermediate.dense ffn.down=output.dense",
    ),
)
# As transformers 5 calls them, where it is asked not to save the names of old.
PROJECTIONS = {
    r"attention\.q_proj\.": "attention.attention.query.",
    r"attention\.k_proj\.": "attention.attention.key.",
    r"attention\.v_proj\.": "attention.attention.value.",
    r"attention\.o_proj\.": "attention.output.dense.",
}
NAMES = {
    r"^(\w+\.)?layers\.(\d+)\.": r"\1encoder.layer.\2.",
    **PROJECTIONS,
    r"mlp\.fc1\.": "intermediate.dense.",
    r"mlp\.fc2\.": "output.dense.",
}
OTHERS = (r"^(\w+\.)?pooler\.", r"mask_token$", r"^(\w*classifier|decoder|lm_head)\.")


def image_family(
    config: type[Any], name: str, read: Any, body: Any, names: Any, others: tuple[str, ...] = ()
) -> Family:
    """A family of this kind, transformers' classes of which begin with `name`."""
    role = Role(f"{name}Model", read, body, ("", f"{config.model_type}."), (*OTHERS, *others))
    return Family(config=config, old_names=names, encoder=role)


VIT = image_family(ViTConfig, "ViT", read, BODY, NAMES)
DEIT = image_family(DeiTConfig, "DeiT", lambda config: read(config, 2), BODY, NAMES)
FAMILIES = (VIT, DEIT)
