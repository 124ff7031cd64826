"""Rules: what changes the scores of the next token, on arrays alone, in transformers' order and arithmetic.

A rule is a function of (ids, length, scores): ids (B, K, L) of which the first `length` columns are filled, and scores
(B, K, V) of the next token. No rule loops over rows, but for those that call the user's Python.

kinds.py       what a rule is
repetition.py  penalties for what was made or read before, n-grams that may not come twice
tokens.py      tokens and sequences forbidden, forced, biased
whole.py       guidance, invalid values, a growing wish to end, normalisation
callbacks.py   the user's own: allowed prefixes, logits processors
warping.py     temperature, top_k, top_p and their kin, before a token is drawn
watermark.py   green lists
"""

from typing import Any

from conjoin.decoding.rules.callbacks import allowed_by_prefix, user_processor
from conjoin.decoding.rules.kinds import Ban, Rule, forbidden_by
from conjoin.decoding.rules.repetition import (
    encoder_no_repeat_ngram,
    encoder_repetition_penalty,
    no_repeat_ngram,
    repetition_penalty,
)
from conjoin.decoding.rules.tokens import forbidden, forced, sequence_bias
from conjoin.decoding.rules.warping import (
    epsilon_cutoff,
    eta_cutoff,
    min_p,
    temperature,
    top_h,
    top_k,
    top_p,
    typical_p,
)
from conjoin.decoding.rules.watermark import watermark
from conjoin.decoding.rules.whole import guidance, length_decay, remove_invalid, renormalized
from conjoin.decoding.settings import Settings

__all__ = [
    "Ban",
    "Rule",
    "allowed_by_prefix",
    "encoder_no_repeat_ngram",
    "encoder_repetition_penalty",
    "epsilon_cutoff",
    "eta_cutoff",
    "finishers",
    "forbidden",
    "forbidden_by",
    "forced",
    "guidance",
    "length_decay",
    "min_p",
    "no_repeat_ngram",
    "processors",
    "remove_invalid",
    "renormalized",
    "repetition_penalty",
    "sequence_bias",
    "temperature",
    "top_h",
    "top_k",
    "top_p",
    "typical_p",
    "user_processor",
    "warpers",
    "watermark",
]

Array = Any


def processors(
    ops: Any, settings: Settings, source: Array | None, against: Array | None = None, padding: Array | None = None
) -> list[Rule]:
    """The rules that hold in every mode, in transformers' order.

    `source` (B, S), or None where it has no ids; `against` (B, K, V) the logits that guidance leads away from; `padding` (B,)
    how many tokens of padding stand before the prompt.
    """
    rules: list[Rule] = []
    if against is not None:
        rules.append(guidance(ops, settings.guidance_scale, against))
    if settings.sequence_bias:
        rules.append(sequence_bias(ops, dict(settings.sequence_bias)))
    if settings.encoder_repetition_penalty != 1.0 and source is not None:
        rules.append(encoder_repetition_penalty(ops, settings.encoder_repetition_penalty, source))
    if settings.repetition_penalty != 1.0:
        rules.append(repetition_penalty(ops, settings.repetition_penalty, padding))
    if settings.no_repeat_ngram_size > 0:
        rules.append(no_repeat_ngram(ops, settings.no_repeat_ngram_size))
    if settings.encoder_no_repeat_ngram_size > 0 and source is not None:
        rules.append(encoder_no_repeat_ngram(ops, settings.encoder_no_repeat_ngram_size, source))
    if settings.bad_words:
        rules.append(sequence_bias(ops, dict.fromkeys(settings.bad_words, float("-inf"))))
    if settings.has_min_length and settings.eos:
        rules.append(forbidden(ops, settings.eos, lambda length: length < settings.min_length))
    if settings.callbacks.allowed is not None:
        rules.append(allowed_by_prefix(ops, settings.callbacks.allowed, settings.num_beams))
    return [*rules, *forcing(ops, settings), *(user_processor(ops, one) for one in settings.callbacks.processors)]


def forcing(ops: Any, settings: Settings) -> list[Rule]:
    """The rules that force and suppress, and those between them."""
    rules: list[Rule] = []
    if settings.forced_bos is not None:
        rules.append(forced(ops, (settings.forced_bos,), lambda length: length == 1))
    if settings.forced_eos:
        rules.append(forced(ops, settings.forced_eos, lambda length: length == settings.max_length - 1))
    if settings.remove_invalid_values:
        rules.append(remove_invalid(ops))
    if settings.length_decay is not None:
        after, factor = settings.length_decay
        rules.append(length_decay(ops, settings.prompt + after, factor, settings.eos, settings.room))
    if settings.suppress_tokens:
        rules.append(forbidden(ops, settings.suppress_tokens, lambda length: length > 0))
    if settings.begin_suppress_tokens:
        rules.append(forbidden(ops, settings.begin_suppress_tokens, lambda length: length == settings.begin))
    return rules


def warpers(ops: Any, settings: Settings) -> list[Rule]:
    """The rules that shape a distribution before a token is drawn, in transformers' order."""
    keep = len(settings.eos) + 1 if settings.num_beams > 1 else 1
    rules: list[Rule] = []
    if settings.temperature != 1.0:
        rules.append(temperature(ops, settings.temperature))
    if settings.top_h is not None:
        rules.append(top_h(ops, settings.top_h))
    if settings.top_k:
        rules.append(top_k(ops, max(settings.top_k, keep)))
    if settings.top_p < 1.0:
        rules.append(top_p(ops, settings.top_p, keep))
    if settings.min_p is not None:
        rules.append(min_p(ops, settings.min_p, keep))
    if settings.typical_p < 1.0:
        rules.append(typical_p(ops, settings.typical_p, keep))
    if settings.epsilon_cutoff > 0.0:
        rules.append(epsilon_cutoff(ops, settings.epsilon_cutoff, keep))
    if settings.eta_cutoff > 0.0:
        rules.append(eta_cutoff(ops, settings.eta_cutoff, keep))
    return rules


def finishers(ops: Any, settings: Settings) -> list[Rule]:
    """The rules that come last in every mode, after those of a sample."""
    rules: list[Rule] = []
    if settings.watermarking is not None:
        rules.append(watermark(ops, settings.watermarking))
    if settings.renormalize_logits:
        rules.append(renormalized(ops))
    return rules
