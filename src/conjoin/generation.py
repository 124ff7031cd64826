"""GenerationConfig: every setting of `generate`, with transformers' names and defaults, and which of them work here."""

import copy
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from conjoin.errors import ConfigError, InputError, nearest

__all__ = ["GENERATION_FIELDS", "GENERATION_FILE", "SPECIAL_TOKENS", "GenerationConfig"]

GENERATION_FILE = "generation_config.json"
SPECIAL_TOKENS = ("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id")

# Settings of transformers that say nothing about which tokens come out, or that have no meaning for these models.
IRRELEVANT = frozenset(
    "transformers_version _from_model_config use_cache cache_implementation cache_config max_cache_len compile_config "
    "disable_compile is_assistant low_memory remove_invalid_values renormalize_logits num_assistant_tokens "
    "num_assistant_tokens_schedule assistant_confidence_threshold assistant_lookbehind target_lookbehind "
    "output_attentions output_hidden_states generation_kwargs prefill_chunk_size token_healing "
    "assistant_early_exit synced_gpus use_mtp speculation_type forced_decoder_ids return_legacy_cache".split()
)
# Settings of transformers that are not built yet, with the values at which they do nothing.
NEUTRAL: dict[str, tuple[object, ...]] = {
    "num_beam_groups": (1, None),
    "diversity_penalty": (0, 0.0, None),
    "penalty_alpha": (0, 0.0, None),
    "dola_layers": (None,),
    "constraints": (None,),
    "force_words_ids": (None,),
    "guidance_scale": (None, 1, 1.0),
    "watermarking_config": (None,),
    "prompt_lookup_num_tokens": (None,),
    "max_matching_ngram_size": (None,),
    "max_time": (None,),
    "stop_strings": (None,),
    "top_h": (None,),
    "typical_p": (1, 1.0, None),
    "epsilon_cutoff": (0, 0.0, None),
    "eta_cutoff": (0, 0.0, None),
    "bad_words_ids": (None,),
    "sequence_bias": (None,),
    "exponential_decay_length_penalty": (None,),
    "output_logits": (False, None),
}


@dataclasses.dataclass(kw_only=True)
class GenerationConfig:
    """How to generate. None is transformers' default, named in each comment.

    Lengths count tokens and include the decoder's start token, except `*_new_tokens`. Where both are given,
    `max_new_tokens` wins; where neither is, 20 new tokens are made.
    """

    max_length: int | None = None
    max_new_tokens: int | None = None
    min_length: int | None = None  # 0
    min_new_tokens: int | None = None
    early_stopping: bool | str | None = None  # False; True, or "never"
    do_sample: bool | None = None  # False
    num_beams: int | None = None  # 1
    num_return_sequences: int | None = None  # 1
    length_penalty: float | None = None  # 1.0: the sum of log-probabilities is divided by length ** length_penalty
    temperature: float | None = None  # 1.0
    top_k: int | None = None  # 50, 0 for all
    top_p: float | None = None  # 1.0
    min_p: float | None = None
    repetition_penalty: float | None = None  # 1.0
    encoder_repetition_penalty: float | None = None  # 1.0
    no_repeat_ngram_size: int | None = None  # 0
    encoder_no_repeat_ngram_size: int | None = None  # 0
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
    # conjoin's own, which hold for training too: whether sources are read in windows (chunks.py), and how large these are.
    encode_in_chunks: bool | None = None  # False
    chunk_window: int | None = None  # tokens; the encoder's positions
    chunk_overlap: int | None = None  # tokens; an eighth of the window

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in type(self).__dataclass_fields__:
            self.accept(name, value)
            return
        object.__setattr__(self, name, value)

    @staticmethod
    def accept(name: str, value: object) -> None:
        """Takes a setting of transformers that has no field here, if it does nothing. Raises otherwise."""
        if name in IRRELEVANT or (name in NEUTRAL and value in NEUTRAL[name]):
            return
        if name in NEUTRAL:
            raise InputError(f'generation setting "{name}" is {value!r}; it is not implemented yet.')
        raise AttributeError(f'GenerationConfig has no field "{name}"{nearest(name, GENERATION_FIELDS)}.')

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        """From what a generation_config.json, or the generation keys of an old config.json, hold.

        Raises ConfigError for a key that is not known, InputError for one that is not implemented.
        """
        config = cls()
        for name, value in found.items():
            try:
                setattr(config, name, value)
            except AttributeError as error:
                raise ConfigError(f"{GENERATION_FILE}: {error}") from None
        return config

    def updated(self, changes: Mapping[str, Any]) -> Self:
        """A copy with some settings changed."""
        new = copy.deepcopy(self)
        for name, value in changes.items():
            setattr(new, name, value)
        return new

    def to_dict(self) -> dict[str, Any]:
        """The settings that differ from None."""
        return {n: copy.deepcopy(getattr(self, n)) for n in self.__dataclass_fields__ if getattr(self, n) is not None}

    def to_json_string(self) -> str:
        """The text of a generation_config.json."""
        return json.dumps(self.to_dict(), indent=2, sort_keys=True) + "\n"

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes generation_config.json into a folder, which is made where it is missing."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / GENERATION_FILE).write_text(self.to_json_string(), encoding="utf-8")

    @classmethod
    def from_pretrained(cls, name: str | Path, *, revision: str | None = None, token: str | None = None) -> Self:
        """From the generation_config.json of a folder or hub id."""
        from conjoin.config import read_json
        from conjoin.hub import resolve

        folder = resolve(name, files=[GENERATION_FILE], revision=revision, token=token)
        return cls.from_dict(read_json(folder / GENERATION_FILE))


GENERATION_FIELDS: frozenset[str] = frozenset(
    {*(f.name for f in dataclasses.fields(GenerationConfig)), *IRRELEVANT, *NEUTRAL}
)
