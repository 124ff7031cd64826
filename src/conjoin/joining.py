"""What a join decides before any framework is touched: the parts' configs, options by side, special tokens, sharing."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from conjoin.checkpoint import BIN_FILES, SAFE_FILES, Framework, Tensors, open_tensors
from conjoin.composite import EncoderDecoderConfig, any_config, part_config
from conjoin.config import CONFIG_FILE, ModelConfig, read_config
from conjoin.errors import ConfigError, refuse_unknown
from conjoin.extending import POSITIONS, PositionInit, check_position_init
from conjoin.families import family_of, role_of, spec_of
from conjoin.families.custom import CustomConfig
from conjoin.generation import GENERATION_FIELDS, GENERATION_FILE, SPECIAL_TOKENS
from conjoin.hub import resolve
from conjoin.processors import PROCESSOR_FILES
from conjoin.spec import RoleName
from conjoin.tokens.finding import TOKENIZER_FILES
from conjoin.tokens.pair import TokenizerLike, TokenizerPair
from conjoin.weights import Plan, Shape, plan

__all__ = [
    "CrossAttentionInit",
    "OpenPart",
    "check_share",
    "check_tokenizers",
    "check_vocabulary",
    "crossing",
    "model_folder",
    "open_part",
    "shared_names",
    "special_tokens",
    "split_options",
]

CrossAttentionInit = Literal["random", "self_attention", "zero_gate"]
MODEL_FILES = (CONFIG_FILE, GENERATION_FILE, *SAFE_FILES, *TOKENIZER_FILES, *PROCESSOR_FILES)
HUB_OPTIONS = ("revision", "token", "local_files_only", "cache_dir")
PART_OPTIONS = (
    *HUB_OPTIONS,
    "model",
    "config",
    "keep_layers",
    "new_positions",
    "add_pooling_layer",
    "from_pt",
    "attn_implementation",
)


@dataclass(frozen=True)
class OpenPart:
    """A part's folder, its config as it will run, and the one that its file was saved with."""

    folder: Path  # or a GGUF file
    role: RoleName
    config: ModelConfig
    saved: ModelConfig
    layers: tuple[int, ...]  # the file's number of each layer that is kept
    new_positions: PositionInit = "tile"  # how positions start that the file does not have

    def tensors(self, framework: Framework) -> Tensors:
        """The folder's tensors."""
        return open_tensors(self.folder, framework)

    def as_saved(self, wanted: Mapping[str, Shape]) -> dict[str, Shape]:
        """The shape in the file of a position table of other rows, where the part reads texts."""
        saved = spec_of(self.saved, self.role)
        if POSITIONS not in wanted or saved.front is not None:
            return {}
        return {POSITIONS: (saved.positions, *wanted[POSITIONS][1:])}

    def plan(self, wanted: Mapping[str, Shape], available: Mapping[str, Shape]) -> Plan:
        """How to read the part out of the tensors of its folder; layers that were left out on purpose are no surprise."""
        spec = spec_of(self.config, self.role)
        return plan(
            family_of(self.config.model_type),
            role_of(self.config.model_type, self.role),
            wanted,
            available,
            layers=range(max(spec.blocks) + 1) if spec.blocks else self.layers,  # shared blocks are kept, all of them
            heads=spec.heads,
            file_layers=spec_of(self.saved, self.role).layers,
        )


def split_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """`encoder_*` and `decoder_*` options without their prefix, and generation settings. Raises TypeError for others."""
    encoder: dict[str, Any] = {}
    decoder: dict[str, Any] = {}
    generation: dict[str, Any] = {}
    for name, value in options.items():
        if name in GENERATION_FIELDS:
            generation[name] = value
        elif name.startswith("encoder_"):
            encoder[name.removeprefix("encoder_")] = value
        elif name.startswith("decoder_"):
            decoder[name.removeprefix("decoder_")] = value
        else:
            refuse_unknown("from_encoder_decoder_pretrained()", [name], [*GENERATION_FIELDS, *JOIN_ARGUMENTS])
    return encoder, decoder, generation


def crossing(init: Any, layers: Any, place: Any) -> dict[str, Any]:
    """The decoder's options that say what its cross-attention is. Raises ConfigError for an init that is not known."""
    if init not in get_args(CrossAttentionInit):
        raise ConfigError(f'cross_attention_init is {init!r}; "random", "self_attention" or "zero_gate" was expected.')
    found: dict[str, Any] = {"cross_attention_gate": True} if init == "zero_gate" else {}
    if layers not in ("all", None):
        found["cross_attention_layers"] = layers if isinstance(layers, str) else list(layers)
    if place is not None:
        found["cross_attention_place"] = place
    return found


JOIN_ARGUMENTS = (
    "cross_attention_init cross_attention_layers cross_attention_place share "
    "tie_encoder_decoder dtype device attn_implementation encoder_model decoder_model "
    "encoder_config decoder_config encoder_revision decoder_revision encoder_num_hidden_layers "
    "decoder_num_hidden_layers encoder_keep_layers decoder_keep_layers encoder_max_position_embeddings "
    "encoder_new_positions decoder_new_positions".split()
)


def open_part(name: str | Path, role: RoleName, options: Mapping[str, Any]) -> OpenPart:
    """Finds a part on disk or on the hub and makes its config ready for its side, with the overrides in `options`.

    Raises CheckpointError where it is not there, ConfigError where it cannot be that side, TypeError for an unknown
    option.
    """
    if options.get("add_pooling_layer"):
        raise ConfigError(
            f"{role}_add_pooling_layer=True: a join has no use for a pooler, and carries none; leave it out."
        )
    hub = {k: options[k] for k in HUB_OPTIONS if k in options}
    folder = model_folder(name, **hub)
    saved = any_config(read_config(folder))
    if isinstance(saved, EncoderDecoderConfig):
        raise ConfigError(
            f'"{name}" is a joined model and cannot be the {role} of another; load it with from_pretrained, and save '
            f"model.{role} for a folder that can."
        )
    given = options.get("config")
    config = part_config(saved if given is None else given, role)
    if config.model_type != saved.model_type:
        raise ConfigError(f'{role}_config is of model_type "{config.model_type}" and "{name}" of "{saved.model_type}".')
    kept = kept_layers(role, options.get("keep_layers"), spec_of(part_config(saved, role), role).layers)
    changes = {config.by_role(role, k): v for k, v in options.items() if k not in PART_OPTIONS}
    if kept is not None:
        changes |= {config.by_role(role, "num_hidden_layers"): len(kept), **config.of_layers(kept)}
    known = [*config.names(), *config.attribute_map, *PART_OPTIONS]
    refuse_unknown(
        "from_encoder_decoder_pretrained()", [f"{role}_{k}" for k in changes], [f"{role}_{k}" for k in known]
    )
    config = part_config(config.copy(**changes), role)
    layers = kept or tuple(range(spec_of(config, role).layers))
    new_positions = options.get("new_positions", "tile")
    check_position_init(new_positions)
    return OpenPart(folder, role, config, part_config(saved, role), layers, new_positions)


def model_folder(name: str | Path, **hub: Any) -> Path:
    """The folder, or GGUF file, of a model's config, weights and tokenizers.

    A .bin is fetched only where there is no safetensors file.
    """
    folder = resolve(name, files=MODEL_FILES, **hub)
    if folder != Path(name).expanduser() and not any(folder.glob("*.safetensors")):
        folder = resolve(name, files=(*MODEL_FILES, *BIN_FILES), **hub)
    return folder


def kept_layers(role: RoleName, kept: Any, layers: int) -> tuple[int, ...] | None:
    """The layers that `encoder_keep_layers` or `decoder_keep_layers` names. Raises ConfigError for what is not there."""
    if kept is None:
        return None
    found = tuple(kept)
    if not found or any(type(i) is not int or not 0 <= i < layers for i in found):
        raise ConfigError(f"{role}_keep_layers is {kept!r}; some of the layers 0 to {layers - 1} were expected.")
    return found


def special_tokens(decoder: ModelConfig, target: TokenizerLike | None) -> dict[str, Any]:
    """Special tokens of a fresh join: the target tokenizer's, and the start token that the decoder was trained with.

    The start token is the decoder's own where its config has one (BART), else the tokenizer's begin-of-sentence or
    classification token; the end is its end-of-sentence or separator; padding falls back to the end, as for GPT-2.
    """
    if target is None:
        return {}
    bos = first(target.bos_token_id, target.cls_token_id)
    eos = first(target.eos_token_id, target.sep_token_id)
    found = {
        "bos_token_id": bos,
        "eos_token_id": eos,
        "pad_token_id": first(target.pad_token_id, eos),
        "decoder_start_token_id": first(decoder.decoder_start_token_id, bos),
    }
    return {name: value for name, value in found.items() if value is not None}


def first(*values: int | None) -> int | None:
    """The first that is not None."""
    return next((v for v in values if v is not None), None)


def check_share(config: EncoderDecoderConfig) -> None:
    """Raises ConfigError, with the reason, where the two sides cannot share what is asked for."""
    if config.share == "none":
        return
    if isinstance(config.encoder, CustomConfig):
        raise ConfigError(
            f'share="{config.share}" needs two stacks of one family; the encoder is a module of your own '
            f"({config.encoder.class_name})."
        )
    encoder, decoder = spec_of(config.encoder, "encoder"), spec_of(config.decoder, "decoder")
    if config.share == "embeddings":
        ours, theirs = (encoder.vocab, encoder.token_width), (decoder.vocab, decoder.token_width)
        if ours != theirs:
            raise ConfigError(
                f'share="embeddings" needs one vocabulary and width; the encoder has {ours} and the decoder {theirs}.'
            )
        return
    neutral: dict[str, Any] = {
        "causal": False,
        "cross": False,
        "cross_gate": False,
        "cross_layers": None,
        "cross_place": "after_self_attention",
        "head": "none",
        "head_bias": "none",
    }
    a, b = replace(encoder, **neutral), replace(decoder, **neutral)
    if config.encoder.model_type != config.decoder.model_type or a != b:
        kinds = f'the encoder is "{config.encoder.model_type}", the decoder "{config.decoder.model_type}"'
        differ = [k for k in a.__dataclass_fields__ if getattr(a, k) != getattr(b, k)]
        raise ConfigError(
            f'share="all" needs two stacks of one family and size; {kinds}'
            + (f", and they differ in {', '.join(differ)}." if differ else ".")
        )


def shared_names(config: EncoderDecoderConfig, encoder_names: list[str]) -> list[str]:
    """Which of the encoder's own names are the decoder's tensors."""
    if config.share == "all":
        return encoder_names
    return ["embed.token.weight"] if config.share == "embeddings" else []


def check_vocabulary(config: EncoderDecoderConfig, pair: TokenizerPair | None) -> None:
    """Raises ConfigError where a tokenizer can make ids that a side has no embedding for."""
    if pair is not None:
        check_tokenizers(config, pair.source, pair.target)


def check_tokenizers(config: EncoderDecoderConfig, source: TokenizerLike | None, target: TokenizerLike | None) -> None:
    """The same, of a model that may have come with one tokenizer, or none."""
    for role, tokenizer, part in (("encoder", source, config.encoder), ("decoder", target, config.decoder)):
        if tokenizer is not None and len(tokenizer) > part.vocab_size:
            raise ConfigError(
                f"the {role}'s tokenizer has {len(tokenizer)} tokens and its config a vocabulary of {part.vocab_size}; take "
                f"the tokenizer that belongs to it, or grow it with model.{role}.resize_token_embeddings(...)."
            )
    for name in SPECIAL_TOKENS if target is not None else ():
        value = getattr(config.generation, name)
        for one in value if isinstance(value, list) else [value]:
            if one is not None and not 0 <= one < config.decoder.vocab_size:
                raise ConfigError(f"{name} is {one}, outside the decoder's vocabulary of {config.decoder.vocab_size}.")
