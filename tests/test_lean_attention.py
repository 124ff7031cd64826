"""Attention and dropout that keep little: outputs and gradients are those of the products, by what was dropped."""

import contextlib
import math
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor

from conjoin.backends.torch import layers, lean, maths
from conjoin.backends.torch.lean import LeanAttention, drawn

SCALE = 4**-0.5


def arrays(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    q, k, v = (torch.randn(5, 2, length, 4, dtype=dtype, requires_grad=True) for length in (3, 7, 7))
    return q, k, v


def masks() -> dict[str, Tensor | None]:
    padding = torch.ones(5, 1, 1, 7, dtype=torch.bool)
    padding[2, ..., 4:] = False
    causal = torch.ones(1, 1, 3, 7, dtype=torch.bool).tril(4)
    return {"none": None, "padding": padding, "causal": causal, "both": padding & causal}


def plain(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, kept: Tensor | None, rate: float) -> Tensor:
    scores = q @ k.transpose(-1, -2) * SCALE
    weights = (scores if mask is None else scores.masked_fill(~mask, -math.inf)).softmax(-1)
    return (weights if kept is None else weights * kept / (1 - rate)) @ v


def redrawn(q: Tensor, k: Tensor, mask: Tensor | None, rate: float, lengths: list[int] | None) -> Tensor:
    """What is kept, drawn again in the same order."""
    torch.manual_seed(1)
    kept = torch.zeros(5, 2, 3, 7, dtype=torch.bool)
    for chunk in lean.chunks(q, k, mask, lengths):
        part = kept[chunk.rows, :, chunk.queries, chunk.keys]
        part.copy_(drawn(tuple(part.shape), rate))
    return kept


@pytest.mark.parametrize("name", masks())
@pytest.mark.parametrize("rate", [0.0, 0.3])
@pytest.mark.parametrize("at_once", [1, 100])
@pytest.mark.parametrize("lengths", [None, [3, 1, 2, 3, 1]])
def test_it_is_the_products(
    name: str, rate: float, at_once: int, lengths: list[int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lean, "WEIGHTS", at_once)
    given, mask = arrays(), masks()[name]
    torch.manual_seed(1)
    found = LeanAttention.apply(*given, mask, SCALE, rate, lengths)  # type: ignore[no-untyped-call]
    expected = plain(*given, mask, redrawn(*given[:2], mask, rate, lengths) if rate else None, rate)
    weights = torch.randn_like(expected)
    if lengths is not None:  # the others are nobody's, and no gradient comes from them
        own = (torch.arange(3) < torch.tensor(lengths)[:, None])[:, None, :, None]
        found, expected, weights = found * own, expected * own, weights * own
    both = [torch.autograd.grad((out * weights).sum(), given) for out in (found, expected)]
    torch.testing.assert_close((found, both[0]), (expected, both[1]), rtol=0, atol=1e-12)


def test_what_nobody_reads_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lean, "WEIGHTS", 2 * 2 * 3 * 7)  # two rows
    q, k, _ = arrays()
    found = lean.chunks(q, k, masks()["padding"], [1, 2, 3, 1, 1])
    sizes = [(chunk.queries.stop, chunk.keys.stop) for chunk in found]
    assert sizes == [(2, 7), (3, 7), (1, 7)]
    hidden = torch.tensor([[True, False, True, False], [False] * 4])  # a row that sees nothing sees all alike
    assert lean.lasts(hidden).tolist() == [3, 4]
    assert lean.in_sight(torch.stack([hidden, hidden | hidden[:1]])).tolist() == [4, 3]


def test_as_many_are_dropped_as_asked() -> None:
    torch.manual_seed(0)
    for rate in (0.1, 0.5, 0.999):
        kept = drawn((101, 1001), rate)
        assert kept.float().mean().item() == pytest.approx(1 - rate, abs=0.01)
        assert (
            abs(float((kept[1:].float() - kept.float().mean()).mul(kept[:-1].float() - kept.float().mean()).mean()))
            < 0.01
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_where_it_is_used(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """In training on a CPU, with dropout or in half precision; never without a gradient."""
    used: list[float] = []

    class Noted(LeanAttention):
        @staticmethod
        def forward(ctx: Any, *given: Any) -> Tensor:
            used.append(given[-2])
            return LeanAttention.forward(ctx, *given)

    monkeypatch.setattr(maths, "LeanAttention", Noted)
    q, k, v = arrays(dtype)
    dropout = torch.nn.Dropout(0.25)
    for training in (True, False):
        dropout.train(training)
        out, weights = maths.attention(q, k, v, None, SCALE, dropout, False)
        assert (out.dtype, weights) == (dtype, None)
        with torch.no_grad():
            maths.attention(q.detach(), k, v, None, SCALE, dropout, False)
        maths.attention(q, k, v, None, SCALE, dropout, True)
    assert used == ([0.25] if dtype == torch.float32 else [0.25, 0.0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_drops_in_training_and_the_gradient_where_it_dropped(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    dropout = layers.Dropout(0.25)
    x = torch.ones(301, 77, dtype=dtype, requires_grad=True)
    out = dropout(x)
    assert set(out.detach().unique().tolist()) == {0.0, torch.tensor(1 / 0.75, dtype=dtype).item()}
    assert (out == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    (grad,) = torch.autograd.grad(out.sum(), x)
    assert torch.equal(grad, out)
    assert not torch.equal(dropout(x), out)
    torch.manual_seed(0)
    assert torch.equal(dropout(x), out)
    assert torch.equal(dropout.eval()(x), x)
    dropout.p = 0.0
    assert torch.equal(dropout.train()(x), x)


@pytest.mark.parametrize("name", ["gelu", "silu", "relu"])
def test_a_feed_forward_keeps_what_its_activation_keeps_anyway(name: str) -> None:
    """Gradients are equal, and the activation's output is not among what is kept."""
    torch.manual_seed(0)
    activation, down = layers.activation(name), torch.nn.Linear(8, 4)
    y = torch.randn(5, 3, 8, requires_grad=True)
    found = []
    for recalled in (True, False):
        z = activation(y)
        with layers.recalled(z, activation, y) if recalled else contextlib.nullcontext():
            out = down(z)
        alive = weakref.ref(z)
        del z
        found.append(((alive() is None), torch.autograd.grad((out**2).sum(), (y, *down.parameters()))))
    assert found[0][0] == (name != "relu")
    torch.testing.assert_close(found[0][1], found[1][1], rtol=0, atol=0)
