"""What drafts tokens for a call, checked against it: a lookup in the source and the output, or an assistant model."""

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from conjoin.decoding.call import Call
from conjoin.decoding.settings import Settings
from conjoin.errors import InputError
from conjoin.tokens.pair import as_tokenizer

__all__ = ["alike", "with_drafts"]


def with_drafts(model: Any, settings: Settings, call: Call, given: Mapping[str, Any]) -> Settings:
    """The settings with an assistant, and with whether the source can be looked up in.

    Raises InputError for an assistant that does not fit the model, and for settings with which nothing can be drafted.
    """
    assistant = given.get("assistant_model")
    if assistant is None and given.get("assistant_tokenizer") is not None:
        raise InputError("assistant_tokenizer came without an assistant_model; give both, or leave it out.")
    settings = replace(settings, assistant=assistant)
    if not settings.drafts:
        return settings
    check_alone(model, settings)
    settings = replace(settings, outputs=settings.outputs - {"cache"})  # rows stand in slots of their own
    if assistant is not None:
        if not isinstance(assistant, type(model)):
            raise InputError(
                f"assistant_model is a {type(assistant).__name__}; a joined model, {type(model).__name__}, was expected."
            )
        settings = replace(settings, vocabularies=two_vocabularies(model, assistant, given))
        check_assistant(model, settings, call, assistant)
        return settings
    shared = one_vocabulary(model)
    if not shared and call.rule_ids is not None:
        warnings.warn(
            "prompt_lookup_num_tokens: the source's tokens are not the target's, so drafts are looked up in the output only.",
            stacklevel=5,
        )
    return replace(settings, lookup_source=shared)


def check_alone(model: Any, settings: Settings) -> None:
    """Drafts are for one sequence a source, in a loop that Python runs."""
    lookup = settings.prompt_lookup_num_tokens
    name = "assistant_model" if settings.assistant is not None else f"prompt_lookup_num_tokens={lookup}"
    if not model.ops.CALLS_BACK:
        raise InputError(
            f"{name} came; rows take as many drafted tokens as they can, each its own number, which a compiled loop of fixed "
            f"shapes cannot gain from: leave it out, or use EncoderDecoderModel."
        )
    if settings.assistant is not None and lookup:
        raise InputError(f"assistant_model and prompt_lookup_num_tokens={lookup} both draft; leave one of them out.")
    for other, value, plain in (
        ("num_beams", settings.num_beams, 1),
        ("num_return_sequences", settings.num_return_sequences, 1),
        ("penalty_alpha", settings.penalty_alpha, 0.0),
    ):
        if value != plain:
            raise InputError(f"{name} and {other}={value:g} came; drafts are for one sequence, leave one of them out.")
    called = settings.callbacks
    for other, there in (
        ("logits_processor", called.processors),
        ("stopping_criteria", called.criteria),
        ("prefix_allowed_tokens_fn", called.allowed is not None),
        ("streamer", called.streamer is not None),
        ("guidance_scale", settings.guidance_scale != 1.0),
        *((f"output_{one}", one in settings.outputs) for one in ("scores", "logits", "attentions", "hidden_states")),
    ):
        if there:
            raise InputError(
                f"{name} and {other} came; rows stand at different lengths and a step reads several tokens of each, of which "
                f"some are taken back: leave one of them out."
            )


def two_vocabularies(model: Any, assistant: Any, given: Mapping[str, Any]) -> tuple[Any, Any] | None:
    """The target tokenizers of the model and of an assistant that writes other tokens; None where they are the same.

    Raises InputError where they are not, and either is not known.
    """
    named = {"tokenizer": model.decoder.tokenizer, "assistant_tokenizer": assistant.decoder.tokenizer}
    ours, theirs = (known if given.get(name) is None else as_tokenizer(given[name]) for name, known in named.items())
    same = model.decoder.spec.vocab == assistant.decoder.spec.vocab
    if same and alike(ours, theirs):
        return None
    for name, found in (("tokenizer", ours), ("assistant_tokenizer", theirs)):
        if found is None:
            raise InputError(
                f"assistant_model writes other tokens than the model ({assistant.decoder.spec.vocab} and "
                f"{model.decoder.spec.vocab} of them), and texts between them need both target tokenizers; give {name}=."
            )
    return ours, theirs


def check_assistant(model: Any, settings: Settings, call: Call, assistant: Any) -> None:
    """An assistant reads the same sources, or their texts, and has as many positions as are needed."""
    theirs = assistant.decoder.spec
    if settings.vocabularies is None and settings.max_length - 1 > theirs.max_length:
        raise InputError(
            f"assistant_model has positions for {theirs.max_length} tokens and {settings.max_length - 1} may be read; lower "
            f"max_new_tokens."
        )
    if assistant.encoder is model.encoder:
        return
    if call.states is not None:
        raise InputError(
            "encoder_outputs came, and assistant_model has an encoder of its own that must read the source; give input_ids."
        )
    source, other = model.encoder.spec, assistant.encoder.spec
    same = source.front == other.front and (source.front is not None or source.vocab == other.vocab)
    if same and alike(model.encoder.tokenizer, assistant.encoder.tokenizer):
        return
    texts = (
        settings.vocabularies is not None
        and source.front is None
        and other.front is None
        and call.input_ids is not None
    )
    if not texts or model.encoder.tokenizer is None or assistant.encoder.tokenizer is None:
        raise InputError("assistant_model reads other sources than the model; one source tokenizer was expected.")


def one_vocabulary(model: Any) -> bool:
    """Whether the tokens of source and target are the same, as far as tokenizers or, without them, sizes tell."""
    if model.encoder.spec.front is not None:
        return False
    known = model.encoder.tokenizer is not None and model.decoder.tokenizer is not None
    same_size = model.encoder.spec.vocab == model.decoder.spec.vocab
    return alike(model.encoder.tokenizer, model.decoder.tokenizer) if known else bool(same_size)


def alike(one: Any, other: Any) -> bool:
    """Whether two tokenizers have one vocabulary; True where either is not known."""
    return one is other or one is None or other is None or one.get_vocab() == other.get_vocab()
