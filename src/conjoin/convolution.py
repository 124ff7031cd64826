"""The convolution beside the first layer of DeBERTa-v2 (section 3 of https://arxiv.org/abs/2006.03654), over `nn`."""

from typing import Any

from conjoin.spec import StackSpec

__all__ = ["define"]

Array = Any


def define(nn: Any) -> Any:
    """Its class, native to the framework of the backend `nn`."""

    class Convolution(nn.Module):  # type: ignore[misc]
        """The embeddings over neighbouring tokens, added to what the first layer made of them; padding stays zero."""

        def __init__(self, spec: StackSpec) -> None:
            super().__init__()
            kind: Any = spec.convolution
            self.weight = nn.parameter(spec.width, spec.width, kind.kernel)
            self.bias = nn.parameter(spec.width)
            self.activation = nn.activation(kind.activation)
            self.norm = nn.LayerNorm(spec.width, spec.norm_eps, True)
            self.dropout = nn.Dropout(spec.dropout)

        def forward(self, embeddings: Array, x: Array, mask: Array | None) -> Array:
            """embeddings and x (B, T, W) -> (B, T, W)."""
            seen = None if mask is None else mask[:, 0, 0, :, None]
            y = nn.convolved(shown(embeddings, seen), self.weight) + nn.values(self.bias)
            y = self.activation(self.dropout(shown(y, seen)))
            return shown(self.norm(x + y), seen)

    def shown(x: Array, seen: Array | None) -> Array:
        """x (B, T, W), zero where a token is hidden."""
        return x if seen is None else nn.where(seen, x, 0.0)

    return Convolution
