"""BART's relatives: other places of norms, other positions, other defaults; each half of an encoder-decoder."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

from conjoin.config import config_class
from conjoin.families import bart
from conjoin.spec import RoleName, StackSpec, row, table

__all__ = [
    "FAMILIES",
    "BlenderbotConfig",
    "BlenderbotSmallConfig",
    "M2M100Config",
    "MBartConfig",
    "MarianConfig",
    "MvpConfig",
    "PLBartConfig",
    "PegasusConfig",
]

PRE_NORM: dict[str, tuple[object, ...]] = {
    **bart.BartConfig.only,
    "add_final_layer_norm": (True,),
    "normalize_before": (True,),
}
# What transformers 3 asked of a config where 4 and later know it by the model type: of no meaning for later families.
RELICS = bart.BartConfig.irrelevant | {key for key in bart.BartConfig.only if not key.endswith("_layerdrop")}
UNREAD = frozenset("do_blenderbot_90_layernorm extra_layer_norm layernorm_variant unk_token_id".split())
NO_LAYER_DROP: dict[str, tuple[object, ...]] = {"encoder_layerdrop": (0, 0.0), "decoder_layerdrop": (0, 0.0)}
COMPUTED: dict[str, tuple[object, ...]] = {"normalize_embedding": (False,), "static_position_embeddings": (True,)}


@config_class
@dataclass(kw_only=True)
class MBartConfig(bart.BartConfig):
    """mBART (https://arxiv.org/abs/2001.08210)."""

    model_type: ClassVar[str] = "mbart"
    only: ClassVar[dict[str, tuple[object, ...]]] = PRE_NORM

    decoder_start_token_id: int | None = None


@config_class
@dataclass(kw_only=True)
class PegasusConfig(bart.BartConfig):
    """PEGASUS (https://arxiv.org/abs/1912.08777)."""

    model_type: ClassVar[str] = "pegasus"
    only: ClassVar[dict[str, tuple[object, ...]]] = {**PRE_NORM, **COMPUTED}

    pad_token_id: int | None = 0
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = 1
    decoder_start_token_id: int | None = 0
    forced_eos_token_id: int | list[int] | None = 1


@config_class
@dataclass(kw_only=True)
class MarianConfig(bart.BartConfig):
    """Marian, as the OPUS-MT translators are (https://arxiv.org/abs/1804.00344)."""

    model_type: ClassVar[str] = "marian"
    irrelevant: ClassVar[frozenset[str]] = bart.BartConfig.irrelevant | {"share_encoder_decoder_embeddings"}
    only: ClassVar[dict[str, tuple[object, ...]]] = {**bart.BartConfig.only, **COMPUTED}

    vocab_size: int = 58101
    decoder_vocab_size: int | None = None
    pad_token_id: int | None = 58100
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = 0
    decoder_start_token_id: int | None = 58100
    forced_eos_token_id: int | list[int] | None = 0

    def of_side(self, role: RoleName) -> Self:
        """The sides may have a vocabulary each; `vocab_size` becomes that of the side that is used."""
        own = self.decoder_vocab_size if role == "decoder" else None
        return self.copy(vocab_size=own or self.vocab_size, decoder_vocab_size=None)


@config_class
@dataclass(kw_only=True)
class BlenderbotConfig(bart.BartConfig):
    """Blenderbot (https://arxiv.org/abs/2004.13637), but for its 90M model, which is Blenderbot small."""

    model_type: ClassVar[str] = "blenderbot"
    irrelevant: ClassVar[frozenset[str]] = bart.BartConfig.irrelevant | UNREAD
    only: ClassVar[dict[str, tuple[object, ...]]] = {**PRE_NORM, "normalize_embedding": (False,)}

    vocab_size: int = 8008
    max_position_embeddings: int = 128
    encoder_layers: int = 2
    encoder_ffn_dim: int = 10240
    encoder_attention_heads: int = 32
    decoder_layers: int = 24
    decoder_ffn_dim: int = 10240
    decoder_attention_heads: int = 32
    d_model: int = 2560
    pad_token_id: int | None = 0
    bos_token_id: int | None = 1
    decoder_start_token_id: int | None = 1


@config_class
@dataclass(kw_only=True)
class BlenderbotSmallConfig(bart.BartConfig):
    """Blenderbot small (https://arxiv.org/abs/2004.13637), the 90M model."""

    model_type: ClassVar[str] = "blenderbot-small"
    irrelevant: ClassVar[frozenset[str]] = bart.BartConfig.irrelevant | UNREAD

    max_position_embeddings: int = 512
    encoder_layers: int = 8
    encoder_ffn_dim: int = 2048
    decoder_layers: int = 8
    decoder_ffn_dim: int = 2048
    d_model: int = 512
    pad_token_id: int | None = 0
    bos_token_id: int | None = 1
    decoder_start_token_id: int | None = 1


@config_class
@dataclass(kw_only=True)
class M2M100Config(bart.BartConfig):
    """M2M-100 (https://arxiv.org/abs/2010.11125) and NLLB-200 but for its mixture of experts."""

    model_type: ClassVar[str] = "m2m_100"
    # Its checkpoints were trained with layers left out now and then, which says nothing about what they compute.
    irrelevant: ClassVar[frozenset[str]] = RELICS | {"encoder_layerdrop", "decoder_layerdrop"}
    only: ClassVar[dict[str, tuple[object, ...]]] = {}
    whole: ClassVar[bool] = True

    vocab_size: int = 128112
    activation_function: str = "relu"
    attention_dropout: float = 0.1
    scale_embedding: bool = True
    forced_eos_token_id: int | list[int] | None = None


@config_class
@dataclass(kw_only=True)
class PLBartConfig(bart.BartConfig):
    """PLBART (https://arxiv.org/abs/2103.06333): a BART."""

    model_type: ClassVar[str] = "plbart"
    attribute_map: ClassVar[dict[str, str]] = {"hidden_size": "d_model", "initializer_range": "init_std"}
    irrelevant: ClassVar[frozenset[str]] = RELICS
    only: ClassVar[dict[str, tuple[object, ...]]] = NO_LAYER_DROP

    vocab_size: int = 50005
    encoder_layers: int = 6
    encoder_ffn_dim: int = 3072
    encoder_attention_heads: int = 12
    decoder_layers: int = 6
    decoder_ffn_dim: int = 3072
    decoder_attention_heads: int = 12
    d_model: int = 768
    attention_dropout: float = 0.1
    scale_embedding: bool = True
    decoder_start_token_id: int | None = None


@config_class
@dataclass(kw_only=True)
class MvpConfig(bart.BartConfig):
    """MVP (https://arxiv.org/abs/2206.12131): a BART, where it has no prompts."""

    model_type: ClassVar[str] = "mvp"
    irrelevant: ClassVar[frozenset[str]] = RELICS | {"prompt_length", "prompt_mid_dim"}
    only: ClassVar[dict[str, tuple[object, ...]]] = {**NO_LAYER_DROP, "use_prompt": (False,)}

    vocab_size: int = 50267
    forced_eos_token_id: int | list[int] | None = None


def read_mbart(config: MBartConfig, role: RoleName) -> StackSpec:
    """BART's facts with norms before each sublayer and a last one."""
    return bart.read(config, role, norms="pre", final_norm=True)


def read_marian(config: Any, role: RoleName, **facts: Any) -> StackSpec:
    """BART's facts with computed positions and no norm of the embeddings."""
    positions = {"positions": config.max_position_embeddings, "position_offset": 0, "sinusoidal": "halves"}
    return bart.read(config, role, **{**positions, "embed_norm": False, **facts})


def read_pegasus(config: PegasusConfig, role: RoleName) -> StackSpec:
    """mBART's norms and Marian's positions."""
    return read_marian(config, role, norms="pre", final_norm=True)


def read_m2m_100(config: M2M100Config, role: RoleName) -> StackSpec:
    """PEGASUS's facts, but for positions that skip padding."""
    pad = 1 if config.pad_token_id is None else config.pad_token_id
    counted = {"positions": config.max_position_embeddings + pad + 1, "position_offset": pad + 1, "position_pad": pad}
    return read_marian(config, role, norms="pre", final_norm=True, **counted, sinusoidal="fairseq", head_bias="none")


def read_blenderbot(config: BlenderbotConfig, role: RoleName) -> StackSpec:
    """mBART's norms, but for the embeddings', and positions counted from 0."""
    positions = config.max_position_embeddings
    return bart.read(
        config, role, norms="pre", final_norm=True, embed_norm=False, positions=positions, position_offset=0
    )


def read_blenderbot_small(config: BlenderbotSmallConfig, role: RoleName) -> StackSpec:
    """BART's facts, with positions counted from 0, which the decoder adds after the norm."""
    positions = config.max_position_embeddings
    return bart.read(config, role, positions=positions, position_offset=0, embed_norm_first=role == "decoder")


FINAL = table("", "", "norm=layer_norm")
POSITIONS = table("embed.", "", "position=embed_positions")
# Computed here; files keep the table, an older version's mark of it, or nothing.
TABLE = (r"embed_positions\.(weights?|_float_tensor)$",)
MARIAN_BODY = (bart.TOKEN, *bart.LAYERS)
FAMILIES = (
    bart.sided_family(MBartConfig, "MBart", read_mbart, (*bart.BODY, *FINAL)),
    bart.sided_family(PegasusConfig, "Pegasus", read_pegasus, (*MARIAN_BODY, *FINAL), buffers=TABLE),
    bart.sided_family(MarianConfig, "Marian", read_marian, MARIAN_BODY, buffers=TABLE),
    bart.sided_family(BlenderbotConfig, "Blenderbot", read_blenderbot, (*MARIAN_BODY, *POSITIONS, *FINAL)),
    bart.sided_family(BlenderbotSmallConfig, "BlenderbotSmall", read_blenderbot_small),
    bart.sided_family(
        M2M100Config,
        "M2M100",
        read_m2m_100,
        (*MARIAN_BODY, *FINAL),
        alone="ForConditionalGeneration",
        head=(row("output.weight", "lm_head.weight", rooted=True, also=bart.SHARED),),
        buffers=TABLE,
    ),
    bart.sided_family(PLBartConfig, "PLBart", bart.read),
    bart.sided_family(MvpConfig, "Mvp", bart.read),
)
