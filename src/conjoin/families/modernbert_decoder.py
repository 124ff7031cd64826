"""The decoder of ModernBERT (Ettin, https://arxiv.org/abs/2507.11412)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from conjoin.config import config_class
from conjoin.errors import ConfigError
from conjoin.families.modernbert import ModernBertConfig
from conjoin.families.shared.causal import cross_rows
from conjoin.families.shared.modernbert_like import BODY, HEADS, modernbert_stack
from conjoin.spec import Family, Role, StackSpec, row, table

__all__ = ["FAMILIES", "MODERNBERT_DECODER", "ModernBertDecoderConfig"]


@config_class
@dataclass(kw_only=True)
class ModernBertDecoderConfig(ModernBertConfig):
    """Sizes and settings of a ModernBERT decoder, with the names and defaults of transformers 4 and 5."""

    model_type: ClassVar[str] = "modernbert-decoder"
    irrelevant: ClassVar[frozenset[str]] = ModernBertConfig.irrelevant | {"sliding_window"}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        """Raises ConfigError, too, where the two keys for the window do not agree, since transformers reads one alone."""
        window, local = found.get("sliding_window"), found.get("local_attention", cls.local_attention)
        if local is not None and window is not None and window != local // 2:
            raise ConfigError(
                f'{cls.model_type}: "sliding_window" is {window} and "local_attention" {local} (the default where there is '
                f"none); half of it was expected. Set local_attention to {2 * window} if that is what was trained."
            )
        return super().from_dict(found)


def read(config: ModernBertDecoderConfig) -> StackSpec:
    """ModernBERT's facts with a causal mask, and a window in which a token counts itself."""
    spec = modernbert_stack(config)
    return replace(
        spec,
        causal=True,
        reaches=tuple(None if reach is None else reach - 1 for reach in spec.reaches),
        head="transform" if config.is_decoder else "none",
        head_activation=config.classifier_activation,
        head_bias="trained" if config.is_decoder and config.decoder_bias else "none",
    )


APART = table("layers.{}.attention.", "layers.{}.attn.", "q=q_proj k=k_proj v=v_proj")
HEAD = (
    *table("head.", "lm_head.", "dense=dense norm=norm", rooted=True),
    row("head.bias", "decoder.bias", rooted=True),
    row("output.weight", "decoder.weight", rooted=True),
)

MODERNBERT_DECODER = Family(
    config=ModernBertDecoderConfig,
    encoder=Role("ModernBertDecoderModel", read, (*BODY, *APART), ("", "model."), (*HEADS, r"\.cross_attn")),
    decoder=Role(
        "ModernBertDecoderForCausalLM",
        read,
        (*BODY, *APART, *cross_rows(), *HEAD),
        ("model.", ""),
        (r"^decoder\.weight$",),
        "new",
    ),
)
FAMILIES = (MODERNBERT_DECODER,)
