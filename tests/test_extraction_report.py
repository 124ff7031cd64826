"""What is seen of an extractor's training: the page, its pictures, the scores beside the first sentences, and what is said."""

import json
import logging
import os
import re
import signal
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import torch
from test_extraction import tiny_documents, tiny_encoder
from test_training_report import Page

import conjoin.cli
from conjoin.evaluation import METRICS
from conjoin.extraction import Documents, Extractor, Settings, evaluate_extractor, oracle, train_extractor
from conjoin.extraction.train import Run
from conjoin.training import Recipe
from conjoin.training.report import plots

PICTURES = ["loss.png", "places.png", "rates.png", "scores.png", "source_lengths.png", "target_lengths.png"]
HELD_OUT = Documents(
    [*tiny_documents(9, 2).sentences, ["w1 <b>w2</b> & w3.", "w4 " * 60, "w5."]], ["w1 w2"] * 10, "tests"
)
LINE = re.compile(
    r"<li( class=chosen)? [^>]*><span class=score>([\d.–]+)</span><span>(.*?)( <em>label</em>)?</span></li>"
)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def reported(folder: Path, held_out: Documents | None, **options: Any) -> tuple[Extractor, dict[str, Any]]:
    """A short run."""
    model = Extractor(tiny_encoder(folder / "encoder"), Settings(heads=2, sentences=1))
    recipe = Recipe(epochs=3, batch_size=8, learning_rate=0.003, precision="float32", device="cpu")
    options = {"report": True, "quiet": True, **options}
    return model, train_extractor(model, tiny_documents(40), held_out, recipe, folder / "out", **options)


def test_the_page_shows_what_the_best_model_chooses(tmp_path: Path) -> None:
    _, facts = reported(tmp_path, HELD_OUT)
    text = (tmp_path / "out" / "report.html").read_text()
    page = Page(text)
    assert page.open == []
    assert all(address.startswith(("#", "data:image/png;base64,")) for address in page.addresses)
    assert "<script" not in text
    assert sorted(path.name for path in (tmp_path / "out" / "report").iterdir()) == PICTURES
    for words in (
        "Training bert to choose sentences",
        "Done.",
        "<dt>steps</dt><dd>15</dd>",
        "Of tests, as the best model",
    ):
        assert words in text

    best = Extractor.from_pretrained(tmp_path / "out")  # saved by the epoch of the least validation loss
    scores, chosen = best.scores(HELD_OUT.sentences), best.chosen(HELD_OUT.sentences)
    articles = re.findall(r"<article><ol.*?</article>", text, re.DOTALL)
    assert len(articles) == 6
    for number, article in zip((0, 1, 3, 5, 7, 9), articles, strict=True):
        own, lines = HELD_OUT.sentences[number], LINE.findall(article)
        assert [unescape(line[2]) for line in lines] == own
        assert [i for i, line in enumerate(lines) if line[0]] == chosen[number]
        assert [i for i, line in enumerate(lines) if line[3]] == oracle(own, "w1 w2")
        shown = [f"{score:.2f}" for score in scores[number]]
        assert [line[1] for line in lines] == shown + ["–"] * (len(own) - len(shown))
    assert lines[2][1] == "–"  # behind what was cut

    found = evaluate_extractor(best, HELD_OUT, resamples=1)
    values = {name: {metric: found[name].estimate(metric).value for metric in METRICS} for name in found}
    assert facts["beside"] == {name: pytest.approx(values[name]) for name in ("lead", "oracle")}
    of_best = min(facts["evaluations"], key=lambda one: float(one["loss"]))
    assert {metric: of_best[metric] for metric in METRICS} == pytest.approx(values["model"])
    for name in ("model", "lead", "oracle"):
        assert f"<dd>{values[name]['rougeL']:.1f}</dd>" in text
    assert json.loads((tmp_path / "out" / "training.json").read_text())["beside"] == facts["beside"]


def test_a_run_that_is_stopped_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Run.step

    def step(self: Run, *given: Any) -> None:
        kept(self, *given)
        if self.standing.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Run, "step", step)
    _, facts = reported(tmp_path, HELD_OUT)
    assert (facts["steps"], facts["signal"], facts["evaluations"]) == (3, signal.SIGTERM, [])
    text = (tmp_path / "out" / "report.html").read_text()
    assert "Stopped before its end; the folder has the best epoch before, if one ended." in text
    assert "<dd>3</dd>" in text
    assert "<article>" not in text  # nothing was chosen as yet
    assert sorted(path.name for path in (tmp_path / "out" / "report").iterdir()) == [
        PICTURES[0],
        PICTURES[2],
        *PICTURES[4:],
    ]
    assert not (tmp_path / "out" / "config.json").exists()


def test_places_are_counted_from_one_and_the_far_ones_together() -> None:
    figure = plots.places_plot({"chosen": [1, 1, 2, 30], "labels": [3, 25]})
    chosen, labels = ([bar.get_height() for bar in bars] for bars in figure.axes[0].containers)  # type: ignore[attr-defined]
    assert chosen == [50, 25, *[0] * 17, 25]
    assert labels == [0, 0, 50, *[0] * 16, 50]
    assert [one.get_text() for one in figure.axes[0].get_xticklabels()][-2:] == ["19", "20+"]
    assert len(plots.places_plot({"chosen": [1], "labels": []}).axes[0].patches) == 2


def test_what_is_cut_repeated_or_held_out_and_learnt_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conjoin.extraction.train.improves", lambda found, best: best is None)
    documents, held_out = tiny_documents(40), HELD_OUT.first(10)
    held_out.sentences[0] = documents.sentences[3]
    with caplog.at_level(logging.WARNING, "conjoin"):
        reported(
            tmp_path, Documents([*held_out.sentences, held_out.sentences[1]], ["w1 w2"] * 11, "tests"), report=False
        )
    assert [record.getMessage() for record in caplog.records] == [
        "tests: 1 of 11 documents were cut to 48 tokens.",
        "tests: 1 of 11 pairs repeat an earlier one; each counts as often as it is there.",
        "tests: 1 of 11 sources are also in the documents; what is measured on them says little about new texts: "
        "take them out.",
    ]
    assert not (tmp_path / "out" / "report.html").exists()
    found = json.loads((tmp_path / "out" / "training.json").read_text())
    assert [one["step"] for one in found["evaluations"]] == [5, 10, 15]  # those after the best too


def test_the_command_writes_it_and_without_validation_shows_what_was_learnt(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_encoder(tmp_path / "encoder")
    rows = zip(HELD_OUT.sentences, HELD_OUT.summaries, strict=True)
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"document": d, "summary": s}) + "\n" for d, s in rows))
    command = ["train", "--extractive", "--encoder", str(tmp_path / "encoder"), "--train", str(tmp_path / "a.jsonl")]
    command += ["--max-steps", "1", "--device", "cpu", "-q", "--output"]
    assert conjoin.cli.main([*command, str(tmp_path / "out")]) == 0
    assert f"Look at it: {tmp_path / 'out' / 'report.html'}" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out" / "report").iterdir()) == [*PICTURES[:3], *PICTURES[4:]]
    text = (tmp_path / "out" / "report.html").read_text()
    first, own = LINE.findall(text.partition("<article>")[2])[0], HELD_OUT.sentences[0]
    score = Extractor.from_pretrained(tmp_path / "out").scores([own])[0][0]
    assert (first[1], first[2]) == (f"{score:.2f}", own[0])
    assert conjoin.cli.main([*command, str(tmp_path / "plain"), "--no-report"]) == 0
    assert "Look at it" not in capsys.readouterr().out
    assert not (tmp_path / "plain" / "report").exists()
