"""What a call asks for beside settings, made part of them: callbacks, stop strings; what it says or asks for in vain."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from conjoin.decoding import stop_strings
from conjoin.decoding.call import Call
from conjoin.decoding.callbacks import CALLBACKS, asked_callbacks
from conjoin.decoding.settings import Settings
from conjoin.decoding.values import real
from conjoin.errors import InputError
from conjoin.generation import GenerationConfig
from conjoin.tokens.pair import as_tokenizer

__all__ = ["warn_ignored", "with_hooks", "with_stop_strings", "without_habits"]

logger = logging.getLogger("conjoin")

# Settings that nothing reads unless another one is set.
OF_SAMPLES = ("temperature", "top_k", "top_p", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff")
OF_BEAMS = ("early_stopping", "length_penalty")
OF_OUTPUTS = ("output_scores", "output_logits", "output_attentions", "output_hidden_states")
# What calls the user's Python at each step, or draws torch's random numbers, and so cannot be part of a compiled program.
STEPWISE = {
    **dict.fromkeys(CALLBACKS, "it is called at each step"),
    "max_time": "a clock is read at each step",
    "output_attentions": "only one pass over the whole output keeps them",
    "output_hidden_states": "only one pass over the whole output keeps them",
    "watermarking_config": "its random numbers are torch's",
}
# What transformers' trainers and scripts pass, and what says nothing here.
HABITS = ("labels", "custom_generate", "trust_remote_code")
# Searches that transformers 5 fetches as code.
BUILT_IN = ("contrastive-search", "group-beam-search", "constrained-beam-search")
INSTEAD = {
    "streamer": "pipeline(...).stream gives texts piece by piece",
    "output_attentions": "call the model on the sequences with output_attentions=True",
    "output_hidden_states": "call the model on the sequences with output_hidden_states=True",
}


def without_habits(given: Mapping[str, Any]) -> dict[str, Any]:
    """What a call was given that counts. Raises InputError for a `custom_generate` that is not built in."""
    custom = given.get("custom_generate")
    if custom is not None and str(custom).removeprefix("transformers-community/") not in BUILT_IN:
        raise InputError(
            f"custom_generate is {custom!r}; no code of the hub's is run here. Leave it out for {', '.join(BUILT_IN)}, which "
            f"are built in; rules of your own come as logits_processor."
        )
    return {name: value for name, value in given.items() if name not in HABITS}


def with_hooks(model: Any, settings: Settings, config: GenerationConfig, given: Mapping[str, Any]) -> Settings:
    """The settings with what is to be called at each step, and with the cache among the outputs where it is returned."""
    asked = {name: given.get(name) if name in CALLBACKS else getattr(config, name) for name in STEPWISE}
    if not model.ops.CALLS_BACK:
        for name, value in asked.items():
            if value is not None and value is not False:
                instead = INSTEAD.get(name, "use the PyTorch model, EncoderDecoderModel, from the same folder")
                raise InputError(
                    f"{name} works in PyTorch alone: {STEPWISE[name]}, and here all steps are one program; {instead}."
                )
        return settings
    seconds = None if config.max_time is None else real("max_time", config.max_time, 0.0, low=0.0)
    callbacks = asked_callbacks(given, seconds)
    # Contrastive search reads candidates that nobody chose, so that no cache of what was said is left.
    cached = settings.as_dictionary and given.get("use_cache") is not False and settings.search != "contrastive"
    return replace(settings, callbacks=callbacks, outputs=settings.outputs | ({"cache"} if cached else frozenset()))


def with_stop_strings(model: Any, settings: Settings, call: Call, tokenizer: Any) -> tuple[Settings, Call]:
    """Settings and call with the table of stop strings, by the tokenizer that was given or the decoder's own."""
    strings = settings.stop_strings
    if not strings:
        return settings, call
    found = model.decoder.tokenizer if tokenizer is None else as_tokenizer(tokenizer)
    if found is None:
        raise InputError(
            f"stop_strings is {list(strings)}, and the model came without a tokenizer that could read them; give tokenizer=."
        )
    moves, states = stop_strings.moves(found, strings), stop_strings.state_count(strings)
    settings = replace(
        settings,
        stop_window=stop_strings.window(strings),
        stop_states=states,
        stop_tokens=len(moves) // states,
    )
    return settings, replace(call, stop_moves=model.ops.on_device(moves, model))


def warn_ignored(settings: Settings, given: Mapping[str, Any]) -> None:
    """Logs what a call itself asks for and nothing reads. What a model's own settings say in vain is nobody's mistake."""
    for names, read, needed in (
        (OF_SAMPLES, settings.do_sample, "do_sample=True"),
        (OF_BEAMS, settings.num_beams > 1, "num_beams above 1"),
        (OF_OUTPUTS, settings.as_dictionary, "return_dict_in_generate=True"),
    ):
        vain = [name for name in names if given.get(name) is not None and given[name] is not False and not read]
        vain = [name for name in vain if name != "top_k" or settings.penalty_alpha == 0]
        if vain:
            logger.warning("%s: nothing reads it without %s.", ", ".join(vain), needed)
