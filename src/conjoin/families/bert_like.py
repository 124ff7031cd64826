"""What is BERT but for a fact or a name: ERNIE and BERT for generation; and how every family of its kind is made."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from conjoin.config import config_class
from conjoin.families import bert
from conjoin.spec import Family, Role, Row, StackSpec, row

__all__ = ["BERT_GENERATION", "ERNIE", "FAMILIES", "BertGenerationConfig", "ErnieConfig", "bert_family"]


def bert_family(
    config: type[Any],
    encoder: str,
    decoder: str,
    prefix: str,
    read: Callable[[Any], StackSpec],
    *,
    body: tuple[Row, ...] = bert.BODY,
    cross: tuple[Row, ...] = bert.CROSS,
    head: tuple[Row, ...] = bert.HEAD,
    irrelevant: tuple[str, ...] = (),
) -> Family:
    """A family whose files are laid out as BERT's: transformers' classes of either side, and its prefix of the body."""
    others = (*bert.BUFFERS, bert.TASKS, *irrelevant)
    heads, tied = (r"^cls\.", r"^lm_head\."), (r"^cls\.seq_relationship\.", r"^(cls\.predictions|lm_head)\.decoder\.")
    return Family(
        config=config,
        old_names=bert.OLD_NAMES,
        encoder=Role(encoder, read, body, ("", prefix), (*others, *heads, r"\.crossattention\.")),
        decoder=Role(decoder, read, (*body, *cross, *head), (prefix, ""), (*others, *tied)),
    )


@config_class
@dataclass(kw_only=True)
class ErnieConfig(bert.BertConfig):
    """Sizes and settings of an ERNIE (https://arxiv.org/abs/1907.12412), with transformers' names and defaults."""

    model_type: ClassVar[str] = "ernie"

    task_type_vocab_size: int = 3
    use_task_id: bool = False


def read_ernie(config: ErnieConfig) -> StackSpec:
    """BERT's facts, and a table of tasks, of which a join knows the first."""
    return replace(bert.read(config), task_types=config.task_type_vocab_size if config.use_task_id else 0)


@config_class
@dataclass(kw_only=True)
class BertGenerationConfig(bert.BertConfig):
    """Sizes and settings of a BERT for generation (https://arxiv.org/abs/1907.12461), with transformers' defaults."""

    model_type: ClassVar[str] = "bert-generation"

    vocab_size: int = 50358
    hidden_size: int = 1024
    num_hidden_layers: int = 24
    num_attention_heads: int = 16
    intermediate_size: int = 4096
    type_vocab_size: int = 0
    bos_token_id: int | None = 2
    eos_token_id: int | list[int] | None = 1


def read_generation(config: BertGenerationConfig) -> StackSpec:
    """BERT's facts without token types, and with nothing between the last state and the output embedding."""
    return replace(bert.read(config), types=0, head="plain" if config.is_decoder else "none")


GENERATION_HEAD = (
    row("head.bias", "lm_head.bias", rooted=True, untied="lm_head.decoder.bias"),
    row("output.weight", "lm_head.decoder.weight", rooted=True),
)

ERNIE = bert_family(
    ErnieConfig,
    "ErnieModel",
    "ErnieForCausalLM",
    "ernie.",
    read_ernie,
    body=(*bert.BODY, row("embed.task.weight", "embeddings.task_type_embeddings.weight")),
)
BERT_GENERATION = bert_family(
    BertGenerationConfig,
    "BertGenerationEncoder",
    "BertGenerationDecoder",
    "bert.",
    read_generation,
    head=GENERATION_HEAD,
)
FAMILIES = (ERNIE, BERT_GENERATION)
