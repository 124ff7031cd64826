"""Which searches may choose together: those that ask for the same, where rows do not change each other's numbers."""

from dataclasses import replace
from typing import Any

import torch

from conjoin.decoding.callbacks import NOTHING
from conjoin.decoding.settings import Settings
from conjoin.engine.tensor_rows import suits

__all__ = ["exact", "kind_of"]


def exact(model: Any) -> bool:
    """Whether the choice for a row is the same, bit for bit, whatever rows stand beside it.

    It is where the engine's kernels make log-probabilities and look for the best. torch's own log_softmax adds up several rows
    in another order than one.
    """
    return suits(torch.empty(1, model.decoder.spec.vocab))


def kind_of(settings: Settings) -> str | None:
    """What searches have in common that choose together; None for one that chooses alone."""
    reads = settings.encoder_repetition_penalty != 1.0 or settings.encoder_no_repeat_ngram_size > 0
    odd = reads or settings.watermarking is not None or settings.guidance_scale != 1.0 or settings.stop_strings
    if (
        odd
        or settings.do_sample
        or settings.search not in ("single", "beams")
        or settings.callbacks is not NOTHING
        or settings.as_dictionary
    ):
        return None
    return repr(replace(settings, max_length=0, min_length=0, room=0))
