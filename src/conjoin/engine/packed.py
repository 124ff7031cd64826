"""A stack's twin for generating on a CPU: linear layers in oneDNN's packed layout, q, k and v in one product.

A decoding step multiplies few rows with every weight once, so it runs at the speed at which weights are read. oneDNN's
packed layout reads them about twice as fast as `F.linear` does for one row and five times for eight (docs/decisions.md).
The twin shares every other tensor with the stack; the packed copies are kept beside it until a weight changes.
"""

import copy
from typing import Any

import torch
from torch import Tensor

from conjoin.backends.torch.layers import VocabularyProjection

__all__ = ["can_pack", "packed_copy"]

ROWS = 32  # what the packed layout is chosen for; it serves other row counts too


class PackedLinear(torch.nn.Module):
    """A linear layer over one packed copy of one or several weights (out, in), joined along `out`."""

    def __init__(self, layers: list[torch.nn.Linear]) -> None:
        super().__init__()
        weights: list[Tensor] = [layer.weight for layer in layers]
        weight = torch.cat(weights) if len(layers) > 1 else weights[0]
        self.packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), ROWS)
        biased = any(layer.bias is not None for layer in layers)
        self.bias_vector = torch.cat([bias_of(layer) for layer in layers]).detach() if biased else None
        self.sizes = [len(weight) for weight in weights]

    def forward(self, x: Tensor) -> Tensor:
        """x (..., in) -> (..., out)."""
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias_vector, "none", [], "")
        return out


class PackedProducts(PackedLinear):
    """Several linear layers over one input."""

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        """x (..., in) -> (..., out) of each."""
        return torch.split(super().forward(x), self.sizes, -1)  # type: ignore[no-any-return]


def bias_of(layer: torch.nn.Linear) -> Tensor:
    """A layer's bias, zeros where it has none."""
    bias: Tensor | None = layer.bias
    return layer.weight.new_zeros(len(layer.weight)) if bias is None else bias


class PackedEmbedding(VocabularyProjection):
    """A vocabulary projection over a packed copy of the output embedding (V, W), and the head's bias."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), ROWS)

    def unembed(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """x (..., W) -> logits (..., V)."""
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.packed, bias, "none", [], "")
        return out


def can_pack(stack: Any) -> bool:
    """Whether every layer is an ordinary float32 one on a CPU that oneDNN knows, and attention is of the plain kind."""
    known = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not known or stack.spec.attention is not None or stack.dtype != torch.float32:
        return False
    linear = [m for m in stack.modules() if isinstance(m, torch.nn.Linear)]
    plain = all(type(m) is torch.nn.Linear and not m._forward_hooks and not m._forward_pre_hooks for m in linear)
    return plain and len(linear) == expected_layers(stack)


def expected_layers(stack: Any) -> int:
    """How many linear layers a stack has when nobody replaced one (by an adapter, or a quantised layer)."""
    spec = stack.spec
    each = 4 + 2 + (1 if spec.gated else 0)
    crossed = sum(4 for block in stack.layers if block.has_cross)
    other = (spec.head in ("transform", "project")) + bool(spec.embed_width) + (spec.states_width != spec.width)
    return int(len(stack.layers) * each + crossed + other)


def packed_copy(stack: Any) -> Any:
    """A copy of the module tree that shares all tensors, with its linear layers packed."""
    shared = {id(t): t for t in (*stack.parameters(), *stack.buffers(), stack.config, stack.tokenizer)}
    twin = copy.deepcopy(stack, shared)
    for block in twin.layers:
        attention, ffn = block.attention, block.ffn
        attention.fused = PackedProducts([attention.q, attention.k, attention.v])
        attention.q = attention.k = attention.v = None
        attention.o = PackedLinear([attention.o])
        for name in ("q", "k", "v", "o") if block.has_cross else ():
            setattr(block.cross, name, PackedLinear([getattr(block.cross, name)]))
        if ffn.gate is not None:
            ffn.gate = PackedLinear([ffn.gate])
        ffn.up, ffn.down = PackedLinear([ffn.up]), PackedLinear([ffn.down])
    if twin.embed.project is not None:
        twin.embed.project = PackedLinear([twin.embed.project])
    if twin.head is not None and twin.head.dense is not None:
        twin.head.dense = PackedLinear([twin.head.dense])
    if stack.spec.head != "none":
        twin.output = PackedEmbedding((twin.embed.token if twin.output is None else twin.output).weight)
    return twin.eval()
