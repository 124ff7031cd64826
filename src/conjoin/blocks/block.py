"""One layer of a stack, written once over the backend `nn`: attention, cross-attention, feed-forward."""

from typing import Any

from conjoin.blocks.inputs import Cache, Sight, Trace
from conjoin.blocks.leaves import linear, norm_of
from conjoin.spec import StackSpec

__all__ = ["define"]

Array = Any


def define(nn: Any, attention: Any, kinds: Any, grouped: Any, convolution: Any) -> tuple[Any, Any]:
    """The classes FeedForward and Block. `kinds` has attention of other kinds, `grouped` and `convolution` are layers."""

    def product(spec: StackSpec, name: str, inputs: int, outputs: int) -> Any:
        if spec.ffn_groups > 1:
            return grouped(inputs, outputs, spec.ffn_groups)
        return linear(nn, spec, name, inputs, outputs)

    class FeedForward(nn.Module):
        """Up, activation, down; with a gate, the activated product multiplies another (https://arxiv.org/abs/2002.05202)."""

        def __init__(self, spec: StackSpec) -> None:
            super().__init__()
            self.activation = nn.activation(spec.activation)
            self.gate = linear(nn, spec, "gate", spec.width, spec.ffn) if spec.gated else None
            self.up = product(spec, "up", spec.width, spec.ffn)
            self.down = product(spec, "down", spec.ffn, spec.width)
            self.dropout = nn.Dropout(spec.activation_dropout)

        def forward(self, x: Array) -> Array:
            if self.gate is not None:
                return self.down(self.dropout(self.activation(self.gate(x)) * self.up(x)))
            y = self.up(x)
            z = self.activation(y)
            with nn.recalled(z, self.activation, y):
                return self.down(self.dropout(z))

    class Block(nn.Module):
        """Self-attention, cross-attention where the spec asks for it, feed-forward; each with its residual and norms."""

        def __init__(self, spec: StackSpec, number: int) -> None:
            super().__init__()
            scale = spec.head_dim**-0.5 if spec.score_scale is None else spec.score_scale
            if spec.scale_scores_by_layer:
                scale /= number + 1
            out, before = spec.norms in ("sandwich", "out"), spec.norms != "out"
            self.post, self.parallel, self.residual_scale = spec.norms == "post", spec.parallel, spec.residual_scale
            self.has_cross, self.cross_place, self.streams = spec.has_cross(number), spec.cross_place, spec.streams
            kind = kinds.layer(spec.attention)
            self.attention = attention(spec, scale, spec.width) if kind is None else kind(spec, scale, number)
            self.attention_norm = norm_of(nn, spec, spec.width) if before and (number or spec.first_norm) else None
            self.attention_out_norm = norm_of(nn, spec, spec.width) if out else None
            scales = spec.layer_scale is not None
            self.attention_scale = nn.vector(spec.width, trained=True) if scales else None
            self.ffn_scale = nn.vector(spec.width, trained=True) if scales else None
            window = spec.window
            self.window = nn.Embedding(window.rows, spec.heads) if window is not None and window.own else None
            if self.has_cross:
                self.cross = attention(spec, scale, spec.memory_width or spec.width)
                self.cross_norm = norm_of(nn, spec, spec.width) if before else None
                self.cross_out_norm = norm_of(nn, spec, spec.width) if out else None
                self.cross_gate = nn.vector(1, trained=True) if spec.cross_gate else None
            self.ffn = FeedForward(spec)
            self.ffn_norm = norm_of(nn, spec, spec.width) if before and spec.parallel != "one_norm" else None
            self.ffn_out_norm = norm_of(nn, spec, spec.width) if out else None
            self.convolution = convolution(spec) if spec.convolution is not None and number == 0 else None
            self.dropout = nn.Dropout(spec.dropout)
            self.ffn_dropout = self.dropout if spec.ffn_dropout is None else nn.Dropout(spec.ffn_dropout)

        def before(self, norm: Any, x: Array) -> Array:
            """What a sublayer reads."""
            return x if self.post or norm is None else norm(x)

        def added(self, y: Array, out_norm: Any, dropout: Any, scale: Any = None) -> Array:
            """What a sublayer adds to the residual."""
            y = nn.scaled(dropout(y if out_norm is None else out_norm(y)), self.residual_scale)
            return y if scale is None else nn.stretched(y, scale)

        def after(self, norm: Any, x: Array) -> Array:
            """The residual, normed where norms come last."""
            return norm(x) if self.post else x

        def attended(self, x: Array, sight: Sight, cache: Cache | None, at: Any, trace: Trace | None) -> Any:
            """What self-attention adds, and the new cache."""
            weights = None if trace is None else trace.attentions
            y, cache = self.attention(self.before(self.attention_norm, x), sight, None, cache, at, weights)
            return self.added(y, self.attention_out_norm, self.dropout, self.attention_scale), cache

        def fed(self, x: Array) -> Array:
            """What the feed-forward adds."""
            norm = self.attention_norm if self.parallel == "one_norm" else self.ffn_norm
            y = self.ffn(self.before(norm, x))
            return self.added(y, self.ffn_out_norm, self.ffn_dropout, self.ffn_scale)

        def crossed(
            self, x: Array, place: str, memory: Array | Cache | None, sight: Sight, trace: Trace | None
        ) -> Array:
            """x after cross-attention, where the block has it in this place and there is something to read."""
            if not self.has_cross or memory is None or place != self.cross_place:
                return x
            weights = None if trace is None else trace.cross_attentions
            y, _ = self.cross(self.before(self.cross_norm, x), sight, memory, weights=weights)
            if weights is not None and self.streams > 1:  # those by which logits are made
                weights[-1] = weights[-1][:, :, nn.size(x, 1) // self.streams :]
            crossed = self.after(self.cross_norm, x + self.added(y, self.cross_out_norm, self.dropout))
            return crossed if self.cross_gate is None else x + nn.tanh(self.cross_gate) * (crossed - x)

        def forward(
            self,
            x: Array,
            sight: Sight,
            memory: Array | Cache | None = None,
            memory_mask: Array | None = None,
            cache: Cache | None = None,
            at: Any = 0,
            trace: Trace | None = None,
        ) -> tuple[Array, Cache | None]:
            """x (B, T, W), or (1, N, W) where it is packed -> the same shape, and the new cache."""
            entered, across = x, Sight(memory_mask, packing=sight.packing, memory_packing=sight.memory_packing)
            x = self.crossed(x, "before_self_attention", memory, across, trace)
            y, cache = self.attended(x, sight, cache, at, trace)
            if self.parallel:
                x = self.crossed(x, "after_self_attention", memory, across, trace) + y + self.fed(x)
            else:
                x = self.after(self.attention_norm, x + y)
                x = self.crossed(x, "after_self_attention", memory, across, trace)
                x = self.after(self.ffn_norm, x + self.fed(x))
            x = self.crossed(x, "after_feed_forward", memory, across, trace)
            return x if self.convolution is None else self.convolution(entered, x, sight.mask), cache

    return FeedForward, Block
