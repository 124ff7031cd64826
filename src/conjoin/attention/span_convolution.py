"""Attention in half the width, a convolution in the other half (ConvBERT, https://arxiv.org/abs/2008.02496), over `nn`.

The convolution's kernel is made anew for each token and head, of the token and of a span around it.
"""

from functools import reduce
from operator import add
from typing import Any

from conjoin.spec import StackSpec

__all__ = ["define"]

Array = Any


def define(nn: Any) -> Any:
    """The class of a layer's attention, native to the framework of the backend `nn`."""

    class SpanConvolutionAttention(nn.Module):  # type: ignore[misc]
        """Self-attention and span-based dynamic convolution, side by side."""

        def __init__(self, spec: StackSpec, scale: float, number: int) -> None:
            super().__init__()
            kind: Any = spec.attention
            inner = spec.heads * spec.head_dim
            self.heads, self.scale, self.kernel = spec.heads, scale, kind.kernel
            self.q, self.k, self.v = (nn.Linear(spec.width, inner, True) for _ in "qkv")
            self.depthwise = nn.parameter(spec.width, 1, kind.kernel)
            self.pointwise = nn.parameter(inner, spec.width, 1)
            self.span_bias = nn.parameter(inner, 1)
            self.kernels = nn.Linear(inner, spec.heads * kind.kernel, True)
            self.content = nn.Linear(spec.width, inner, True)
            self.o = nn.Linear(2 * inner, spec.width, True)
            self.dropout = nn.Dropout(spec.attention_dropout)

        def forward(
            self, x: Array, sight: Any, memory: None = None, cache: None = None, at: Any = 0, weights: Any = None
        ) -> tuple[Array, None]:
            """x (B, T, W) -> (B, T, W), and no cache; attention weights (B, H, T, T) are added to `weights`."""
            query = self.q(x)
            q, k, v = (nn.split_heads(y, self.heads) for y in (query, self.k(x), self.v(x)))
            attended, seen = nn.attention(q, k, v, sight.mask, self.scale, self.dropout, weights is not None)
            if weights is not None:
                weights.append(seen)
            both = nn.concat([nn.merge_heads(attended), nn.merge_heads(self.convolved(x, query))], 2)
            return self.o(both), None

        def convolved(self, x: Array, query: Array) -> Array:
            """Each token's neighbours, weighed by its kernels: x (B, T, W), query (B, T, H * D) -> (B, H, T, D)."""
            by_tap = nn.values(self.depthwise)
            span = reduce(add, (near * by_tap[:, 0, i] for i, near in enumerate(self.neighbours(x))))
            key = nn.convolved(span, nn.values(self.pointwise)) + nn.values(self.span_bias)[:, 0]
            kernels = nn.softmax(nn.split_heads(self.kernels(key * query), self.heads))
            content = self.neighbours(self.content(x))
            taps = (nn.split_heads(near, self.heads) * kernels[..., i : i + 1] for i, near in enumerate(content))
            return reduce(add, taps)

        def neighbours(self, x: Array) -> list[Array]:
            """x (B, T, W) as each tap of the kernel sees it, the first one farthest before; zeros beyond either end."""
            length, framed = nn.size(x, 1), nn.framed(x, self.kernel // 2)
            return [framed[:, i : i + length] for i in range(self.kernel)]

    return SpanConvolutionAttention
