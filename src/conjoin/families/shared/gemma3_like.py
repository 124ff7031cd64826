"""What both model types of Gemma 3 have in common: the facts, and a text model that may lie in a file of images' models."""

from dataclasses import replace
from typing import Any

from conjoin.errors import ConfigError
from conjoin.families.qwen3 import HEAD_NORMS
from conjoin.families.shared.llama_rows import gated_family
from conjoin.families.shared.sandwich import BODY, sandwich_stack
from conjoin.families.shared.windows import turns
from conjoin.spec import Family, Role, StackSpec

__all__ = ["gemma3_family"]


def read(config: Any) -> StackSpec:
    """The facts of a Gemma 3; those that see both ways are encoders."""
    if config.is_decoder and config.use_bidirectional_attention:
        raise ConfigError('gemma3_text: "use_bidirectional_attention" is true; such a model cannot be a decoder.')
    size = config.head_dim or config.hidden_size // config.num_attention_heads
    return sandwich_stack(
        config,
        rotary=turns(config, size, config.types()),
        causal=not config.use_bidirectional_attention,
        query_key_norm=True,
    )


IMAGES = (r"^(model\.)?(vision_tower|multi_modal_projector)\.", r"^language_model\.lm_head\.weight$")


def within_images(role: Role, architecture: str) -> Role:
    """The role, found in the file of a model that sees images, too."""
    prefixes = (*role.prefixes, "model.language_model.", "language_model.model.")
    return replace(role, architecture=architecture, prefixes=prefixes, irrelevant=(*role.irrelevant, *IMAGES))


def gemma3_family(config: type[Any]) -> Family:
    """Gemma 3 under a model type."""
    text = gated_family(config, "Gemma3Text", read, (*BODY, *HEAD_NORMS))
    return replace(
        text,
        encoder=text.encoder and within_images(text.encoder, "Gemma3TextModel"),
        decoder=text.decoder and within_images(text.decoder, "Gemma3ForCausalLM"),
    )
