"""GenerationConfig: every setting of `generate`, with transformers' names and defaults, and which of them work here."""

import copy
import dataclasses
import json
from collections.abc import Callable, Mapping
from numbers import Real
from pathlib import Path
from typing import Any, ClassVar, Self

from conjoin.compiling import CompileConfig, HasFields
from conjoin.constraints import Constraint, as_words
from conjoin.errors import ConfigError, InputError, nearest, refuse_unknown

__all__ = [
    "DEFAULT_NEW_TOKENS",
    "GENERATION_FIELDS",
    "GENERATION_FILE",
    "SPECIAL_TOKENS",
    "GenerationConfig",
    "WatermarkingConfig",
]

GENERATION_FILE = "generation_config.json"
DEFAULT_NEW_TOKENS = 20
SPECIAL_TOKENS = ("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id")

# Settings of transformers that say nothing about which tokens come out, or that have no meaning for these models.
IRRELEVANT = frozenset(
    "transformers_version _from_model_config use_cache cache_config max_cache_len is_assistant "
    "assistant_lookbehind target_lookbehind generation_kwargs prefill_chunk_size continuous_batching_config "
    "synced_gpus forced_decoder_ids return_legacy_cache".split()
)
# Settings of transformers that have no sound meaning for these models, and why not; None and False are taken.
MEANINGLESS = {
    "token_healing": "it mends the end of a prompt that was cut within a word, and a decoder begins with its start token",
    "dola_layers": "it contrasts the layers of a language model, and transformers itself refuses encoder-decoders",
    "assistant_early_exit": "it needs layers that were trained to be left early, which no decoder here has; a smaller model "
    "as assistant_model drafts instead",
    "assistant_ensemble_weight": "it lets an assistant change what is written, and drafts here change time alone",
    "use_mtp": "it needs heads that predict several tokens, which no decoder here has; a smaller model as assistant_model "
    "drafts instead",
    "speculation_type": "it chooses among heads that draft, which no decoder here has; a smaller model as assistant_model "
    "drafts instead",
    "low_memory": "beams share their memory here, so there is nothing to save",
}


@dataclasses.dataclass(frozen=True)
class WatermarkingConfig:
    """How texts are marked, so that a detector can tell who wrote them (https://arxiv.org/abs/2306.04634).

    `greenlist_ratio` of the vocabulary, chosen anew at each step by a hash of the last `context_width` tokens, gains `bias`.
    `seeding_scheme` is "lefthash" (of the tokens before) or "selfhash" (of the token itself too). Names, defaults and
    arithmetic are transformers', whose WatermarkDetector finds the mark.
    """

    greenlist_ratio: float = 0.25
    bias: float = 2.0
    hashing_key: int = 15485863
    seeding_scheme: str = "lefthash"
    context_width: int = 1

    def __post_init__(self) -> None:
        """Raises InputError for a value that cannot be."""
        if not isinstance(self.greenlist_ratio, Real) or not 0.0 < self.greenlist_ratio < 1.0:
            raise InputError(f"greenlist_ratio is {self.greenlist_ratio!r}; a number between 0 and 1 was expected.")
        if self.seeding_scheme not in ("lefthash", "selfhash"):
            raise InputError(f'seeding_scheme is {self.seeding_scheme!r}; "lefthash" or "selfhash" was expected.')
        if not isinstance(self.bias, Real) or not abs(self.bias) < float("inf"):
            raise InputError(f"bias is {self.bias!r}; a finite number was expected.")
        if not isinstance(self.hashing_key, int):
            raise InputError(f"hashing_key is {self.hashing_key!r}; a whole number was expected.")
        if not isinstance(self.context_width, int) or self.context_width < 1:
            raise InputError(f"context_width is {self.context_width!r}; a whole number from 1 on was expected.")

    def to_dict(self) -> dict[str, Any]:
        """The five fields."""
        return dataclasses.asdict(self)

    @classmethod
    def of(cls, given: Any) -> "WatermarkingConfig":
        """From itself, its fields as a mapping, or transformers' object of the same name. Raises InputError for others."""
        if isinstance(given, cls):
            return given
        fields = given.to_dict() if isinstance(given, HasFields) else given
        names = [f.name for f in dataclasses.fields(cls)]
        if isinstance(fields, Mapping) and "ngram_len" in fields:
            raise InputError(
                "watermarking_config is one of SynthID; give its processor instead, logits_processor=["
                "config.construct_processor(vocab_size, device)]."
            )
        if not isinstance(fields, Mapping) or not set(fields) <= set(names):
            raise InputError(
                f"watermarking_config is {given!r}; a WatermarkingConfig or its fields ({names}) were expected."
            )
        return cls(**fields)


def listed_biases(given: Any) -> list[list[Any]]:
    """sequence_bias as files hold it, [[ids, bias], ...]. Raises InputError for what is neither that nor a mapping."""
    pairs = list(given.items()) if isinstance(given, Mapping) else given
    if not isinstance(pairs, list | tuple) or not all(isinstance(p, list | tuple) and len(p) == 2 for p in pairs):
        raise InputError(f"sequence_bias is {given!r}; {{(ids): bias}} or [[[ids], bias], ...] was expected.")
    if not all(isinstance(ids, list | tuple) for ids, _ in pairs):
        raise InputError(f"sequence_bias is {given!r}; each bias is of a tuple or a list of ids.")
    return [[list(ids), bias] for ids, bias in pairs]


STORED_AS: dict[str, Callable[[Any], Any]] = {
    "watermarking_config": WatermarkingConfig.of,
    "compile_config": CompileConfig.of,
    "sequence_bias": listed_biases,
}


@dataclasses.dataclass(init=False)
class GenerationConfig:
    """How to generate. None is transformers' default, named in each comment.

    Lengths count tokens and include the decoder's start token, except `*_new_tokens`. Where both are given,
    `*_new_tokens` win; where neither is, 20 new tokens are made.
    """

    max_length: int | None = None
    max_new_tokens: int | None = None
    min_length: int | None = None  # 0
    min_new_tokens: int | None = None
    early_stopping: bool | str | None = None  # False; True, or "never"
    do_sample: bool | None = None  # False
    num_beams: int | None = None  # 1
    num_beam_groups: int | None = None  # 1: diverse beam search where there are more
    diversity_penalty: float | None = None  # 0.0: what a token costs for each beam of an earlier group that chose it
    constraints: list[Constraint] | None = None  # PhrasalConstraint, DisjunctiveConstraint
    force_words_ids: list[Any] | None = None  # phrases that must come: lists of ids, or lists of alternatives
    penalty_alpha: float | None = (
        None  # contrastive search, over the top_k likeliest: how much a likeness costs, 0 to 1
    )
    prompt_lookup_num_tokens: int | None = None  # drafts of so many tokens, looked up in the source and the output
    max_matching_ngram_size: int | None = None  # 2: how many of the last tokens may have to agree
    num_assistant_tokens: int | None = None  # 20: how many tokens an assistant_model drafts
    num_assistant_tokens_schedule: str | None = None  # "constant"; "heuristic" or "heuristic_transient", by success
    assistant_confidence_threshold: float | None = None  # 0.4: a draft ends with a token that is less likely
    num_return_sequences: int | None = None  # 1
    length_penalty: float | None = None  # 1.0: the sum of log-probabilities is divided by length ** length_penalty
    temperature: float | None = None  # 1.0
    top_k: int | None = None  # 50, 0 for all
    top_p: float | None = None  # 1.0
    min_p: float | None = None
    top_h: float | None = None
    typical_p: float | None = None  # 1.0
    epsilon_cutoff: float | None = None  # 0.0
    eta_cutoff: float | None = None  # 0.0
    repetition_penalty: float | None = None  # 1.0
    encoder_repetition_penalty: float | None = None  # 1.0
    no_repeat_ngram_size: int | None = None  # 0
    encoder_no_repeat_ngram_size: int | None = None  # 0
    bad_words_ids: list[list[int]] | None = None
    sequence_bias: Any = None  # [[ids, bias], ...], or {(id, ...): bias}
    remove_invalid_values: bool | None = None  # False
    exponential_decay_length_penalty: tuple[int, float] | None = None  # (after so many new tokens, factor)
    renormalize_logits: bool | None = None  # False
    guidance_scale: float | None = None  # 1.0
    watermarking_config: Any = None  # a WatermarkingConfig, or its fields
    max_time: float | None = None  # seconds
    stop_strings: str | list[str] | None = None
    suppress_tokens: list[int] | None = None
    begin_suppress_tokens: list[int] | None = None
    forced_bos_token_id: int | None = None
    forced_eos_token_id: int | list[int] | None = None
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    decoder_start_token_id: int | list[int] | None = None
    return_dict_in_generate: bool | None = None  # False
    output_scores: bool | None = None  # False
    output_logits: bool | None = None  # False
    output_attentions: bool | None = None  # False
    output_hidden_states: bool | None = None  # False
    cache_implementation: str | None = None  # "dynamic"; "static": steps of fixed shapes, on a GPU recorded (PyTorch)
    compile_config: Any = None  # a CompileConfig, or its fields: such steps under torch.compile (PyTorch)
    disable_compile: bool | None = None  # False; True for neither
    # conjoin's own, which hold for training too: whether sources are read in windows (chunks.py), and how large these are.
    encode_in_chunks: bool | None = None  # False
    chunk_window: int | None = None  # tokens; the encoder's positions
    chunk_overlap: int | None = None  # tokens; an eighth of the window

    _from_model_config: ClassVar[bool] = False  # read by transformers' Seq2SeqTrainer

    def __init__(self, **settings: Any) -> None:
        """Any fields by name, and those of transformers that do nothing here. Raises TypeError for others."""
        refuse_unknown("GenerationConfig()", settings, GENERATION_FIELDS)
        for name in self.__dataclass_fields__:
            setattr(self, name, None)
        for name, value in settings.items():
            setattr(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in type(self).__dataclass_fields__:
            self.accept(name, value)
            return
        if name in STORED_AS and value is not None:
            value = STORED_AS[name](value)
        object.__setattr__(self, name, value)

    @staticmethod
    def accept(name: str, value: object) -> None:
        """Takes a setting of transformers that has no field here, if it does nothing. Raises otherwise."""
        if name in IRRELEVANT:
            return
        if name in MEANINGLESS:
            if value is None or value is False:
                return
            raise InputError(f"{name} is {value!r}; it has no meaning for these models: {MEANINGLESS[name]}.")
        raise AttributeError(f'GenerationConfig has no field "{name}"{nearest(name, GENERATION_FIELDS)}.')

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        """From what a generation_config.json, or the generation keys of an old config.json, hold.

        Raises ConfigError for a key that is not known, InputError for one that has no meaning here.
        """
        config = cls()
        for name, value in found.items():
            try:
                setattr(config, name, value)
            except AttributeError as error:
                raise ConfigError(f"{GENERATION_FILE}: {error}") from None
        return config

    @classmethod
    def of(cls, given: Any) -> Self:
        """Itself, or what transformers' object of the same name sets. Raises InputError for anything else."""
        if isinstance(given, cls):
            return given
        if not isinstance(given, HasFields):
            raise InputError(f"generation_config is {given!r}; a GenerationConfig was expected.")
        return cls.from_dict({name: value for name, value in given.to_dict().items() if value is not None})

    def update(self, defaults_only: bool = False, **changes: Any) -> dict[str, Any]:
        """Changes settings, with `defaults_only` those alone that are not set; returns those that are not known."""
        for name, value in changes.items():
            if name in GENERATION_FIELDS and not (defaults_only and getattr(self, name, None) is not None):
                setattr(self, name, value)
        return {name: value for name, value in changes.items() if name not in GENERATION_FIELDS}

    def _get_default_generation_params(self) -> dict[str, Any]:
        """What transformers' Seq2SeqTrainer has to find set: the length that it pads outputs and labels to."""
        return {"max_length": 1 + DEFAULT_NEW_TOKENS}

    def updated(self, changes: Mapping[str, Any]) -> Self:
        """A copy with some settings changed."""
        new = copy.deepcopy(self)
        for name, value in changes.items():
            setattr(new, name, value)
        return new

    def to_dict(self) -> dict[str, Any]:
        """The settings that differ from None."""
        found = {n: copy.deepcopy(getattr(self, n)) for n in self.__dataclass_fields__ if getattr(self, n) is not None}
        for name in ("watermarking_config", "compile_config"):
            if name in found:
                found[name] = found[name].to_dict()
        return found

    def to_diff_dict(self) -> dict[str, Any]:
        """The same, by transformers' name for what differs from its defaults."""
        return self.to_dict()

    def to_json_string(self) -> str:
        """The text of a generation_config.json, constraints among its force_words_ids."""
        found = self.to_dict()
        if "constraints" in found:
            found["force_words_ids"] = found.get("force_words_ids", []) + as_words(found.pop("constraints"))
        return json.dumps(found, indent=2, sort_keys=True) + "\n"

    def save_pretrained(self, save_directory: str | Path) -> None:
        """Writes generation_config.json into a folder, which is made where it is missing."""
        Path(save_directory).mkdir(parents=True, exist_ok=True)
        (Path(save_directory) / GENERATION_FILE).write_text(self.to_json_string(), encoding="utf-8")

    @classmethod
    def from_model_config(cls, config: Any) -> Self:
        """A copy of the settings that a joined model's config has, special tokens included. Raises InputError for another's."""
        from conjoin.composite import EncoderDecoderConfig

        if not isinstance(config, EncoderDecoderConfig):
            raise InputError(f"config is a {type(config).__name__}; an EncoderDecoderConfig was expected.")
        return cls().updated(config.generation.to_dict())

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name: str | Path,
        *,
        revision: str | None = None,
        token: str | None = None,
        **settings: Any,
    ) -> Self:
        """From the generation_config.json of a folder or hub id, over which `settings` win. Raises TypeError for unknown ones."""
        from conjoin.config import read_json
        from conjoin.hub import resolve

        refuse_unknown("GenerationConfig.from_pretrained()", settings, GENERATION_FIELDS)
        folder = resolve(pretrained_model_name, files=[GENERATION_FILE], revision=revision, token=token)
        return cls.from_dict(read_json(folder / GENERATION_FILE)).updated(settings)


GENERATION_FIELDS: frozenset[str] = frozenset(
    {*(f.name for f in dataclasses.fields(GenerationConfig)), *IRRELEVANT, *MEANINGLESS}
)
