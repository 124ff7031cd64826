"""Norms and linear layers as a spec has them, over the backend `nn`."""

from typing import Any

from conjoin.spec import StackSpec

__all__ = ["linear", "norm_of"]


def norm_of(nn: Any, spec: StackSpec, width: int) -> Any:
    """A norm of the spec's kind."""
    if spec.norm == "rms":
        return nn.RMSNorm(width, spec.norm_eps, spec.norm_offset)
    return nn.LayerNorm(width, spec.norm_eps, spec.norm_bias)


def linear(nn: Any, spec: StackSpec, name: str, inputs: int, outputs: int) -> Any:
    """A linear layer, with a bias where the spec has one by its name."""
    return nn.Linear(inputs, outputs, name in spec.biases)
