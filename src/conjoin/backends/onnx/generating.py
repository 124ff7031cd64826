"""Random numbers for sampling with exported models, and the searches that graphs cannot do."""

from collections.abc import Callable
from typing import Any

import numpy as np

from conjoin.backends import numpy as host
from conjoin.errors import InputError

__all__ = ["noise", "programs", "shortened"]

Array = np.ndarray[Any, Any]


def noise(seed: int | None, batch: int, count: int) -> Callable[[Array, int, Array], Array]:
    """A source of exponential noise for drawing tokens: (row (B,), length, scores) -> noise that broadcasts to scores.

    With a seed, the noise of a step is the same for every source, so that what one draws does not depend on others.
    """
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
        raise InputError(f"seed is {seed!r}; a whole number was expected.")
    draws = np.random.default_rng(seed)

    def drawn(row: Array, length: int, scores: Array) -> Array:
        rows = len(scores) if seed is None else 1
        return draws.standard_exponential((rows, *scores.shape[1:]), np.float32)

    return drawn


def programs(model: Any, settings: Any, noise: Any, *functions: Callable[..., Any]) -> list[Callable[..., Any]]:
    """As NumPy's. Raises InputError for what cannot be done with graphs."""
    refuse(settings)
    return host.programs(model, settings, noise, *functions)


def shortened(decoder: Any, allowed: Any) -> Any:
    """Raises InputError: a graph makes the logits of the whole vocabulary."""
    raise InputError(
        "vocabulary came and the model is an exported one: its graphs make all logits; use EncoderDecoderModel, from the folder "
        "that was exported."
    )


def refuse(settings: Any) -> None:
    """Raises InputError for a search that reads what a graph does not give, or that PyTorch has alone."""
    for name, asked, why in (
        ("penalty_alpha", settings.search == "contrastive", "contrastive search compares hidden states"),
        ("prompt_lookup_num_tokens or assistant_model", settings.drafts, "drafts are checked by PyTorch's model alone"),
        ("watermarking_config", settings.watermarking is not None, "its random numbers are torch's"),
    ):
        if asked:
            raise InputError(
                f"{name} came and the model is an exported one: {why}; use EncoderDecoderModel, from the folder that was "
                f"exported."
            )
