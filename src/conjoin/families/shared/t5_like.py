"""What T5 and its relatives have in common: the facts of a side, and how a family is made of both."""

from functools import partial
from typing import Any

from conjoin.families.shared.t5_rows import CROSS, HEAD, OTHERS, TASKS, attention_rows, body_rows, distance_rows
from conjoin.spec import Family, Relative, Role, RoleName, Row, StackSpec, stack

__all__ = ["t5_family", "t5_stack"]


def t5_stack(config: Any, role: RoleName, each_layer: bool = False) -> StackSpec:
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


def t5_family(
    config: type[Any], name: str, read: Any, each_layer: bool = False, attention: tuple[Row, ...] = ()
) -> Family:
    """A family of this kind, transformers' classes of which begin with `name`; `attention` is of an encoder unlike T5's."""
    distances = distance_rows("relative.{}" if each_layer else "relative.0", "SelfAttention")
    own = (*attention_rows("SelfAttention"), *distances)
    return Family(
        config=config,
        encoder=Role(
            f"{name}EncoderModel",
            partial(read, role="encoder"),
            (*body_rows(1), *(attention or own)),
            ("encoder.", "transformer.encoder."),
            (*OTHERS, *TASKS),
        ),
        decoder=Role(
            f"{name}ForConditionalGeneration",
            partial(read, role="decoder"),
            (*body_rows(2), *own, *CROSS, HEAD),
            ("decoder.",),
            (*OTHERS, r"^encoder\.", r"\.EncDecAttention\.relative_attention_bias\.weight$"),
            "trained",
        ),
    )
