"""Rotary positions of a GGUF file, and how they are scaled, as transformers' `rope_parameters`."""

from math import pi
from typing import Any

import numpy as np

from conjoin.errors import CheckpointError, ConfigError
from conjoin.gguf.header import Header, mapped

__all__ = ["FREQUENCIES", "ROPE_KEYS", "rope_parameters"]

FREQUENCIES = "rope_freqs.weight"  # Llama 3's scaling: what each pair of dimensions' frequency is divided by
ROPE_KEYS = frozenset(
    "rope.dimension_count rope.freq_base rope.freq_base_swa rope.scale_linear rope.scaling.type rope.scaling.factor "
    "rope.scaling.original_context_length rope.scaling.finetuned".split()
)
THETA = 10000.0  # where the file does not say, as in llama.cpp
# Llama 3's scaling (Llama 3.1 to 3.3 have these; only the factor differs).
LOW, HIGH, TRAINED = 1.0, 4.0, 8192
F32 = 0


def rope_parameters(header: Header, head_dim: int) -> dict[str, Any]:
    """transformers' `rope_parameters`. Raises ConfigError for a kind of scaling that is not implemented."""
    name = header.architecture
    theta = header.optional(f"{name}.rope.freq_base", float) or THETA
    if FREQUENCIES in header.tensors:
        return {"rope_theta": theta, **llama3(header, theta, head_dim)}
    # llama.cpp takes a file with a factor and no type for a linear one.
    kind = header.optional(f"{name}.rope.scaling.type", str) or "linear"
    factor = header.optional(f"{name}.rope.scaling.factor", float) or header.optional(
        f"{name}.rope.scale_linear", float
    )
    trained = header.optional(f"{name}.rope.scaling.original_context_length", int)
    if kind == "none" or not factor:
        if kind in ("none", "linear"):
            return {"rope_theta": theta, "rope_type": "default"}
    elif kind == "linear":
        return {"rope_theta": theta, "rope_type": "linear", "factor": factor}
    elif kind == "yarn" and trained is not None:
        return {
            "rope_theta": theta,
            "rope_type": "yarn",
            "factor": factor,
            "original_max_position_embeddings": trained,
        }
    raise ConfigError(
        f'"{header.path}": rotary positions with the scaling "{kind}" are not read; none, linear, yarn (with a factor '
        f"and the context it was trained with) and Llama 3's are."
    )


def llama3(header: Header, theta: float, head_dim: int) -> dict[str, Any]:
    """Llama 3's scaling, from the frequencies' divisors (head_dim / 2,), which are all that a GGUF file has of it.

    Its factor is the largest divisor. Raises ConfigError where the others do not follow from it.
    """
    divisors = frequencies(header)
    factor = float(divisors.max())
    if np.all(divisors == 1):
        return {"rope_type": "default"}
    frequency = theta ** -(np.arange(0, head_dim, 2) / head_dim)
    smooth = np.clip((TRAINED * frequency / (2 * pi) - LOW) / (HIGH - LOW), 0, 1)
    expected = 1 / ((1 - smooth) / factor + smooth)
    if expected.shape != divisors.shape or not np.allclose(expected, divisors, rtol=1e-4):
        raise ConfigError(
            f'"{header.path}": "{FREQUENCIES}" is not Llama 3\'s scaling of {TRAINED} positions; no other can be read.'
        )
    return {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": LOW,
        "high_freq_factor": HIGH,
        "original_max_position_embeddings": TRAINED,
    }


def frequencies(header: Header) -> np.ndarray:
    """The frequencies' divisors. Raises CheckpointError where they are not whole, or not in float32."""
    stored = header.tensors[FREQUENCIES]
    count = stored.shape[0]
    if stored.kind != F32 or len(stored.shape) != 1 or stored.offset + 4 * count > header.size:
        raise CheckpointError(f'"{header.path}" is broken: "{FREQUENCIES}" is not a row of numbers in float32.')
    with mapped(header.path) as data:
        return np.frombuffer(data[stored.offset : stored.offset + 4 * count], "<f4").astype(np.float64)
