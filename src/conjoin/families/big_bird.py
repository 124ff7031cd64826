"""BigBird (https://arxiv.org/abs/2007.14062): BERT with attention to some blocks of tokens."""

from dataclasses import dataclass, replace
from typing import ClassVar

from conjoin.config import config_class
from conjoin.errors import ConfigError
from conjoin.families import bert
from conjoin.families.shared.bert_like import bert_encoder
from conjoin.families.shared.bert_positions import ABSOLUTE
from conjoin.families.shared.bert_rows import TASKS
from conjoin.spec import BIASES, BlockSparse, StackSpec

__all__ = ["BIG_BIRD", "FAMILIES", "BigBirdConfig"]


@config_class
@dataclass(kw_only=True)
class BigBirdConfig(bert.BertConfig):
    """Sizes and settings of a BigBird, with transformers' names and defaults."""

    model_type: ClassVar[str] = "big_bird"
    place_kinds: ClassVar[tuple[str, ...]] = ABSOLUTE

    vocab_size: int = 50358
    hidden_act: str = "gelu_new"
    max_position_embeddings: int = 4096
    attention_type: str = "block_sparse"
    block_size: int = 64
    num_random_blocks: int = 3
    use_bias: bool = True
    rescale_embeddings: bool = False
    bos_token_id: int | None = 1
    eos_token_id: int | list[int] | None = 2


def read(config: BigBirdConfig) -> StackSpec:
    """The facts of an encoder. Raises ConfigError for an attention that is not known."""
    if config.attention_type not in ("original_full", "block_sparse"):
        raise ConfigError(
            f'big_bird: "attention_type" is {config.attention_type!r}; "block_sparse" or "original_full" was expected.'
        )
    sparse = BlockSparse(config.block_size, config.num_random_blocks)
    return replace(
        bert.read(config),
        attention=sparse if config.attention_type == "block_sparse" else None,
        embed_scale=config.hidden_size**0.5 if config.rescale_embeddings else 1.0,
        biases=BIASES if config.use_bias else BIASES - set("qkv"),
    )


OTHERS = (r"^cls\.", r"\.crossattention\.", TASKS, r"^qa_classifier\.")

# No decoder: transformers' own has its self-attention read the source in the place of the target.
BIG_BIRD = bert_encoder(BigBirdConfig, "BigBirdModel", "bert.", read, irrelevant=OTHERS)
FAMILIES = (BIG_BIRD,)
