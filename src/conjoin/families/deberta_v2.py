"""DeBERTa-v2 and v3 (https://arxiv.org/abs/2111.09543): an encoder whose attention scores content and places apart."""

from dataclasses import dataclass
from typing import Any, ClassVar

from conjoin.config import config_class
from conjoin.errors import ConfigError
from conjoin.families import bert
from conjoin.spec import BIASES, Convolution, Disentangled, Family, Role, StackSpec, stack, table

__all__ = ["DEBERTA_V2", "FAMILIES", "DebertaV2Config"]


@config_class
@dataclass(kw_only=True)
class DebertaV2Config(bert.BertConfig):
    """Sizes and settings of a DeBERTa-v2 or v3, with transformers' names and defaults."""

    model_type: ClassVar[str] = "deberta-v2"
    irrelevant: ClassVar[frozenset[str]] = frozenset(
        "pooler_hidden_size pooler_dropout pooler_hidden_act legacy model_name padding_idx cls_dropout "
        "summary_type summary_activation summary_last_dropout".split()
    )
    only: ClassVar[dict[str, tuple[object, ...]]] = {"conv_groups": (1,), "talking_head": (False,)}
    unless_none: ClassVar[tuple[str, ...]] = ("attention_head_size", "conv_kernel_size", "embedding_size")

    vocab_size: int = 128100
    hidden_size: int = 1536
    num_hidden_layers: int = 24
    num_attention_heads: int = 24
    intermediate_size: int = 6144
    type_vocab_size: int = 0
    layer_norm_eps: float = 1e-7
    relative_attention: bool = False
    max_relative_positions: int | None = -1
    position_buckets: int | None = -1
    pos_att_type: str | list[str] | None = None  # "c2p" and "p2c", parted by "|" where they are one text
    share_att_key: bool = False
    norm_rel_ebd: str = "none"
    position_biased_input: bool = True
    attention_head_size: int | None = None
    embedding_size: int | None = None
    conv_kernel_size: int | None = None
    conv_act: str = "tanh"


def scored(config: Any) -> frozenset[str]:
    """Which scores of places there are. Raises ConfigError for those that are not known."""
    given = config.pos_att_type or ()
    kinds = frozenset(k.strip().lower() for k in (given.split("|") if isinstance(given, str) else given))
    if not kinds <= {"c2p", "p2c"}:
        raise ConfigError(f'{config.model_type}: "pos_att_type" is {given!r}; only "c2p" and "p2c" are implemented.')
    return kinds


def disentangled(config: Any, buckets: int, **facts: bool) -> Disentangled | None:
    """How places count in attention, where they do."""
    if not config.relative_attention:
        return None
    given, kinds = config.max_relative_positions or -1, scored(config)
    farthest = given if given > 0 else config.max_position_embeddings
    rows = 2 * (buckets if buckets > 0 else farthest)
    return Disentangled(rows, farthest, buckets > 0, "c2p" in kinds, "p2c" in kinds, **facts)


def read(config: Any, **facts: Any) -> StackSpec:
    """The facts of an encoder, with further ones."""
    size = config.hidden_size // config.num_attention_heads
    embedding = config.embedding_size or config.hidden_size
    common: dict[str, Any] = {
        "positions": config.max_position_embeddings if config.position_biased_input else 0,
        "limit": 0 if config.relative_attention else config.max_position_embeddings,
        "types": config.type_vocab_size,
        "embed_width": 0 if embedding == config.hidden_size else embedding,
        "embed_project": "sum",
        "embed_norm": True,
        "score_scale": (size * (1 + len(scored(config)))) ** -0.5,
        "activation": config.hidden_act,
        "norm_eps": config.layer_norm_eps,
        "dropout": config.hidden_dropout_prob,
        "embed_dropout": config.hidden_dropout_prob,
        "attention_dropout": config.attention_probs_dropout_prob,
        "biases": BIASES - {"embed"},
    }
    return stack(config, **{**common, **facts})


def read_v2(config: DebertaV2Config) -> StackSpec:
    """The facts of an encoder. Raises ConfigError for heads that are not the width, and for an even kernel."""
    size = config.hidden_size // config.num_attention_heads
    if config.attention_head_size not in (None, size):
        raise ConfigError(f'deberta-v2: "attention_head_size" is {config.attention_head_size}; {size} was expected.')
    kernel = config.conv_kernel_size or 0
    if kernel > 0 and kernel % 2 == 0:
        raise ConfigError(f'deberta-v2: "conv_kernel_size" is {kernel}; 0 or an odd number was expected.')
    norms = [one.strip().lower() for one in config.norm_rel_ebd.split("|")]
    normed, shared = "layer_norm" in norms, config.share_att_key
    return read(
        config,
        attention=disentangled(config, config.position_buckets or -1, shared=shared, norm=normed),
        convolution=Convolution(kernel, config.conv_act) if kernel > 0 else None,
    )


EMBEDDINGS = table(
    "embed.",
    "embeddings.",
    "token=word_embeddings position=position_embeddings segment=token_type_embeddings project=embed_proj norm=LayerNorm",
)
LAYER = table(
    "layers.{}.",
    bert.LAYER,
    "attention.o=attention.output.dense attention_norm=attention.output.LayerNorm "
    "ffn.up=intermediate.dense ffn.down=output.dense ffn_norm=output.LayerNorm",
)
BODY = (
    *EMBEDDINGS,
    *LAYER,
    *table(
        "layers.{}.attention.",
        bert.LAYER + "attention.self.",
        "q=query_proj k=key_proj v=value_proj c2p=pos_key_proj p2c=pos_query_proj",
    ),
    *table("shared.", "encoder.", "table=rel_embeddings norm=LayerNorm"),
    *table("layers.0.", "encoder.", "convolution=conv.conv convolution.norm=conv.LayerNorm"),
)
# Heads of transformers, and of the authors' own files; a table of positions that is not added.
OTHERS = (
    *bert.BUFFERS,
    r"^(cls|lm_predictions|mask_predictions)\.",
    r"embeddings\.position_embeddings\.",
    bert.TASKS,
)

DEBERTA_V2 = Family(
    config=DebertaV2Config,
    old_names=bert.OLD_NAMES,
    encoder=Role("DebertaV2Model", read_v2, BODY, ("", "deberta."), OTHERS),
)
FAMILIES = (DEBERTA_V2,)
