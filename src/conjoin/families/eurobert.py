"""EuroBERT (https://arxiv.org/abs/2503.05500): an encoder, Llama's stack that sees both ways."""

from dataclasses import dataclass, replace
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families import llama
from conjoin.families.shared import causal, llama_rows
from conjoin.spec import Family, Role, StackSpec

__all__ = ["EUROBERT", "FAMILIES", "EuroBertConfig"]


@config_class
@dataclass(kw_only=True)
class EuroBertConfig(llama.LlamaConfig):
    """Sizes and settings of a EuroBERT, with transformers' names and defaults."""

    model_type: ClassVar[str] = "eurobert"
    irrelevant: ClassVar[frozenset[str]] = llama.LlamaConfig.irrelevant | frozenset(
        "pad_token mask_token mask_token_id classifier_pooling clf_pooling".split()
    )
    only: ClassVar[dict[str, tuple[object, ...]]] = {"hidden_dropout": (0.0,)}

    vocab_size: int = 128256
    hidden_size: int = 768
    intermediate_size: int = 3072
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    max_position_embeddings: int = 8192
    rms_norm_eps: float = 1e-5
    pad_token_id: int | None = 128001
    bos_token_id: int | None = 128000
    eos_token_id: int | list[int] | None = 128001


def read(config: EuroBertConfig) -> StackSpec:
    """Llama's facts, but for the causal mask."""
    return replace(llama.read(config), causal=False)


HEADS = (r"^lm_head\.", r"^dense\.", r"^classifier\.")

EUROBERT = Family(
    config=EuroBertConfig,
    encoder=Role("EuroBertModel", read, llama_rows.BODY, ("", "model."), (*causal.BUFFERS, *HEADS)),
)
FAMILIES = (EUROBERT,)
