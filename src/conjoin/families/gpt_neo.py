"""GPT-Neo: GPT-2 with scores as they are, and a window in every other layer (https://doi.org/10.5281/zenodo.5297715)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from conjoin.config import ModelConfig, config_class
from conjoin.errors import ConfigError
from conjoin.families.causal import causal_family, cross_rows
from conjoin.families.windows import reach
from conjoin.spec import BIASES, StackSpec, stack, table

__all__ = ["FAMILIES", "GPT_NEO", "GPTNeoConfig"]


@config_class
@dataclass(kw_only=True)
class GPTNeoConfig(ModelConfig):
    """Sizes and settings of a GPT-Neo, with transformers' names and defaults."""

    model_type: ClassVar[str] = "gpt_neo"
    attribute_map: ClassVar[dict[str, str]] = {"num_attention_heads": "num_heads", "num_hidden_layers": "num_layers"}
    irrelevant: ClassVar[frozenset[str]] = frozenset(
        "attention_layers classifier_dropout summary_activation summary_first_dropout summary_proj_to_labels "
        "summary_type summary_use_proj".split()  # attention_types says the same as attention_layers
    )

    vocab_size: int = 50257
    max_position_embeddings: int = 2048
    hidden_size: int = 2048
    num_layers: int = 24
    attention_types: list[list[Any]] | None = None  # of layers, and how many times over; None: global and local in turn
    num_heads: int = 16
    intermediate_size: int | None = None
    window_size: int = 256
    activation_function: str = "gelu_new"
    resid_dropout: float = 0.0
    embed_dropout: float = 0.0
    attention_dropout: float = 0.0
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02
    bos_token_id: int | None = 50256
    eos_token_id: int | list[int] | None = 50256

    def types(self) -> list[str]:
        """The type of each layer. Raises ConfigError for one that is not known, or where there are too few."""
        given: list[list[Any]] = (
            [[["global", "local"], self.num_layers]] if self.attention_types is None else self.attention_types
        )
        found = [kind for kinds, times in given for _ in range(times) for kind in kinds]
        if len(found) < self.num_layers or not {"global", "local"}.issuperset(found):
            raise ConfigError(
                f'gpt_neo: "attention_types" is {given!r}; "global" or "local" was expected for each of '
                f"{self.num_layers} layers."
            )
        return found[: self.num_layers]

    def of_layers(self, layers: Sequence[int]) -> dict[str, Any]:
        """The types go along with their layers."""
        types = self.types()
        return {"attention_types": [[[types[i] for i in layers], 1]]}

    def to_dict(self) -> dict[str, Any]:
        """With the types written out."""
        return {**super().to_dict(), "attention_types": [[self.types(), 1]]}


def read(config: GPTNeoConfig) -> StackSpec:
    """GPT-Neo's facts; causal on either side."""
    return stack(
        config,
        ffn=config.intermediate_size or 4 * config.hidden_size,
        positions=config.max_position_embeddings,
        reaches=tuple(reach(config.window_size) if kind == "local" else None for kind in config.types()),
        score_scale=1.0,
        activation=config.activation_function,
        norm_eps=config.layer_norm_epsilon,
        norms="pre",
        final_norm=True,
        biases=BIASES - frozenset("qkv"),
        causal=True,
        dropout=config.resid_dropout,
        embed_dropout=config.embed_dropout,
        attention_dropout=config.attention_dropout,
        head="plain" if config.is_decoder else "none",
    )


LAYER = "h.{}."
BODY = (
    *table("", "", "embed.token=wte embed.position=wpe norm=ln_f"),
    *table(
        "layers.{}.",
        LAYER,
        "attention.q=attn.attention.q_proj attention.k=attn.attention.k_proj attention.v=attn.attention.v_proj "
        "attention.o=attn.attention.out_proj attention_norm=ln_1 ffn_norm=ln_2 ffn.up=mlp.c_fc ffn.down=mlp.c_proj",
    ),
)
BUFFERS = (r"\.attn\.attention\.(bias|masked_bias)$",)

GPT_NEO = causal_family(
    GPTNeoConfig, "GPTNeo", read, BODY, cross=cross_rows(LAYER), prefix="transformer.", buffers=BUFFERS
)
FAMILIES = (GPT_NEO,)
