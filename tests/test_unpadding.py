"""A batch that is trained on without its padding has the loss and the gradients of the padded one, and shows as much."""

from pathlib import Path
from typing import Any

import pytest
import torch
from test_training_runs import tiny_model
from test_training_trainers import trainer_of

from conjoin import EncoderDecoderModel
from conjoin.backends.torch import maths, unpadding
from conjoin.backends.torch.unpadding import Packing

ROWS, SOURCE, TARGET = 5, 12, 7
CLOSE = {"rtol": 1e-10, "atol": 1e-10}
packs = Packing.__init__


@pytest.fixture
def packings(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The tokens of each packing that is made."""
    made: list[Any] = []

    def noted(self: Packing, keep: torch.Tensor) -> None:
        made.append(int(keep.sum()))
        packs(self, keep)

    monkeypatch.setattr(Packing, "__init__", noted)
    return made


def masks(kind: str, length: int) -> torch.Tensor:
    """Padding of some kind."""
    place, lengths = torch.arange(length)[None], torch.tensor([length, 3, 1, length - 2, 4])[:, None]
    if kind == "right":
        return place < lengths
    if kind == "left":
        return place >= length - lengths
    if kind == "holes":
        return (place % 3 != lengths % 3) | (place == 0)
    if kind == "nothing in a row":
        return (place < lengths) & (lengths != 4)
    return (place < lengths)[1:2]  # one row


def batch(kind: str) -> dict[str, torch.Tensor]:
    """Sources with padding of a kind, and labels with padding behind them."""
    draw, mask = torch.Generator().manual_seed(0), masks(kind, SOURCE)
    ids = torch.randint(5, 65, mask.shape, generator=draw)
    labels = torch.randint(5, 65, (len(mask), TARGET), generator=draw)
    labels = labels.masked_fill(~masks("one row" if len(mask) == 1 else "right", TARGET), -100)
    return {"input_ids": ids * mask, "attention_mask": mask.long(), "labels": labels}


def learnt(model: EncoderDecoderModel, monkeypatch: pytest.MonkeyPatch, worth: float, **given: Any) -> Any:
    """What a call shows, and the gradients of its loss, where padding is left out from a share of `worth` on."""
    monkeypatch.setattr(unpadding, "WORTH", worth)
    model.zero_grad()
    out = model(**given)
    out.loss.backward()
    return out, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.fixture
def model(tmp_path: Path) -> EncoderDecoderModel:
    return tiny_model(tmp_path, 0.0).double().train()


@pytest.mark.parametrize("kind", ["right", "left", "holes", "nothing in a row", "one row"])
@pytest.mark.parametrize("return_logits", [True, False])
@pytest.mark.parametrize("lean", [True, False])
def test_loss_gradients_and_logits_are_the_padded_ones(
    kind: str, return_logits: bool, lean: bool, model: EncoderDecoderModel, monkeypatch: Any, packings: list[int]
) -> None:
    monkeypatch.setattr(maths, "is_lean", lambda *given: lean)  # as with dropout, which would drop other weights
    given = batch(kind)
    found, gradients = learnt(model, monkeypatch, 1.0, **given, return_logits=return_logits)
    assert len(packings) == (2 if return_logits else 3)  # source, memory, target
    padded, expected = learnt(model, monkeypatch, 0.0, **given, return_logits=return_logits)
    torch.testing.assert_close(found.loss, padded.loss, **CLOSE)
    torch.testing.assert_close(gradients, expected, **CLOSE)
    torch.testing.assert_close(found.logits, padded.logits, **CLOSE)
    states, mask = found.encoder_last_hidden_state, given["attention_mask"] == 1
    mask = mask | ~mask.any(1, keepdim=True)
    torch.testing.assert_close(states[mask], padded.encoder_last_hidden_state[mask], **CLOSE)
    assert (states[~mask] == 0).all()


@pytest.mark.parametrize("hidden", ["padding that is learnt", "left", "holes"])
def test_labels_of_hidden_tokens_count(hidden: str, model: EncoderDecoderModel, monkeypatch: Any) -> None:
    """As where labels are filled up with the pad token, not with -100."""
    given = batch("right")
    given["labels"] = given["labels"].masked_fill(given["labels"] == -100, 0)
    if hidden != "padding that is learnt":
        given["decoder_attention_mask"] = masks(hidden, TARGET).long()
    calls = [learnt(model, monkeypatch, worth, **given, return_logits=False) for worth in (1.0, 0.0)]
    torch.testing.assert_close(calls[0][0].loss, calls[1][0].loss, **CLOSE)
    torch.testing.assert_close(calls[0][1], calls[1][1], **CLOSE)


def test_who_looks_sees_the_states_of_padding(model: EncoderDecoderModel, packings: list[int]) -> None:
    """Not in training, without gradients, without labels, and where hidden states or attentions are asked for."""
    given = batch("right")
    shown = [model.eval()(**given)]
    model.train()
    with torch.no_grad():
        shown.append(model(**given))
    unlabelled = {name: x for name, x in given.items() if name != "labels"}
    shown.append(model(**unlabelled, decoder_input_ids=given["input_ids"][:, :3]))
    made = len(packings)
    shown += [model(**given, output_hidden_states=True), model(**given, output_attentions=True)]
    assert made <= 1  # the memory alone, of which only what is seen is read
    assert len(packings) == made
    for out in shown:
        torch.testing.assert_close(out.encoder_last_hidden_state, shown[0].encoder_last_hidden_state, **CLOSE)
        assert (out.encoder_last_hidden_state != 0).any(-1).all()


def test_little_padding_stays(model: EncoderDecoderModel, packings: list[int]) -> None:
    given = batch("right")
    given["attention_mask"][:, :] = 1
    given["attention_mask"][0, -1] = 0
    model(**given).loss.backward()
    assert not packings


def test_layers_computed_again_drop_the_same_tokens(tmp_path: Path, packings: list[int]) -> None:
    model, given = tiny_model(tmp_path, 0.3).train(), batch("right")
    found = []
    for recompute in (False, True):
        model.encoder.recompute = model.decoder.recompute = recompute
        model.zero_grad()
        torch.manual_seed(1)
        model(**given, return_logits=False).loss.backward()
        found.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    torch.testing.assert_close(found[0], found[1])
    assert len(packings) == 6


@pytest.mark.filterwarnings("ignore")  # transformers' and accelerate's own
def test_transformers_trainer_learns_the_same(tmp_path: Path, monkeypatch: Any, packings: list[int]) -> None:
    torch.set_num_threads(1)
    runs = []
    for worth in (unpadding.WORTH, 0.0):
        monkeypatch.setattr(unpadding, "WORTH", worth)
        trainer = trainer_of(tiny_model(tmp_path, 0.0), tmp_path / "out")
        trainer.train()
        runs.append([entry["loss"] for entry in trainer.state.log_history if "loss" in entry])
    assert runs[0] == pytest.approx(runs[1], rel=1e-5)
    assert packings
