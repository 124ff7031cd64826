"""Which settings of the search modes can stand together, and whether constraints were met in the end."""

import warnings
from typing import Any

from conjoin.constraints import Constraint, ConstraintsNotMetWarning, met
from conjoin.decoding.settings import Settings, resolve
from conjoin.errors import InputError
from conjoin.generation import GenerationConfig

__all__ = ["checked", "constraints_met"]


def checked(config: GenerationConfig, prompt: int, decoder: Any) -> Settings:
    """The settings of a call, for a decoder of this spec and a prompt of so many tokens. Raises InputError for what cannot be."""
    settings = resolve(config, prompt=prompt, positions=decoder.max_length, vocab=decoder.vocab)
    check_modes(settings, decoder.max_length, decoder.vocab)
    return settings


def check_modes(settings: Settings, positions: int, vocab: int) -> None:
    """Raises InputError where settings of diverse, constrained and contrastive search do not fit each other or the model."""
    check_groups(settings)
    if settings.constraints:
        check_constraints(settings, vocab)
    if settings.penalty_alpha > 0:
        check_contrast(settings, positions)
    if settings.search == "contrastive":
        check_outputs(settings)


def check_groups(settings: Settings) -> None:
    """Groups of beams are of one size, differ, and do not sample."""
    groups, beams, penalty = settings.num_beam_groups, settings.num_beams, settings.diversity_penalty
    if beams % groups:
        raise InputError(f"num_beam_groups is {groups} and num_beams {beams}; groups of one size were expected.")
    if groups == 1 and penalty > 0:
        raise InputError(
            f"diversity_penalty is {penalty:g} and num_beam_groups 1; a penalty is between groups, so give at least two."
        )
    if groups > 1 and penalty == 0:
        raise InputError(
            f"num_beam_groups is {groups} and diversity_penalty 0; all groups would find the same, so give one above 0."
        )
    if groups > 1 and settings.do_sample:
        raise InputError(
            f"num_beam_groups is {groups} and do_sample True; groups do not sample, leave one of them out."
        )


def check_constraints(settings: Settings, vocab: int) -> None:
    """Constraints are met by one group of beams, and consist of tokens that can come before the end."""
    if settings.num_beams == 1:
        raise InputError("constraints or force_words_ids came and num_beams is 1; beams are needed to meet them.")
    for name, value, plain in (
        ("do_sample", settings.do_sample, False),
        ("num_beam_groups", settings.num_beam_groups, 1),
    ):
        if value != plain:
            raise InputError(f"constraints or force_words_ids came and {name} is {value}; leave one of them out.")
    never = {"eos_token_id": settings.eos, "suppress_tokens": settings.suppress_tokens}
    for one in settings.constraints:
        check_tokens(one, never, vocab)


def check_tokens(constraint: Constraint, never: dict[str, tuple[int, ...]], vocab: int) -> None:
    """Tokens of a constraint are in the vocabulary and none of those that cannot come."""
    for token in (token for phrase in constraint.phrases for token in phrase):
        if token >= vocab:
            raise InputError(f"a constraint holds token {token}; the decoder's vocabulary is 0 to {vocab - 1}.")
        for name, ids in never.items():
            if token in ids:
                raise InputError(
                    f"a constraint holds token {token}, which is in {name} and so cannot come; tokenize its words with "
                    f"add_special_tokens=False."
                    if name == "eos_token_id"
                    else f"a constraint holds token {token}, which {name} forbids; leave one of them out."
                )


def check_contrast(settings: Settings, positions: int) -> None:
    """Contrastive search is one sequence, not drawn at random, each token of which is read."""
    alpha = settings.penalty_alpha
    for name, value, plain in (("do_sample", settings.do_sample, False), ("num_beams", settings.num_beams, 1)):
        if value != plain:
            raise InputError(f"penalty_alpha is {alpha:g} and {name} {value}; leave one of them out.")
    if settings.top_k == 0:
        raise InputError(f"penalty_alpha is {alpha:g} and top_k 0; it chooses among the top_k likeliest, say 4.")
    if settings.max_length > positions:
        raise InputError(
            f"{settings.max_length} tokens were asked for (prompt included) and the decoder has positions for {positions}; "
            f"with penalty_alpha the last is read too, so lower max_new_tokens to {positions - settings.prompt}."
        )


def check_outputs(settings: Settings) -> None:
    """Of contrastive search there are no attentions and states of each step: it reads candidates that nobody chose."""
    for name in ("attentions", "hidden_states"):
        if name in settings.outputs:
            raise InputError(
                f"penalty_alpha is {settings.penalty_alpha:g} and output_{name} True; a step reads candidates that are not "
                f"chosen, so call the model on the sequences with output_{name}=True."
            )


def constraints_met(ops: Any, settings: Settings, sequences: Any) -> list[bool]:
    """Whether each sequence (N, T) meets all constraints, with a warning where one does not."""
    whole = [met(settings.constraints, ids) for ids in ops.id_lists(sequences)]
    if not all(whole):
        warnings.warn(
            f"{whole.count(False)} of {len(whole)} sequences ended, at most at {settings.max_length} tokens, before all "
            f"constraints were met; give a larger max_new_tokens or num_beams, or fewer constraints.",
            ConstraintsNotMetWarning,
            stacklevel=4,
        )
    return whole
