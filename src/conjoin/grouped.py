"""A product made in groups, each of a part of the input alone (section 3.3 of https://arxiv.org/abs/2008.02496)."""

from typing import Any

__all__ = ["define"]

Array = Any


def define(nn: Any) -> Any:
    """Its class, native to the framework of the backend `nn`."""

    class GroupedLinear(nn.Module):  # type: ignore[misc]
        """x (B, T, inputs) -> (B, T, outputs); the weight is (groups, inputs of one, outputs of one)."""

        def __init__(self, inputs: int, outputs: int, groups: int) -> None:
            super().__init__()
            self.groups = groups
            self.weight = nn.parameter(groups, inputs // groups, outputs // groups)
            self.bias = nn.parameter(outputs)

        def forward(self, x: Array) -> Array:
            parts = nn.dots(nn.split_heads(x, self.groups), nn.transposed(nn.values(self.weight)[None]))
            return nn.merge_heads(parts) + nn.values(self.bias)

    return GroupedLinear
