"""ModernBERT (https://arxiv.org/abs/2412.13663), an encoder, and its decoder (Ettin, https://arxiv.org/abs/2507.11412)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from conjoin.config import config_class
from conjoin.errors import ConfigError
from conjoin.families import llama
from conjoin.families.rope import RopeConfig, rotary
from conjoin.spec import BIASES, Family, Role, StackSpec, row, stack, table

__all__ = ["FAMILIES", "MODERNBERT", "MODERNBERT_DECODER", "ModernBertConfig", "ModernBertDecoderConfig"]
FULL, SLIDING = "full_attention", "sliding_attention"


def every(step: int, layers: int) -> list[str]:
    """The kinds of layers where one in so many, the first included, sees all tokens."""
    return [SLIDING if i % step else FULL for i in range(layers)]


@config_class
@dataclass(kw_only=True)
class ModernBertConfig(RopeConfig):
    """Sizes and settings of a ModernBERT, with the names and defaults of transformers 4 and 5."""

    model_type: ClassVar[str] = "modernbert"
    irrelevant: ClassVar[frozenset[str]] = frozenset(
        "classifier_dropout classifier_pooling cls_token_id deterministic_flash_attn initializer_cutoff_factor "
        "layer_norm_eps reference_compile repad_logits_with_grad sparse_pred_ignore_index sparse_prediction".split()
    )
    only: ClassVar[dict[str, tuple[object, ...]]] = {"position_embedding_type": ("absolute", "rope", "sans_pos", None)}

    vocab_size: int = 50368
    hidden_size: int = 768
    intermediate_size: int = 1152
    num_hidden_layers: int = 22
    num_attention_heads: int = 12
    hidden_activation: str = "gelu"
    max_position_embeddings: int = 8192
    initializer_range: float = 0.02
    norm_eps: float = 1e-5
    norm_bias: bool = False
    attention_bias: bool = False
    attention_dropout: float = 0.0
    embedding_dropout: float = 0.0
    mlp_bias: bool = False
    mlp_dropout: float = 0.0
    local_attention: int = 128
    layer_types: list[str] | None = None
    global_attn_every_n_layers: int = 3
    global_rope_theta: float = 160000.0
    local_rope_theta: float = 10000.0
    decoder_bias: bool = True
    classifier_bias: bool = False
    classifier_activation: str = "gelu"
    pad_token_id: int | None = 50283
    bos_token_id: int | None = 50281
    eos_token_id: int | list[int] | None = 50282

    def kinds(self) -> list[str]:
        """What each layer sees. Raises ConfigError where the config does not say it of every layer."""
        if self.layer_types is None:
            return every(self.global_attn_every_n_layers, self.num_hidden_layers)
        found = self.layer_types[: self.num_hidden_layers]
        if len(found) < self.num_hidden_layers or not {FULL, SLIDING}.issuperset(found):
            raise ConfigError(
                f'{self.model_type}: "layer_types" is {self.layer_types!r}; "{FULL}" or "{SLIDING}" was expected for each '
                f"of the {self.num_hidden_layers} layers."
            )
        return found

    def keeping(self, layers: Sequence[int]) -> dict[str, Any]:
        """The kinds of the layers that are kept. Raises ConfigError where the first, which has no norm, is another."""
        if layers[0] != 0:
            raise ConfigError(f"{self.model_type}: layers {list(layers)} were to be kept; the first must be layer 0.")
        kinds = self.kinds()
        return {"layer_types": [kinds[i] for i in layers]}

    def rope(self, layer_type: str | None = None) -> dict[str, Any]:
        """The parameters of a kind of layer; transformers 4 has a key of its own for how fast each turns."""
        if layer_type is None:
            return dict(self.rope_parameters or {})
        theta = self.global_rope_theta if layer_type == FULL else self.local_rope_theta
        own = (self.rope_parameters or {}).get(layer_type) or {}
        return {"rope_theta": theta, **own, **(self.rope_scaling or {})}

    def to_dict(self) -> dict[str, Any]:
        """Both ways, so that transformers 4 and 5 read the same; 4 knows layers that see all only at equal steps."""
        found, kinds = super().to_dict(), self.kinds()
        steps = [n for n in range(1, len(kinds) + 1) if every(n, len(kinds)) == kinds]
        found["global_attn_every_n_layers"] = steps[0] if steps else self.global_attn_every_n_layers
        found["layer_types"] = kinds
        found["rope_parameters"] = {kind: {"rope_type": "default", **self.rope(kind)} for kind in (FULL, SLIDING)}
        found["global_rope_theta"], found["local_rope_theta"] = (
            self.rope(kind)["rope_theta"] for kind in (FULL, SLIDING)
        )
        return found


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
        if window is not None and local is not None and window != local // 2:
            raise ConfigError(
                f'{cls.model_type}: "sliding_window" is {window} and "local_attention" {local} (the default where there is '
                f"none); half of it was expected. Set local_attention to {2 * window} if that is what was trained."
            )
        return super().from_dict(found)


def read(config: ModernBertConfig) -> StackSpec:
    """An encoder's facts: a token sees half of `local_attention` either way; what attention adds has its dropout."""
    size, kinds = config.hidden_size // config.num_attention_heads, config.kinds()
    reaches = {FULL: None, SLIDING: config.local_attention // 2}
    turns = {kind: rotary(config, size, kind) for kind in (FULL, SLIDING)}
    biases = "q k v o " * config.attention_bias + "up gate down " * config.mlp_bias + "head" * config.classifier_bias
    return stack(
        config,
        limit=config.max_position_embeddings,
        reaches=tuple(reaches[kind] for kind in kinds),
        rotary=tuple(turns[kind] for kind in kinds),
        activation=config.hidden_activation,
        gated=True,
        biases=BIASES & frozenset(biases.split()),
        norm_eps=config.norm_eps,
        norm_bias=config.norm_bias,
        norms="pre",
        embed_norm=True,
        first_norm=False,
        final_norm=True,
        embed_dropout=config.embedding_dropout,
        attention_dropout=config.attention_dropout,
        dropout=config.attention_dropout,
        activation_dropout=config.mlp_dropout,
        ffn_dropout=0.0,
        scaled_residual_init=True,
    )


def read_decoder(config: ModernBertDecoderConfig) -> StackSpec:
    """The same of a decoder, in whose window a token counts itself."""
    spec = read(config)
    return replace(
        spec,
        causal=True,
        reaches=tuple(None if reach is None else reach - 1 for reach in spec.reaches),
        head="transform" if config.is_decoder else "none",
        head_activation=config.classifier_activation,
        head_bias="trained" if config.is_decoder and config.decoder_bias else "none",
    )


BODY = (
    *table("", "", "embed.token=embeddings.tok_embeddings embed.norm=embeddings.norm norm=final_norm"),
    *table(
        "layers.{}.",
        "layers.{}.",
        "attention.o=attn.Wo attention_norm=attn_norm ffn.gate+up=mlp.Wi ffn.down=mlp.Wo ffn_norm=mlp_norm",
    ),
)
FUSED = table("layers.{}.attention.", "layers.{}.attn.", "q+k+v=Wqkv")
APART = table("layers.{}.attention.", "layers.{}.attn.", "q=q_proj k=k_proj v=v_proj")
HEAD = (
    *table("head.", "lm_head.", "dense=dense norm=norm", rooted=True),
    row("head.bias", "decoder.bias", rooted=True),
    row("output.weight", "decoder.weight", rooted=True),
)
HEADS = (r"^(lm_)?head\.", r"^decoder\.", r"^classifier\.")

MODERNBERT = Family(
    config=ModernBertConfig,
    encoder=Role("ModernBertModel", read, (*BODY, *FUSED), ("", "model."), HEADS),
)
MODERNBERT_DECODER = Family(
    config=ModernBertDecoderConfig,
    encoder=Role("ModernBertDecoderModel", read_decoder, (*BODY, *APART), ("", "model."), (*HEADS, r"\.cross_attn")),
    decoder=Role(
        "ModernBertDecoderForCausalLM",
        read_decoder,
        (*BODY, *APART, *llama.CROSS, *HEAD),
        ("model.", ""),
        (r"^decoder\.weight$",),
    ),
)
FAMILIES = (MODERNBERT, MODERNBERT_DECODER)
