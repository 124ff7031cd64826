"""What blocks.py, seq2seq.py and decoding/ need, in PyTorch: leaf layers, array operations, the loop."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Dropout, Embedding, LayerNorm, Linear, Module, ModuleList

from conjoin.errors import ConfigError, InputError, nearest

__all__ = ["Dropout", "Embedding", "LayerNorm", "Linear", "Module", "ModuleList"]

ACTIVATIONS: dict[str, Callable[[], Module]] = {
    "gelu": torch.nn.GELU,
    "gelu_new": lambda: torch.nn.GELU("tanh"),
    "gelu_pytorch_tanh": lambda: torch.nn.GELU("tanh"),
    "gelu_fast": lambda: torch.nn.GELU("tanh"),
    "relu": torch.nn.ReLU,
    "silu": torch.nn.SiLU,
    "swish": torch.nn.SiLU,
    "tanh": torch.nn.Tanh,
}


# Leaf layers.


def activation(name: str) -> Module:
    """The activation of a config's name. Raises ConfigError with the nearest known one."""
    if name not in ACTIVATIONS:
        raise ConfigError(
            f'activation "{name}" is not known{nearest(name, ACTIVATIONS)}; one of {", ".join(ACTIVATIONS)}.'
        )
    return ACTIVATIONS[name]()


class OutputEmbedding(Module):
    """A vocabulary projection of its own, for a head that is not tied: weight (V, W)."""

    def __init__(self, width: int, vocab: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.empty(vocab, width))


class VocabularyProjection(Module):
    """What an engine may put in the place of an output embedding."""

    def unembed(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """x (..., W) -> logits (..., V)."""
        raise NotImplementedError


def vector(size: int, trained: bool) -> Tensor:
    """A vector of zeros: a parameter, or a buffer that is not trained."""
    zeros_ = torch.zeros(size)
    return torch.nn.Parameter(zeros_) if trained else torch.nn.Buffer(zeros_)


def recomputed(block: Module, *inputs: Any) -> Tensor:
    """A block's output, its activations computed again in the backward pass (https://arxiv.org/abs/1604.06174)."""
    from torch.utils.checkpoint import checkpoint

    out: Tensor = checkpoint(lambda *given: block(*given)[0], *inputs, use_reentrant=False)
    return out


# The maths of a stack.


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, T, W) -> (B, H, T, D)."""
    return x.reshape(*x.shape[:-1], heads, x.shape[-1] // heads).transpose(1, 2)


def split_joined_heads(x: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """(B, T, 3 W), q, k and v side by side -> three of (B, H, T, D)."""
    q, k, v = x.reshape(*x.shape[:-1], 3, heads, x.shape[-1] // (3 * heads)).permute(2, 0, 3, 1, 4)
    return q, k, v


def merge_heads(x: Tensor) -> Tensor:
    """(B, H, T, D) -> (B, T, W)."""
    return x.transpose(1, 2).flatten(2)


def attention(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float, dropout: Dropout, want_weights: bool
) -> tuple[Tensor, Tensor | None]:
    """Scaled dot-product attention; its weights only where they are asked for, since the fused kernels keep none."""
    rate = dropout.p if dropout.training else 0.0
    if want_weights or slow_backward(q):
        return explicit_attention(q, k, v, mask, scale, rate)
    return F.scaled_dot_product_attention(q, k, v, mask, dropout_p=rate, scale=scale), None


def slow_backward(q: Tensor) -> bool:
    """On a CPU the fused kernel's backward pass in half precision takes two to six times the explicit one's."""
    return q.requires_grad and q.device.type == "cpu" and q.dtype in (torch.bfloat16, torch.float16)


def explicit_attention(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float, rate: float
) -> tuple[Tensor, Tensor]:
    """Attention product by product, with its weights (B, H, T, S)."""
    with torch.autocast(q.device.type, enabled=False):
        scores = torch.matmul(q * scale, k.to(q.dtype).transpose(-1, -2))
        if mask is not None:
            scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
        weights = scores.softmax(-1)
        return torch.matmul(F.dropout(weights, rate, training=rate > 0), v.to(q.dtype)), weights


def unembed(table: Module, x: Tensor, bias: Tensor | None) -> Tensor:
    """Hidden states (..., W) -> logits (..., V)."""
    if isinstance(table, VocabularyProjection):
        return table.unembed(x, bias)
    weight: Any = table.weight
    return F.linear(x, weight, bias)


def scaled(x: Tensor, scale: float) -> Tensor:
    """x * scale, with nothing done for 1."""
    return x if scale == 1.0 else x * scale


def first_row(table: Embedding) -> Tensor:
    """The first row of a table, which broadcasts over all tokens: what type 0 everywhere would look up."""
    row: Tensor = table.weight[0]
    return row


def write(buffer: Tensor, x: Tensor, at: int) -> Tensor:
    """Writes x (B, H, T, D) into slots at, at + 1... of buffer (B, H, slots, D): in place where no gradient is asked for."""
    if torch.is_grad_enabled():
        buffer = buffer.clone()
    buffer[:, :, at : at + x.shape[2]] = x
    return buffer


def visible(buffer: Tensor, at: int, x: Tensor) -> Tensor:
    """The slots of a cache that are filled once x was written at `at`. Frameworks with fixed shapes give all of them."""
    return buffer[:, :, : at + x.shape[2]]


def window(filled: int, slots: int) -> int:
    """How many slots a mask must cover when `filled` of `slots` are: just these."""
    return filled


# Array operations.

where, concat, tanh = torch.where, torch.cat, torch.tanh


def arange(length: int, like: Tensor) -> Tensor:
    """0, 1... length - 1, where `like` lives."""
    return torch.arange(length, device=like.device)


def zeros(shape: Sequence[int], like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Zeros of like's type, or of `dtype`, where `like` lives."""
    return torch.zeros(*shape, dtype=dtype or like.dtype, device=like.device)


def full(shape: Sequence[int], value: float, like: Tensor) -> Tensor:
    """A filled array of like's type."""
    return torch.full(tuple(shape), value, dtype=like.dtype, device=like.device)


def cumsum(x: Tensor) -> Tensor:
    """Running sums along the last axis."""
    return x.cumsum(-1)


def log_softmax(x: Tensor) -> Tensor:
    """In float32, along the last axis."""
    return x.float().log_softmax(-1)


# What seq2seq.py needs.


def check_range(ids: Tensor, vocab: int, side: str) -> None:
    """Raises InputError for an id outside the vocabulary; not checked where reading the ids would stall a device."""
    if torch.compiler.is_compiling() or ids.device.type != "cpu":
        return
    low, high = (int(x) for x in ids.aminmax())
    if low < 0 or high >= vocab:
        raise InputError(
            f"{side}: token id {low if low < 0 else high} came and its vocabulary is 0 to {vocab - 1}; use the tokenizer "
            f"that belongs to it."
        )


def shift_right(labels: Tensor, start: int, pad: int, ignored: int) -> Tensor:
    """(B, T) -> the start token, then the labels but for the last; `pad` for `ignored`."""
    shifted = F.pad(labels[:, :-1], (1, 0), value=start)
    return shifted.masked_fill(shifted == ignored, pad)


def first_seen(mask: Tensor) -> Tensor:
    """The mask, with the first column True."""
    return F.pad(mask[:, 1:], (1, 0), value=True)


def selected(x: Tensor, labels: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
    """The rows of x (B, T, W) and labels (B, T) to keep: (N, W) and (N,)."""
    return x[keep], labels[keep]


def cross_entropy(logits: Tensor, labels: Tensor, ignored: int, count: Any) -> Tensor:
    """Mean over the labels that are not ignored, or their sum over `count`. In float32 or wider."""
    flat = logits.reshape(-1, logits.shape[-1])
    flat = flat if flat.dtype == torch.float64 else flat.float()
    aim = labels.reshape(-1).to(flat.device)
    if count is None:
        count = (aim != ignored).sum().clamp(min=1)
    loss: Tensor = F.cross_entropy(flat, aim, ignore_index=ignored, reduction="sum") / count
    return loss


# What decoding/ needs. Rows are sources; the last axis is tokens or vocabulary.


def broadcast(x: Tensor, shape: Sequence[int]) -> Tensor:
    """A view of another shape."""
    return x.expand(*shape)


def wide(x: Tensor) -> Tensor:
    """In float32."""
    return x.float()


def softmax(x: Tensor) -> Tensor:
    """Along the last axis."""
    return x.softmax(-1)


def argmax(x: Tensor) -> Tensor:
    """Along the last axis."""
    return x.argmax(-1)


def top_k(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of the last axis, best first, and where they stand."""
    values, indices = torch.topk(x, k)
    return values, indices


def sort(x: Tensor) -> tuple[Tensor, Tensor]:
    """The last axis in rising order, and where each value of it stands in that order."""
    values, order = torch.sort(x)
    return values, order.argsort(-1)


def take_last(x: Tensor, index: Tensor) -> Tensor:
    """x at index along the last axis."""
    return x.gather(-1, index)


def flat(x: Tensor) -> Tensor:
    """(B, K, V) -> (B, K * V)."""
    return x.flatten(1)


def pick(x: Tensor, index: Tensor) -> Tensor:
    """x (B, N, ...) at index (B, K) -> (B, K, ...)."""
    return x[torch.arange(len(index), device=index.device)[:, None], index]


def take_rows(x: Tensor, index: Tensor) -> Tensor:
    """Some rows."""
    return x.index_select(0, index)


def where_true(x: Tensor) -> Tensor:
    """The indices where a vector is True."""
    return x.nonzero()[:, 0]


def inverse(order: Tensor) -> Tensor:
    """The permutation that undoes another."""
    return order.argsort()


def is_array(x: Any) -> bool:
    """Whether it has rows."""
    return isinstance(x, Tensor)


def divided(x: Tensor, by: int) -> tuple[Tensor, Tensor]:
    """Quotient and remainder."""
    return x // by, x % by


def power(base: int, exponent: float) -> float:
    """A number to a power."""
    return float(base**exponent)


def number(x: Tensor) -> Tensor:
    """0.0 and 1.0 for False and True."""
    return x.float()


def least(x: Tensor) -> Tensor:
    """(B, K) -> (B, 1)."""
    return x.amin(1, keepdim=True)


def all_of(x: Tensor) -> Tensor:
    """(B, K) -> (B,)."""
    return x.all(1)


def any_of(x: Tensor) -> Tensor:
    """(B, K) -> (B, 1)."""
    return x.any(1, keepdim=True)


def false(like: Tensor) -> Tensor:
    """False, in like's shape."""
    return torch.zeros_like(like, dtype=torch.bool)


def true(like: Tensor) -> Tensor:
    """True, broadcasting to like's shape."""
    return torch.ones((), dtype=torch.bool, device=like.device)


def one_of(tokens: Sequence[int], like: Tensor) -> Tensor:
    """(V,) True at some tokens, for like (..., V)."""
    mask = torch.zeros(like.shape[-1], dtype=torch.bool, device=like.device)
    mask[list(tokens)] = True
    return mask


def is_in(x: Tensor, tokens: Sequence[int]) -> Tensor:
    """Whether each is one of some tokens."""
    found = false(x)
    for token in tokens:
        found = found | (x == token)
    return found


def marked(ids: Tensor, flags: Tensor, vocab: int) -> Tensor:
    """ids and flags (B, K, N) -> (B, K, V): the tokens that stand somewhere with a flag; ids beyond V are nobody's."""
    seen = torch.zeros(*ids.shape[:-1], vocab, dtype=torch.uint8, device=ids.device)
    flags = flags & (ids < vocab)
    return seen.scatter_reduce_(-1, ids.clamp(0, vocab - 1), flags.to(torch.uint8), "amax") > 0


def column(ids: Tensor, at: int) -> Tensor:
    """ids[..., at] as (..., 1)."""
    at = max(at, 0)
    return ids[..., at : at + 1]


def set_column(ids: Tensor, at: int, tokens: Tensor) -> Tensor:
    """ids with tokens in column `at`: in place, since every search hands over its own."""
    ids[..., at] = tokens
    return ids


def last_axis(x: Tensor) -> Tensor:
    """(B, K, 1) -> (B, K); what has two axes stays."""
    return x[..., 0] if x.dim() == 3 else x


def own_slots(lineage: Tensor, at: int) -> Tensor:
    """Marks, for each hypothesis, the slot it writes next as its own: in place."""
    each = torch.arange(lineage.shape[1], device=lineage.device)
    lineage[:, each, each + at] = True
    return lineage


def lineage(prompt: Tensor, mask: Tensor | None, count: int, slots: int) -> Tensor | None:
    """(B, K, slots): the prompt's slots are everybody's past. None where there is nothing to hide."""
    if count == 1 and mask is None:
        return None
    batch, length = prompt.shape
    past = torch.zeros(batch, count, slots, dtype=torch.bool, device=prompt.device)
    past[:, :, :length] = True if mask is None else (mask != 0)[:, None]
    return past


def grown(prompt: Tensor, count: int, length: int, fill: int) -> Tensor:
    """(B, P) -> (B, K, L), the prompt first and `fill` after it."""
    ids = torch.full((len(prompt), count, length), fill, dtype=torch.int64, device=prompt.device)
    ids[:, :, : prompt.shape[1]] = prompt[:, None]
    return ids


def token_column(token: int | Sequence[int], batch: int, like: Tensor) -> Tensor:
    """(B, 1): one token for all rows, or one a row."""
    return torch.tensor(token, device=like.device).reshape(-1, 1).expand(batch, 1)


def equal_anywhere(a: Tensor, b: Tensor) -> bool:
    """Whether two columns have an equal row."""
    return bool((a == b).any())


def all_seen(seen: Tensor) -> bool:
    """Whether a mask hides nothing."""
    return bool(seen.all())


def is_single(length: int, mask: Tensor | None) -> bool:
    """Whether a prompt of one token needs no mask."""
    return length == 1 and mask is None


def noise(seed: int | None, batch: int, count: int) -> Callable[[Tensor, Tensor], Tensor]:
    """A source of exponential noise for drawing tokens: (row (B,), scores) -> noise that broadcasts to scores.

    Without a seed, torch's global state is drawn from for every row of the call, so that what is drawn does not depend
    on which rows have left; token for token as `torch.multinomial` would. With one, the noise of a step is the same for
    every source, and differs between hypotheses: what a source draws does not depend on its neighbours.
    """
    if seed is None:

        def shared_state(row: Tensor, scores: Tensor) -> Tensor:
            return torch.empty(batch, *scores.shape[1:], device=scores.device).exponential_().index_select(0, row)

        return shared_state
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise InputError(f"seed is {seed!r}; a whole number was expected.")
    generators: dict[torch.device, torch.Generator] = {}

    def own_state(row: Tensor, scores: Tensor) -> Tensor:
        if scores.device not in generators:
            generators[scores.device] = torch.Generator(scores.device).manual_seed(seed)
        empty = torch.empty(1, *scores.shape[1:], device=scores.device)
        return empty.exponential_(generator=generators[scores.device])

    return own_state


@contextlib.contextmanager
def no_gradients(model: Module) -> Iterator["ReadyModel"]:
    """Generation keeps nothing for a backward pass, drops nothing out, and runs on the fastest decoder there is."""
    from conjoin.engine.packed import packed_twin

    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.inference_mode():
            yield ReadyModel(model, packed_twin(model.encoder), packed_twin(model.decoder))
    finally:
        for module, was in training.items():
            module.training = was


@dataclass(frozen=True)
class ReadyModel:
    """A joined model with the parts that generation runs on."""

    joined: Any
    encoder: Any
    decoder: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self.joined, name)


def released(x: Tensor) -> Tensor:
    """An ordinary tensor of one that generation made, which autograd would refuse."""
    return x.clone()
