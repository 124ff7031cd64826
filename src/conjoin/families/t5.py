"""T5 (https://arxiv.org/abs/1910.10683) and its relatives: each half of them, with relative positions and RMS norms."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Self

from conjoin.config import ModelConfig, config_class
from conjoin.errors import ConfigError
from conjoin.spec import Family, Relative, Role, RoleName, Row, StackSpec, row, stack, table

__all__ = ["FAMILIES", "LongT5Config", "MT5Config", "T5Config", "UMT5Config"]


@config_class
@dataclass(kw_only=True)
class T5Config(ModelConfig):
    """Sizes and settings of a T5, with transformers' names and defaults.

    `tie_word_embeddings` tells T5 1.0, which scales its logits, from 1.1, which has an output embedding of its own.
    """

    model_type: ClassVar[str] = "t5"
    attribute_map: ClassVar[dict[str, str]] = {
        "hidden_size": "d_model",
        "head_dim": "d_kv",
        "intermediate_size": "d_ff",
        "num_attention_heads": "num_heads",
        "num_hidden_layers": "num_layers",
    }
    irrelevant: ClassVar[frozenset[str]] = frozenset(
        "classifier_dropout n_positions output_past scalable_attention".split()
    )
    unless_none: ClassVar[tuple[str, ...]] = ("dense_act_fn", "is_gated_act")
    whole: ClassVar[bool] = True

    vocab_size: int = 32128
    d_model: int = 512
    d_kv: int = 64
    d_ff: int = 2048
    num_layers: int = 6
    num_decoder_layers: int | None = None
    num_heads: int = 8
    relative_attention_num_buckets: int = 32
    relative_attention_max_distance: int = 128
    dropout_rate: float = 0.1
    layer_norm_epsilon: float = 1e-6
    feed_forward_proj: str = "relu"
    dense_act_fn: str | None = None  # these two: what feed_forward_proj says, unless they are given
    is_gated_act: bool | None = None
    pad_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 1
    is_encoder_decoder: bool = True
    decoder_start_token_id: int | None = 0

    def by_role(self, role: RoleName, name: str) -> str:
        """`num_hidden_layers` means those of the side that is used."""
        return "num_decoder_layers" if (role, name) == ("decoder", "num_hidden_layers") else name

    def of_side(self, role: RoleName) -> Self:
        """A decoder that does not say how many layers it has, has as many as the encoder."""
        return self.copy(num_decoder_layers=self.num_decoder_layers or self.num_layers)

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        """As of any config; transformers 5 calls T5 1.1 tied, and tells it by `scale_decoder_outputs`."""
        fields = dict(found)
        if fields.pop("scale_decoder_outputs", True) is False:
            fields["tie_word_embeddings"] = False
        return super().from_dict(fields)


@config_class
@dataclass(kw_only=True)
class MT5Config(T5Config):
    """mT5 (https://arxiv.org/abs/2010.11934): a T5 1.1, whatever its config says of ties."""

    model_type: ClassVar[str] = "mt5"

    vocab_size: int = 250112
    d_ff: int = 1024
    num_layers: int = 8
    num_heads: int = 6
    feed_forward_proj: str = "gated-gelu"

    def to_dict(self) -> dict[str, Any]:
        """As of any config; transformers 5 calls every mT5 tied and never scales its logits, 4 scales where it is tied."""
        return {**super().to_dict(), "tie_word_embeddings": False}


@config_class
@dataclass(kw_only=True)
class UMT5Config(T5Config):
    """umT5 (https://arxiv.org/abs/2304.09151): an mT5 with a table of distances in every layer."""

    model_type: ClassVar[str] = "umt5"

    vocab_size: int = 250112
    d_ff: int = 1024
    num_layers: int = 8
    num_heads: int = 6
    feed_forward_proj: str = "gated-gelu"


@config_class
@dataclass(kw_only=True)
class LongT5Config(T5Config):
    """LongT5 (https://arxiv.org/abs/2112.07916): a T5 whose encoder sees only what is near."""

    model_type: ClassVar[str] = "longt5"
    irrelevant: ClassVar[frozenset[str]] = T5Config.irrelevant | {"global_block_size"}

    local_radius: int = 127
    encoder_attention_type: str = "local"


def read(config: T5Config, role: RoleName, each_layer: bool = False) -> StackSpec:
    """The facts of one side; `each_layer` for a table of distances in each."""
    decoder = role == "decoder"
    kind, _, activation = config.feed_forward_proj.rpartition("-")
    gelu = "gelu_new" if config.feed_forward_proj == "gated-gelu" else activation
    return stack(
        config,
        layers=(decoder and config.num_decoder_layers) or config.num_layers,
        head_size=config.d_kv,
        score_scale=1.0,
        relative=Relative(config.relative_attention_num_buckets, config.relative_attention_max_distance, each_layer),
        activation=config.dense_act_fn or gelu,
        gated=kind == "gated" if config.is_gated_act is None else config.is_gated_act,
        norm="rms",
        norm_eps=config.layer_norm_epsilon,
        norms="pre",
        final_norm=True,
        biases=frozenset(),
        dropout=config.dropout_rate,
        embed_dropout=config.dropout_rate,
        attention_dropout=config.dropout_rate,
        activation_dropout=config.dropout_rate,
        head="plain" if decoder else "none",
        logit_scale=config.d_model**-0.5 if config.tie_word_embeddings else 1.0,
        initializer_range=0.02,
    )


def read_mt5(config: MT5Config, role: RoleName) -> StackSpec:
    """T5's facts, of its version 1.1."""
    return replace(read(config, role), logit_scale=1.0, tied=False)


def read_umt5(config: UMT5Config, role: RoleName) -> StackSpec:
    """T5's facts with a table a layer; files have an output embedding of their own whether logits are scaled or not."""
    return replace(read(config, role, each_layer=True), tied=False)


def read_longt5(config: LongT5Config, role: RoleName) -> StackSpec:
    """T5's facts; in the encoder with a reach. Raises ConfigError for an encoder that sums up blocks."""
    spec = read(config, role)
    if role == "decoder":
        return spec
    if config.encoder_attention_type != "local":
        raise ConfigError(
            f"longt5: \"encoder_attention_type\" is {config.encoder_attention_type!r}; only 'local' is implemented for the "
            f"encoder. The decoder of such a checkpoint can be used."
        )
    return replace(spec, reaches=(config.local_radius,) * spec.layers)


def rows(attention: str, feed_forward: int, each_layer: bool = False) -> tuple[Row, ...]:
    """A side's rows: what its self-attention is called, and which of a layer's parts is the feed-forward."""
    own, up = f"layer.0.{attention}.", f"layer.{feed_forward}.DenseReluDense"
    distances = f"block.{{}}.{own}" if each_layer else f"block.0.{own}"
    return (
        row("embed.token.weight", "shared.weight", rooted=True, also=COPIES),
        row("relative.{}.weight" if each_layer else "relative.0.weight", f"{distances}relative_attention_bias.weight"),
        *table("", "", "norm=final_layer_norm"),
        *table(
            "layers.{}.",
            "block.{}.",
            f"attention.q={own}q attention.k={own}k attention.v={own}v attention.o={own}o "
            f"attention_norm=layer.0.layer_norm ffn.gate={up}.wi_0 ffn.down={up}.wo "
            f"ffn_norm=layer.{feed_forward}.layer_norm",
        ),
        *table("layers.{}.", "block.{}.", f"ffn.up={up}.wi_1", beside="gate"),
        *table("layers.{}.", "block.{}.", f"ffn.up={up}.wi", without="gate"),
    )


COPIES = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "transformer.shared.weight")
CROSS = table(
    "layers.{}.cross",
    "block.{}.layer.1.",
    ".q=EncDecAttention.q .k=EncDecAttention.k .v=EncDecAttention.v .o=EncDecAttention.o _norm=layer_norm "
    "_gate:=EncDecAttention.gate",
)
HEAD = row("output.weight", "lm_head.weight", rooted=True, also=("shared.weight", *COPIES))
OTHERS = (r"^(shared|encoder\.embed_tokens|decoder\.embed_tokens|lm_head)\.weight$",)
TASKS = (r"^(transformer\.)?decoder\.", r"^(classifier|classification_head|qa_outputs)\.")


def family(
    config: type[Any], name: str, read: Any, attention: str = "SelfAttention", each_layer: bool = False
) -> Family:
    """A family of this kind, transformers' classes of which begin with `name`; `attention` is its encoder's."""
    return Family(
        config=config,
        encoder=Role(
            f"{name}EncoderModel",
            partial(read, role="encoder"),
            rows(attention, 1, each_layer),
            ("encoder.", "transformer.encoder."),
            (*OTHERS, *TASKS),
        ),
        decoder=Role(
            f"{name}ForConditionalGeneration",
            partial(read, role="decoder"),
            (*rows("SelfAttention", 2, each_layer), *CROSS, HEAD),
            ("decoder.",),
            (*OTHERS, r"^encoder\.", r"\.EncDecAttention\.relative_attention_bias\.weight$"),
            "trained",
        ),
    )


FAMILIES = (
    family(T5Config, "T5", read),
    family(MT5Config, "MT5", read_mt5),
    family(UMT5Config, "UMT5", read_umt5, each_layer=True),
    family(LongT5Config, "LongT5", read_longt5, "LocalSelfAttention"),
)
