"""The settings of one call of `generate`, resolved from transformers' defaults and checked against the model."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from conjoin.chunks import Chunks
from conjoin.compiling import CompileConfig
from conjoin.constraints import Constraint, asked_constraints
from conjoin.decoding.callbacks import NOTHING, Callbacks
from conjoin.decoding.stop_strings import checked_strings
from conjoin.decoding.values import among, as_tuple, bad_words, below_one, biases, decay, flag, number, real, token_of
from conjoin.errors import InputError
from conjoin.generation import DEFAULT_NEW_TOKENS, GenerationConfig, WatermarkingConfig

__all__ = ["LENGTHS", "Settings", "resolve"]

SCHEDULES = ("constant", "heuristic", "heuristic_transient")
LENGTHS = ("prompt", "max_length", "min_length", "begin")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a search reads. Lengths count the decoder's prompt, which is at least the start token.

    A compiled program takes the four of `LENGTHS` as arguments, so that it serves others too; all else it is compiled for.
    """

    prompt: Any
    max_length: Any
    min_length: Any
    begin: Any  # the length at which begin_suppress_tokens holds
    room: int  # columns for ids, at least max_length
    has_min_length: bool
    num_beams: int
    num_return_sequences: int
    do_sample: bool
    early_stopping: bool | str
    length_penalty: float
    temperature: float
    top_k: int
    top_p: float
    min_p: float | None
    repetition_penalty: float
    encoder_repetition_penalty: float
    no_repeat_ngram_size: int
    encoder_no_repeat_ngram_size: int
    suppress_tokens: tuple[int, ...]
    begin_suppress_tokens: tuple[int, ...]
    forced_bos: int | None
    forced_eos: tuple[int, ...]
    eos: tuple[int, ...]
    pad: int
    output_scores: bool
    as_dictionary: bool
    chunks: Chunks | None = None  # how the source is cut into windows, if it is
    top_h: float | None = None
    typical_p: float = 1.0
    epsilon_cutoff: float = 0.0
    eta_cutoff: float = 0.0
    bad_words: tuple[tuple[int, ...], ...] = ()
    sequence_bias: tuple[tuple[tuple[int, ...], float], ...] = ()
    remove_invalid_values: bool = False
    length_decay: tuple[int, float] | None = None  # after so many new tokens, by this factor
    renormalize_logits: bool = False
    guidance_scale: float = 1.0
    watermarking: WatermarkingConfig | None = None
    stop_strings: tuple[str, ...] = ()
    stop_window: int = 0  # tokens that a stop string can span
    stop_states: int = 0
    stop_tokens: int = 0  # tokens that the table of stop strings has
    outputs: frozenset[str] = (
        frozenset()
    )  # what each step leaves behind: scores, logits, attentions, hidden_states, cache
    callbacks: Callbacks = NOTHING
    num_beam_groups: int = 1
    diversity_penalty: float = 0.0
    constraints: tuple[Constraint, ...] = ()
    penalty_alpha: float = 0.0  # 0 where search is not contrastive
    prompt_lookup_num_tokens: int = 0  # 0 where nothing is looked up
    max_matching_ngram_size: int = 2
    lookup_source: bool = False  # whether the source's tokens are the target's
    assistant: Any = None  # a joined model that drafts
    vocabularies: tuple[Any, Any] | None = None  # the model's target tokenizer and the assistant's, where they differ
    num_assistant_tokens: int = 20
    num_assistant_tokens_schedule: str = "constant"
    assistant_confidence_threshold: float = 0.4
    static: bool = False  # whether steps have fixed shapes, so that a GPU's can be recorded
    compiling: CompileConfig | None = None  # how torch.compile treats such steps, if it does

    @property
    def whole(self) -> bool:
        """Whether rows that are done stay in the batch until the last is."""
        return bool(self.outputs) or self.callbacks.need_every_row

    def lengths(self) -> dict[str, Any]:
        """The four of `LENGTHS`."""
        return {name: getattr(self, name) for name in LENGTHS}

    def with_lengths(self, lengths: Mapping[str, Any]) -> "Settings":
        """The same settings for other lengths."""
        return replace(self, **lengths)

    def with_lengths_for_rules(self) -> "Settings":
        """The same where lengths are (B, 1), one a source, as rules read them beside scores (B, K, V)."""
        return self.with_lengths({name: x[..., None] for name, x in self.lengths().items()})

    @property
    def hypotheses(self) -> int:
        """How many sequences grow side by side for each source."""
        if self.search == "contrastive":
            return self.top_k
        return self.num_beams if self.num_beams > 1 else self.num_return_sequences

    @property
    def search(self) -> str:
        """Which search it is: "single" (greedy or sampling), "beams", "diverse", "constrained" or "contrastive"."""
        if self.constraints:
            return "constrained"
        if self.num_beam_groups > 1:
            return "diverse"
        if self.penalty_alpha > 0 and self.top_k > 1:
            return "contrastive"
        return "beams" if self.num_beams > 1 else "single"

    @property
    def drafts(self) -> bool:
        """Whether tokens are drafted by something cheaper, and checked."""
        return self.prompt_lookup_num_tokens > 0 or self.assistant is not None

    @property
    def kept(self) -> int:
        """How many candidates a beam step looks at, so that enough are left when some end."""
        return self.candidates_of(self.num_beams)

    @property
    def group_size(self) -> int:
        """How many beams a group has."""
        return self.num_beams // self.num_beam_groups

    def candidates_of(self, beams: int) -> int:
        """The same of some beams."""
        return max(2, 1 + len(self.eos)) * beams


def resolve(config: GenerationConfig, *, prompt: int, positions: int, vocab: int) -> Settings:
    """Settings with every default filled in. Raises InputError for what cannot be, naming the setting and its range."""
    eos = as_tuple(config.eos_token_id)
    most, least = longest(config, prompt, positions), shortest(config, prompt)
    pad = config.pad_token_id if config.pad_token_id is not None else (eos[0] if eos else None)
    settings = Settings(
        prompt=prompt,
        max_length=most,
        min_length=least,
        begin=prompt + (1 if config.forced_bos_token_id is not None and prompt <= 1 else 0),
        room=most,
        has_min_length=least > 0,
        num_beams=number("num_beams", config.num_beams, 1, low=1),
        num_return_sequences=number("num_return_sequences", config.num_return_sequences, 1, low=1),
        do_sample=flag("do_sample", config.do_sample),
        early_stopping=False if config.early_stopping is None else config.early_stopping,
        length_penalty=real("length_penalty", config.length_penalty, 1.0, low=-60.0, high=60.0),
        temperature=real("temperature", config.temperature, 1.0),
        top_k=min(number("top_k", config.top_k, 50, low=0), vocab),
        top_p=real("top_p", config.top_p, 1.0, low=0.0, high=1.0),
        min_p=None if config.min_p is None else real("min_p", config.min_p, 0.0, low=0.0, high=1.0),
        repetition_penalty=real("repetition_penalty", config.repetition_penalty, 1.0),
        encoder_repetition_penalty=real("encoder_repetition_penalty", config.encoder_repetition_penalty, 1.0),
        no_repeat_ngram_size=number("no_repeat_ngram_size", config.no_repeat_ngram_size, 0, low=0),
        encoder_no_repeat_ngram_size=number(
            "encoder_no_repeat_ngram_size", config.encoder_no_repeat_ngram_size, 0, low=0
        ),
        suppress_tokens=as_tuple(config.suppress_tokens),
        begin_suppress_tokens=as_tuple(config.begin_suppress_tokens),
        forced_bos=config.forced_bos_token_id,
        forced_eos=as_tuple(config.forced_eos_token_id),
        eos=eos,
        pad=0 if pad is None else pad,
        output_scores=flag("output_scores", config.output_scores),
        as_dictionary=flag("return_dict_in_generate", config.return_dict_in_generate),
    )
    settings = replace(
        settings, **extra_rules(config, eos, vocab), **searching(config), **steps(config), outputs=asked_outputs(config)
    )
    check(settings, vocab)
    return settings


def extra_rules(config: GenerationConfig, eos: tuple[int, ...], vocab: int) -> dict[str, Any]:
    """The settings of further rules."""
    return {
        "top_h": None if config.top_h is None else real("top_h", config.top_h, 1.0, high=1.0),
        "typical_p": real("typical_p", config.typical_p, 1.0, high=1.0),
        "epsilon_cutoff": below_one("epsilon_cutoff", config.epsilon_cutoff),
        "eta_cutoff": below_one("eta_cutoff", config.eta_cutoff),
        "bad_words": bad_words(config.bad_words_ids, eos, vocab),
        "sequence_bias": biases(config.sequence_bias, vocab),
        "remove_invalid_values": flag("remove_invalid_values", config.remove_invalid_values),
        "length_decay": decay(config.exponential_decay_length_penalty, eos),
        "renormalize_logits": flag("renormalize_logits", config.renormalize_logits),
        "guidance_scale": real("guidance_scale", config.guidance_scale, 1.0, low=None),
        "watermarking": config.watermarking_config,
        "stop_strings": () if config.stop_strings is None else checked_strings(config.stop_strings),
    }


def searching(config: GenerationConfig) -> dict[str, Any]:
    """The settings of further searches, and of what drafts tokens."""
    return {
        "num_beam_groups": number("num_beam_groups", config.num_beam_groups, 1, low=1),
        "diversity_penalty": real("diversity_penalty", config.diversity_penalty, 0.0, low=0.0),
        "constraints": asked_constraints(config.constraints, config.force_words_ids),
        "penalty_alpha": real("penalty_alpha", config.penalty_alpha, 0.0, low=0.0, high=1.0),
        "prompt_lookup_num_tokens": number("prompt_lookup_num_tokens", config.prompt_lookup_num_tokens, 0, low=0),
        "max_matching_ngram_size": number("max_matching_ngram_size", config.max_matching_ngram_size, 2, low=1),
        "num_assistant_tokens": number("num_assistant_tokens", config.num_assistant_tokens, 20, low=1),
        "num_assistant_tokens_schedule": among(
            "num_assistant_tokens_schedule", config.num_assistant_tokens_schedule, "constant", SCHEDULES
        ),
        "assistant_confidence_threshold": real(
            "assistant_confidence_threshold", config.assistant_confidence_threshold, 0.4, low=0.0, high=1.0
        ),
    }


def steps(config: GenerationConfig) -> dict[str, Any]:
    """How steps run; "hybrid", which transformers 4 wrote for decoders of near tokens, is no wish of its own."""
    asked = config.cache_implementation
    if asked not in (None, "dynamic", "hybrid", "static"):
        raise InputError(f'cache_implementation is {asked!r}; "dynamic" or "static" was expected.')
    if flag("disable_compile", config.disable_compile):
        return {}
    return {"static": asked == "static", "compiling": config.compile_config}


def asked_outputs(config: GenerationConfig) -> frozenset[str]:
    """What each step leaves behind; nothing where the call returns ids alone, as in transformers."""
    names = {name: getattr(config, f"output_{name}") for name in ("scores", "logits", "attentions", "hidden_states")}
    asked = {name for name, value in names.items() if flag(f"output_{name}", value)}
    return frozenset(asked if flag("return_dict_in_generate", config.return_dict_in_generate) else ())


def longest(config: GenerationConfig, prompt: int, positions: int) -> int:
    """The longest output, prompt included."""
    if prompt > positions:
        raise InputError(f"the decoder's prompt has {prompt} tokens and it has positions for {positions}; shorten it.")
    if config.max_new_tokens is not None:
        length = prompt + number("max_new_tokens", config.max_new_tokens, 0, low=1)
    elif config.max_length is not None:
        length = number("max_length", config.max_length, 0, low=1)
        if length <= prompt:
            raise InputError(
                f"max_length is {length} and the decoder's prompt has {prompt} tokens; give max_new_tokens."
            )
    else:
        length = min(prompt + DEFAULT_NEW_TOKENS, max(positions, prompt + 1))
    # The last token made is never read again, so it needs no position.
    if length - 1 > positions:
        raise InputError(
            f"{length} tokens were asked for (prompt included) and the decoder has positions for {positions}; lower "
            f"max_new_tokens to {positions + 1 - prompt}."
        )
    return length


def shortest(config: GenerationConfig, prompt: int) -> int:
    """The shortest output, prompt included."""
    if config.min_new_tokens is None:
        return number("min_length", config.min_length, 0, low=0)
    new = number("min_new_tokens", config.min_new_tokens, 0, low=0)
    return prompt + new if new else 0


def check(settings: Settings, vocab: int) -> None:
    """Raises InputError where settings do not fit each other or the vocabulary."""
    beams, returned = settings.num_beams, settings.num_return_sequences
    if returned > 1 and beams == 1 and not settings.do_sample:
        raise InputError(
            f"num_return_sequences is {returned} and greedy search finds one sequence; give num_beams or do_sample=True."
        )
    if 1 < beams < returned:
        raise InputError(f"num_return_sequences is {returned} and num_beams {beams}; it can be at most num_beams.")
    if not isinstance(settings.early_stopping, bool) and settings.early_stopping != "never":
        raise InputError(f'early_stopping is {settings.early_stopping!r}; True, False or "never" was expected.')
    if beams > 1 and settings.kept > beams * vocab:
        raise InputError(
            f"num_beams is {beams}: {settings.kept} candidates a step, and the vocabulary has {vocab} tokens."
        )
    if settings.min_length > settings.max_length:
        raise InputError(
            f"min_length or min_new_tokens asks for at least {settings.min_length} tokens, prompt included, and max_length or "
            f"max_new_tokens for at most {settings.max_length}."
        )
    forced = {"forced_bos_token_id": as_tuple(settings.forced_bos), "forced_eos_token_id": settings.forced_eos}
    for name, ids in forced.items():
        if ids and set(ids) <= set(settings.suppress_tokens):
            raise InputError(f"{name} is {list(ids)}, and suppress_tokens forbids it; no token would be left.")
    tokens = {
        "eos_token_id": settings.eos,
        "pad_token_id": (settings.pad,),
        "forced_eos_token_id": settings.forced_eos,
        "forced_bos_token_id": () if settings.forced_bos is None else (settings.forced_bos,),
        "suppress_tokens": settings.suppress_tokens,
        "begin_suppress_tokens": settings.begin_suppress_tokens,
    }
    for name, ids in tokens.items():
        for one in ids:
            token_of(name, one, vocab)
