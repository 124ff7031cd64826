"""The loss without all logits at once is the plain one, and so are its gradients."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from test_training_runs import tiny_model

from conjoin.backends.torch import chunked
from conjoin.backends.torch.loss import vocabulary_loss

WIDTH, VOCAB, ROWS = 12, 50, 37


@pytest.fixture(autouse=True)
def few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunked, "rows_at_once", lambda weight: 8)


def plain(x: Any, weight: Any, bias: Any, labels: Any, cap: float, smoothing: float, count: int | None) -> torch.Tensor:
    logits = F.linear(x, weight, bias).flatten(0, -2)
    logits = cap * torch.tanh(logits / cap) if cap else logits
    mean = F.cross_entropy(logits, labels.flatten(), ignore_index=-100, reduction="sum", label_smoothing=smoothing)
    return mean / (int((labels != -100).sum()) if count is None else count)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("cap", [0.0, 3.0])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("frozen", ["", "table", "states"])
def test_loss_and_gradients_are_the_plain_ones(smoothing: float, cap: float, bias: bool, frozen: str) -> None:
    torch.manual_seed(0)
    table = torch.nn.Embedding(VOCAB, WIDTH)
    x = torch.randn(ROWS, 2, WIDTH, requires_grad=frozen != "states")
    table.weight.requires_grad_(frozen != "table")
    shift = torch.randn(VOCAB, requires_grad=True) if bias else None
    labels = torch.randint(0, VOCAB, (ROWS, 2))
    labels[3:9, 1] = -100
    kept = labels != -100
    trained = [p for p in (x, table.weight, shift) if p is not None and p.requires_grad]
    for count in (None, 200):
        found = vocabulary_loss(table, x[kept], shift, cap, labels[kept], -100, count, smoothing)
        expected = plain(x, table.weight, shift, labels, cap, smoothing, count)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
        if trained:
            both = [torch.autograd.grad(3 * loss, trained) for loss in (found, expected)]
            torch.testing.assert_close(*both, rtol=0, atol=1e-6)


def test_a_second_backward_pass_is_refused_and_not_wrong() -> None:
    table, x = torch.nn.Embedding(VOCAB, WIDTH), torch.randn(ROWS, WIDTH, requires_grad=True)
    loss = vocabulary_loss(table, x, None, 0.0, torch.arange(ROWS), -100, None, 0.0)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_the_rows_of_no_label_and_of_no_gradient() -> None:
    table, x = torch.nn.Embedding(VOCAB, WIDTH), torch.randn(4, WIDTH, requires_grad=True)
    loss = vocabulary_loss(table, x[:0], None, 0.0, torch.zeros(0, dtype=torch.long), -100, None, 0.1)
    loss.backward()
    assert (float(loss.detach()), float(x.grad.abs().sum()), float(table.weight.grad.abs().sum())) == (0.0, 0.0, 0.0)  # type: ignore[union-attr]
    with torch.no_grad():
        found = vocabulary_loss(table, x, None, 0.0, torch.arange(4), -100, None, 0.1)
    assert not found.requires_grad


def test_under_autocast_products_are_in_bfloat16_and_the_table_gets_a_float32_gradient() -> None:
    torch.manual_seed(0)
    table, x = torch.nn.Embedding(VOCAB, WIDTH), torch.randn(ROWS, WIDTH, requires_grad=True)
    labels = torch.randint(0, VOCAB, (ROWS,))
    with torch.autocast("cpu", torch.bfloat16):
        found = vocabulary_loss(table, x, None, 0.0, labels, -100, None, 0.1)
    exact = vocabulary_loss(table, x, None, 0.0, labels, -100, None, 0.1)
    both = [torch.autograd.grad(loss, (x, table.weight)) for loss in (found, exact)]
    assert 0 < abs(float(found.detach()) - float(exact.detach())) < 1e-2
    for one, other in zip(*both, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other, rtol=0.05, atol=1e-3)


@pytest.mark.parametrize("share", ["none", "all"])
def test_a_models_loss_without_logits_is_that_with_them(tmp_path: Path, share: str) -> None:
    """Of a tied head, with the head's own layers before it."""
    model = tiny_model(tmp_path, 0.0, share=share)
    ids = torch.randint(5, 60, (4, 9))
    labels = torch.randint(5, 60, (4, 7))
    labels[1, 4:] = -100
    for smoothing in (0.0, 0.1):
        found = []
        for logits in (True, False):
            model.zero_grad()
            out = model(input_ids=ids, labels=labels, smoothing=smoothing, return_logits=logits, num_items_in_batch=30)
            out.loss.backward()
            found.append(
                (out.loss.detach(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
            )
        torch.testing.assert_close(*found, rtol=0, atol=1e-6)
