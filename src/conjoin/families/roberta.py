"""RoBERTa (https://arxiv.org/abs/1907.11692): BERT with positions counted from pad + 1, and a head of its own name."""

from dataclasses import dataclass, replace
from typing import ClassVar

from conjoin.config import ModelConfig, config_class
from conjoin.families import bert
from conjoin.spec import Family, Role, StackSpec, linear, norm, rooted, row

__all__ = ["ROBERTA", "RobertaConfig"]


@config_class
@dataclass(kw_only=True)
class RobertaConfig(ModelConfig):
    """Sizes and settings of a RoBERTa, with transformers' names and defaults."""

    model_type: ClassVar[str] = "roberta"
    irrelevant: ClassVar[frozenset[str]] = frozenset({"classifier_dropout"})
    only: ClassVar[dict[str, tuple[object, ...]]] = {"position_embedding_type": ("absolute", None)}

    vocab_size: int = 50265
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int | None = 1
    bos_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 2


def read(config: RobertaConfig) -> StackSpec:
    """BERT's facts, with positions that skip padding, and a head that knows one activation."""
    pad = 1 if config.pad_token_id is None else config.pad_token_id
    return replace(bert.read(config), position_offset=pad + 1, position_pad=pad, head_activation="gelu")  # type: ignore[arg-type]


HEAD = rooted(
    (
        *linear("head.dense", "lm_head.dense"),
        *norm("head.norm", "lm_head.layer_norm"),
        # Where the head is untied, transformers 5 adds `decoder.bias` and leaves `bias` unused.
        row("head.bias", "lm_head.bias", also=("lm_head.decoder.bias",), untied="lm_head.decoder.bias"),
        row("output.weight", "lm_head.decoder.weight"),
    )
)

ROBERTA = Family(
    config=RobertaConfig,
    old_names=bert.OLD_NAMES,
    encoder=Role(
        architecture="RobertaModel",
        read=read,
        rows=bert.BODY,
        prefixes=("", "roberta."),
        irrelevant=(*bert.BUFFERS, r"^lm_head\.", r"\.crossattention\.", r"^(classifier|qa_outputs)\."),
    ),
    decoder=Role(
        architecture="RobertaForCausalLM",
        read=read,
        rows=(*bert.BODY, *bert.CROSS, *HEAD),
        prefixes=("roberta.", ""),
        irrelevant=(*bert.BUFFERS, r"^lm_head\.decoder\.", r"^(classifier|qa_outputs)\."),
    ),
)
