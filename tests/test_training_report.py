"""What is seen of a training run: the report, its pictures and examples, trackers, and the progress bar."""

import io
import json
import logging
import os
import re
import signal
import struct
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.tracking import GeneralTracker
from test_training_runs import tiny_model, tiny_pairs

import conjoin.cli
from conjoin import EncoderDecoderModel
from conjoin.errors import ConfigError
from conjoin.training import Pairs, Recipe, Result, train
from conjoin.training.evaluate import text_scores
from conjoin.training.report import Report, plots
from conjoin.training.report.examples import examples_of
from conjoin.training.reporter import Reporter
from conjoin.training.tokenise import Limits, tokenise
from conjoin.training.tracking import check_trackers

PICTURES = ["loss.png", "rates.png", "scores.png", "source_lengths.png", "target_lengths.png"]
ODD = Pairs(["w1 <b>w2</b> & $w3$ 漢字", "w4 w5"], ["w1 <i>", "w4"], "odd pairs")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def reported(folder: Path, steps: int, held_out: Pairs | None = ODD, **options: Any) -> Result:
    """A short run with a report."""
    recipe = Recipe(batch_size=8, max_steps=steps, evaluate_every=2, precision="float32", device="cpu", start="plain")
    model = tiny_model(folder / "model", max_new_tokens=5)
    options = {"evaluate_generation": text_scores, "report": True, "quiet": True, **options}
    return train(model, tiny_pairs(40), held_out, recipe, folder / "out", **options)


class Page(HTMLParser):
    """The tags that are open, and the addresses in attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "html"):
            self.open.append(tag)
        self.addresses += [str(value) for name, value in attrs if name in ("href", "src", "xlink:href")]

    def handle_endtag(self, tag: str) -> None:
        if tag != "html":
            assert self.open.pop() == tag


def test_a_run_leaves_a_page_that_needs_nothing_else(tmp_path: Path) -> None:
    result = reported(tmp_path, 4)
    text = (tmp_path / "out" / "report.html").read_text()
    page = Page(text)
    assert page.open == []
    assert all(address.startswith(("#", "data:image/png;base64,")) for address in page.addresses)
    assert set(re.findall(r'https?://[^"\s<]+', text)) <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert "<script" not in text
    assert len(text) < 300_000
    for words in (
        "Training bert to bert",
        "Done.",
        "<dt>steps</dt><dd>4</dd>",
        "w1 &lt;b&gt;w2&lt;/b&gt; &amp; $w3$ 漢字",
    ):
        assert words in text
    assert f"{result.evaluations[-1]['loss']:.3f}" in text
    assert "<code>batch_size</code></td><td><code>8</code>" in text
    assert text.count(plots.INK) == 1  # pictures have the ink of the page, which is light or dark
    assert sorted(path.name for path in (tmp_path / "out" / "report").iterdir()) == PICTURES
    for name in PICTURES:
        assert (tmp_path / "out" / "report" / name).read_bytes()[:4] == b"\x89PNG"
    assert not list((tmp_path / "out").rglob(".*.part"))
    assert EncoderDecoderModel.from_pretrained(tmp_path / "out").tokenizers is not None


def test_it_is_refreshed_on_the_way_and_after_an_interruption(tmp_path: Path) -> None:
    seen = []

    def scores(model: EncoderDecoderModel, pairs: Pairs) -> Any:
        page = tmp_path / "out" / "report.html"
        seen.append(page.read_text() if page.exists() else None)
        if len(seen) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return text_scores(model, pairs)

    stopped = reported(tmp_path, 8, evaluate_generation=scores)
    assert (stopped.steps, seen[0]) == (4, None)
    assert "Still running" in str(seen[1])
    assert "<dd>2</dd>" in str(seen[1])
    text = (tmp_path / "out" / "report.html").read_text()
    assert "Stopped before its end" in text
    assert "<dd>4</dd>" in text
    reported(tmp_path, 8)
    state = json.loads((tmp_path / "out" / "checkpoints" / "step-8" / "state.json").read_text())
    assert [one["step"] for one in state["standing"]["rates"]] == list(range(1, 9))  # those before the stop too
    assert "Done." in (tmp_path / "out" / "report.html").read_text()


def test_without_validation_it_shows_pairs_that_were_learnt(tmp_path: Path) -> None:
    (tmp_path / "out" / "report").mkdir(parents=True)
    (tmp_path / "out" / "report" / "scores.png").touch()  # of an earlier run
    reported(tmp_path, 2, held_out=None)
    assert sorted(path.name for path in (tmp_path / "out" / "report").iterdir()) == [*PICTURES[:2], *PICTURES[3:]]
    text = (tmp_path / "out" / "report.html").read_text()
    assert text.count("<article>") == 6
    assert "validation loss" not in text


def test_a_disk_that_fills_up_costs_the_report_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("conjoin.training.report.publishing.replace", full)
    with caplog.at_level(logging.WARNING, "conjoin"):
        assert reported(tmp_path, 2).path is not None
    assert 'report.html" could not be written: No space left on device.' in caplog.text


def test_attention_is_the_models_own(tmp_path: Path) -> None:
    model = tiny_model(tmp_path, dropout=0.0).eval()
    (found,) = examples_of(model, Pairs(["w1 w2 w3"], ["w9"]), ["w5 w6"], Limits(20, 20))
    assert (found.source, found.reference, found.output) == ("w1 w2 w3", "w9", "w5 w6")
    assert model.tokenizers is not None
    ids = torch.tensor([model.tokenizers.source("w1 w2 w3")["input_ids"]])
    start_and_two = torch.tensor([[2, 10, 11]])
    out = model(ids, decoder_input_ids=start_and_two, output_attentions=True)
    assert found.attention is not None
    expected = out.cross_attentions[0][0].mean(0)[:2, 1:4]  # of "w5" and "w6"; not to [CLS] and [SEP]
    torch.testing.assert_close(torch.from_numpy(found.attention.weights), expected.detach())
    assert (found.attention.written, found.attention.read) == (["w5", "w6"], ["w1", "w2", "w3"])


def test_only_the_source_tokens_that_are_looked_at_most_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model(tmp_path, dropout=0.0).eval()
    pairs = Pairs(["w1 w2 w3 w4 w5 w6"], ["w9"])
    (whole,) = examples_of(model, pairs, ["w5 w6"], Limits(20, 20))
    monkeypatch.setattr("conjoin.training.report.examples.WIDEST", 2)
    (part,) = examples_of(model, pairs, ["w5 w6"], Limits(20, 20))
    assert whole.attention is not None
    assert part.attention is not None
    best = np.sort(np.argsort(-whole.attention.weights.sum(0))[:2])
    assert part.attention.read == [whole.attention.read[i] for i in best]
    assert part.attention.left_out == 4
    (nothing,) = examples_of(model, pairs, [""], Limits(20, 20))
    assert nothing.attention is None


def test_lengths_are_those_of_the_last_evaluation_even_where_no_report_was_due(tmp_path: Path) -> None:
    model, pairs = tiny_model(tmp_path), tiny_pairs(2)
    report = Report(tmp_path / "out", Recipe(), tokenise(model, pairs, Limits(20, 20)), pairs)
    report.publisher.spent = 100.0
    report.looker(2, seconds=1.0)(model, ["w1 w2 w3", ""])
    assert report.output_lengths is not None
    assert (report.output_lengths.tolist(), report.examples) == ([3, 0], [])


def test_a_line_of_one_point_is_seen() -> None:
    lines = [
        plots.loss_plot([1.0], [], None).axes[0].lines[1],
        plots.rates_plot([{"step": 1, "new": 0.1}]).axes[0].lines[0],
    ]
    assert [line.get_marker() for line in lines] == ["o", "o"]
    assert plots.loss_plot([1.0, 2.0], [], None).axes[0].lines[1].get_marker() == "None"


def test_long_lines_are_thinned_by_averages() -> None:
    steps, values = plots.thinned([1.0, 2.0, 3.0])
    assert (steps.tolist(), values.tolist()) == ([1, 2, 3], [1, 2, 3])
    steps, values = plots.thinned(np.arange(1, 4001, dtype=float))
    assert len(values) == 400
    assert values.tolist() == steps.tolist()
    assert steps[0] == 5.5


def test_without_matplotlib_it_is_said_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "conjoin\[train\]", or train with report=False'):
        reported(tmp_path, 2)
    assert not (tmp_path / "out").exists()


# Trackers.


class Kept(GeneralTracker):
    """Keeps what is logged."""

    name = "kept"
    requires_logging_directory = False

    def __init__(self) -> None:
        super().__init__()
        self.settings: dict[str, Any] = {}
        self.rows: list[tuple[int | None, dict[str, float]]] = []
        self.finished = 0

    @property
    def tracker(self) -> Any:
        return self.rows

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self.settings = values

    def log(self, values: dict[str, float], step: int | None = None, **kwargs: Any) -> None:
        self.rows.append((step, values))

    def finish(self) -> None:
        self.finished += 1


def test_trackers_are_given_losses_rates_and_scores(tmp_path: Path) -> None:
    kept = Kept()
    result = reported(tmp_path, 20, report=False, track=[kept, "tensorboard"])
    training = {step: row for step, row in kept.rows if "train/loss" in row}
    assert list(training) == [10, 20]
    assert training[20]["train/loss"] == pytest.approx(np.mean(result.losses[10:]))
    assert training[10]["train/learning_rate/encoder"] > training[20]["train/learning_rate/encoder"] > 0
    found = [(step, row) for step, row in kept.rows if "validation/loss" in row]
    assert [step for step, _ in found] == list(range(2, 21, 2))
    assert found[-1][1]["validation/loss"] == result.evaluations[-1]["loss"]
    assert set(found[-1][1]) >= {"validation/rougeL", "validation/bleu"}
    assert (kept.settings["batch_size"], kept.finished) == (8, 1)
    written = scalars(tmp_path / "out" / "logs")
    assert written["train/loss", 20] == pytest.approx(training[20]["train/loss"])
    assert written["validation/loss", 20] == pytest.approx(found[-1][1]["validation/loss"])


def scalars(folder: Path) -> dict[tuple[str, int], float]:
    """The numbers in TensorBoard's files: records of a length, its checksum, an event, and its checksum."""
    from tensorboardX.proto.event_pb2 import Event

    found = {}
    for path in folder.rglob("events.out.tfevents.*"):
        content, at = path.read_bytes(), 0
        while at < len(content):
            (size,) = struct.unpack_from("<Q", content, at)
            event = Event.FromString(content[at + 12 : at + 12 + size])
            found |= {(one.tag, event.step): one.simple_value for one in event.summary.value}
            at += 12 + size + 4
    return found


def test_trackers_that_cannot_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="there is no tracker 'wandbb'; the nearest known is \"wandb\""):
        check_trackers(["wandbb"])
    with pytest.raises(
        ImportError, match='"comet_ml" needs comet-ml, which is not installed; run: pip install comet-ml'
    ):
        check_trackers(["comet_ml"])
    with pytest.raises(ConfigError, match="no tracker 'tensorbord'"):
        reported(tmp_path, 2, track=["tensorbord"])
    assert not (tmp_path / "out").exists()


# The progress bar.


class Terminal(io.StringIO):
    """Says that a person is looking."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_has_a_bar_with_all_there_is_to_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    stream = Terminal()
    with Reporter(False, stream) as reporter:
        reporter.begin(0.0)
        reporter.step(7, 0.25, 3.14159, 0.0005, 32, 2.0)
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue()).splitlines()[-1]
    for words in ("25%", "step 7", "loss 3.142", "rate 5.0e-04", "16 examples/s", "left"):
        assert words in last


def test_elsewhere_there_is_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, now = io.StringIO(), [0.0]
    monkeypatch.setattr("conjoin.training.reporter.time.monotonic", lambda: now[0])
    with Reporter(False, stream) as reporter:
        reporter.begin(0.0)
        for number in range(1, 101):
            now[0] = float(number)
            reporter.step(number, number / 100, 2.0, 1e-3, 8, 1.0)
    assert stream.getvalue().splitlines()[0] == "30 %  step 30  loss 2.000  rate 1.0e-03  8.0 examples/s  1:10 left"
    assert len(stream.getvalue().splitlines()) == 3
    quiet = Terminal()
    with Reporter(True, quiet) as reporter:
        reporter.begin(0.0)
        reporter.step(1, 0.5, 2.0, 1e-3, 8, 1.0)
    assert quiet.getvalue() == ""


def test_the_command_writes_the_report_and_says_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_model(tmp_path / "vocabulary").save_pretrained(tmp_path / "model")
    pairs = tiny_pairs(12)
    rows = [{"document": s, "summary": t} for s, t in zip(pairs.sources, pairs.targets, strict=True)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ["train", "--model", str(tmp_path / "model"), "--train", str(tmp_path / "pairs.jsonl"), "--quiet"]
    command += ["--max-steps", "1", "--device", "cpu", "--output"]
    assert conjoin.cli.main([*command, str(tmp_path / "out")]) == 0
    assert f"Look at it: {tmp_path / 'out' / 'report.html'}" in capsys.readouterr().out
    assert conjoin.cli.main([*command, str(tmp_path / "plain"), "--no-report"]) == 0
    assert "report.html" not in capsys.readouterr().out
    assert not (tmp_path / "plain" / "report").exists()
    assert conjoin.cli.main([*command, str(tmp_path / "never"), "--track", "tensorboard, mlflw"]) == 2
    assert 'nearest known is "mlflow"' in capsys.readouterr().err
