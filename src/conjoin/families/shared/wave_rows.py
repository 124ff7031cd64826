"""The names of tensors of encoders of sound waves, and how a family of their kind is made."""

from collections.abc import Callable
from typing import Any

from conjoin.families.shared.wave_stack import MOST
from conjoin.spec import Family, Role, StackSpec, row, table

__all__ = ["sound_family"]

CONV = "encoder.pos_conv_embed.conv."
NORM = "parametrizations.weight.original"
BODY = (
    *(
        one
        for i in range(MOST)
        for one in (
            *table("embed.", f"feature_extractor.conv_layers.{i}.", f"convs.{i}=conv conv_norms.{i}=layer_norm"),
            *table("adapter.convs.", "adapter.layers.", f"{i}={i}.conv"),
        )
    ),
    *table("embed.", "feature_projection.", "feature_norm=layer_norm project=projection"),
    row("embed.near.gain", f"{CONV}{NORM}0"),
    row("embed.near.weight", f"{CONV}{NORM}1"),
    row("embed.near.bias", f"{CONV}bias"),
    row("embed.stand_in", "masked_spec_embed", optional=True),
    *table("", "encoder.", "embed.norm=layer_norm norm=layer_norm"),
    *table("adapter.", "adapter.", "project=proj norm=proj_layer_norm"),
    *table(
        "layers.{}.",
        "encoder.layers.{}.",
        "attention.q=attention.q_proj attention.k=attention.k_proj attention.v=attention.v_proj "
        "attention.o=attention.out_proj attention_norm=layer_norm ffn_norm=final_layer_norm "
        "ffn.up=feed_forward.intermediate_dense ffn.down=feed_forward.output_dense",
    ),
)
OLD_NAMES = {
    r"pos_conv_embed\.conv\.weight_g$": f"pos_conv_embed.conv.{NORM}0",
    r"pos_conv_embed\.conv\.weight_v$": f"pos_conv_embed.conv.{NORM}1",
}
OTHERS = (r"^masked_spec_embed$", r"^(quantizer|project_hid|project_q|lm_head|projector|classifier)\.")


def sound_family(config: type[Any], name: str, read: Callable[[Any], StackSpec]) -> Family:
    """A family of this kind, transformers' classes of which begin with `name`."""
    role = Role(f"{name}Model", read, BODY, ("", f"{config.model_type}."), OTHERS)
    return Family(config=config, old_names=OLD_NAMES, encoder=role)
