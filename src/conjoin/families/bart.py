"""BART (https://arxiv.org/abs/1910.13461): its encoder, or its decoder with the cross-attention it was trained with."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from conjoin.config import ModelConfig, config_class
from conjoin.spec import Family, Role, RoleName, Row, StackSpec, row, stack, table

__all__ = ["BART", "FAMILIES", "BartConfig"]


@config_class
@dataclass(kw_only=True)
class BartConfig(ModelConfig):
    """Sizes and settings of a BART, with transformers' names and defaults."""

    model_type: ClassVar[str] = "bart"
    attribute_map: ClassVar[dict[str, str]] = {"hidden_size": "d_model"}
    irrelevant: ClassVar[frozenset[str]] = frozenset(
        "classifier_dropout classif_dropout num_hidden_layers extra_pos_embeddings force_bos_token_to_be_generated "
        "output_past replacing_rate save_step student_decoder_layers student_encoder_layers".split()
    )
    only: ClassVar[dict[str, tuple[object, ...]]] = {
        "add_bias_logits": (False,),
        "add_final_layer_norm": (False,),
        "decoder_layerdrop": (0, 0.0),
        "encoder_layerdrop": (0, 0.0),
        "normalize_before": (False,),
        "normalize_embedding": (True,),
        "static_position_embeddings": (False,),
    }

    vocab_size: int = 50265
    max_position_embeddings: int = 1024
    encoder_layers: int = 12
    encoder_ffn_dim: int = 4096
    encoder_attention_heads: int = 16
    decoder_layers: int = 12
    decoder_ffn_dim: int = 4096
    decoder_attention_heads: int = 16
    activation_function: str = "gelu"
    d_model: int = 1024
    dropout: float = 0.1
    attention_dropout: float = 0.0
    activation_dropout: float = 0.0
    init_std: float = 0.02
    scale_embedding: bool = False
    pad_token_id: int | None = 1
    bos_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 2
    is_encoder_decoder: bool = True
    decoder_start_token_id: int | None = 2
    forced_eos_token_id: int | list[int] | None = 2

    def by_role(self, role: RoleName, name: str) -> str:
        """`num_hidden_layers` and `num_attention_heads` mean those of the side that is used."""
        sided = {"num_hidden_layers": "layers", "num_attention_heads": "attention_heads"}
        return f"{role}_{sided[name]}" if name in sided else name


def read(config: Any, role: RoleName, **facts: Any) -> StackSpec:
    """The facts of one side, but for those in which a relative of BART's differs."""
    decoder = role == "decoder"
    own = {
        "layers": config.decoder_layers if decoder else config.encoder_layers,
        "heads": config.decoder_attention_heads if decoder else config.encoder_attention_heads,
        "ffn": config.decoder_ffn_dim if decoder else config.encoder_ffn_dim,
        "positions": config.max_position_embeddings + 2,
        "position_offset": 2,
        "activation": config.activation_function,
        "norm_eps": 1e-5,
        "embed_norm": True,
        "embed_scale": config.d_model**0.5 if config.scale_embedding else 1.0,
        "dropout": config.dropout,
        "embed_dropout": config.dropout,
        "attention_dropout": config.attention_dropout,
        "activation_dropout": config.activation_dropout,
        "head": "plain" if decoder else "none",
        "head_bias": "fixed" if decoder else "none",
        "initializer_range": config.init_std,
    }
    return stack(config, **{**own, **facts})


SHARED = ("model.shared.weight", "shared.weight")
TOKEN = row("embed.token.weight", "embed_tokens.weight", also=SHARED)
LAYERS = table(
    "layers.{}.",
    "layers.{}.",
    "attention.q=self_attn.q_proj attention.k=self_attn.k_proj attention.v=self_attn.v_proj "
    "attention.o=self_attn.out_proj attention_norm=self_attn_layer_norm "
    "ffn.up=fc1 ffn.down=fc2 ffn_norm=final_layer_norm",
)
BODY = (TOKEN, *table("embed.", "", "position=embed_positions norm=layernorm_embedding"), *LAYERS)
CROSS = table(
    "layers.{}.cross",
    "layers.{}.encoder_attn",
    ".q=.q_proj .k=.k_proj .v=.v_proj .o=.out_proj _norm=_layer_norm _gate:=.gate",
)
HEAD = (
    row("output.weight", "lm_head.weight", rooted=True, also=SHARED),
    row("head.bias", "final_logits_bias", rooted=True, optional=True, row_vector=True),
)
OTHERS = (r"^(model\.)?shared\.", r"^classification_head\.")


def sided_family(
    config: type[Any],
    name: str,
    read: Callable[..., StackSpec],
    body: tuple[Row, ...] = BODY,
    *,
    alone: str = "ForCausalLM",
    head: tuple[Row, ...] = HEAD,
    buffers: tuple[str, ...] = (),
) -> Family:
    """BART or a relative, transformers' classes of which begin with `name`; `read` makes a spec of a config and a role."""
    return Family(
        config=config,
        encoder=Role(
            f"{name}Encoder",
            partial(read, role="encoder"),
            body,
            ("", "model.encoder.", "encoder."),
            (*OTHERS, *buffers, r"^(model\.)?decoder\.", r"^lm_head\.", r"^final_logits_bias$"),
        ),
        decoder=Role(
            f"{name}{alone}",
            partial(read, role="decoder"),
            (*body, *CROSS, *head),
            ("model.decoder.", "decoder.", ""),
            (*OTHERS, *buffers, r"^(model\.)?encoder\.", r"^lm_head\.weight$"),
            "trained",
        ),
    )


BART = sided_family(BartConfig, "Bart", read)
FAMILIES = (BART,)
