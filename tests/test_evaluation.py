"""Scores: equal to rouge-score's and sacrebleu's own, with intervals that hold what a bootstrap promises."""

import gzip
import json
import subprocess
import sys

import numpy as np
import pytest
import sacrebleu
import tiny
from rouge_score.rouge_scorer import RougeScorer

from conjoin import DataError, InputError, pipeline
from conjoin.evaluation import evaluate, lead, lead_baseline, score
from conjoin.evaluation.bleu import bleu_and_chrf
from conjoin.evaluation.intervals import mean_estimates, resampled_sums
from conjoin.evaluation.rouge import rouge_scores
from conjoin.training.data import Pairs

REFERENCES = [
    "A tool that shows running processes.",
    "library for reading images, and writing them",
    "the cats were sitting on the mat",
    "Voronoi diagram-based tool to find atom contacts",
]
PREDICTIONS = [
    "tool which shows the running process",
    "a library to read images",
    "the cat sat on the mat",
    "find contacts of atoms by Voronoi diagrams",
]


def test_rouge_is_rouge_scores():
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    expected = [
        [100 * scorer.score(reference, prediction)[name].fmeasure for name in ("rouge1", "rouge2", "rougeL")]
        for reference, prediction in zip(REFERENCES, PREDICTIONS, strict=True)
    ]
    assert np.array_equal(rouge_scores(PREDICTIONS, REFERENCES), expected)
    found = score(PREDICTIONS, REFERENCES)
    means = np.mean(expected, axis=0)
    assert [found.rouge1.value, found.rouge2.value, found.rougeL.value] == pytest.approx(means, abs=1e-12)
    assert means.min() > 0


def test_rouge_takes_the_reference_first():
    # F-measures are symmetric, so only an empty side tells; it must be 0 and not an error.
    assert rouge_scores(["", "cat"], ["cat", "cat"]).tolist() == [[0, 0, 0], [100, 0, 100]]


def test_bleu_and_chrf_are_sacrebleus():
    bleu, chrf = bleu_and_chrf(PREDICTIONS, REFERENCES)
    assert bleu.value == pytest.approx(sacrebleu.corpus_bleu(PREDICTIONS, [REFERENCES]).score, abs=1e-12)
    assert chrf.value == pytest.approx(sacrebleu.corpus_chrf(PREDICTIONS, [REFERENCES]).score, abs=1e-12)
    assert bleu.value > 0
    same, _ = bleu_and_chrf(REFERENCES, REFERENCES)
    assert (same.value, same.low, same.high) == pytest.approx((100, 100, 100))


def test_corpus_intervals_are_of_scores_of_resampled_corpora():
    bleu, chrf = bleu_and_chrf(PREDICTIONS * 5, REFERENCES * 5, seed=3, resamples=50)
    random = np.random.default_rng(3)
    drawn = random.integers(0, 20, (50, 20))
    for metric, found in ((sacrebleu.corpus_bleu, bleu), (sacrebleu.corpus_chrf, chrf)):
        scores = [
            metric([(PREDICTIONS * 5)[i] for i in row], [[(REFERENCES * 5)[i] for i in row]]).score for row in drawn
        ]
        assert (found.low, found.high) == pytest.approx(tuple(np.percentile(scores, (2.5, 97.5))), abs=1e-9)


def test_resampled_sums_are_sums_of_rows_drawn_with_replacement(monkeypatch):
    values = np.random.default_rng(0).normal(size=(7, 3))
    drawn = np.random.default_rng(5).integers(0, 7, (40, 7))
    assert resampled_sums(values, seed=5, resamples=40) == pytest.approx(values[drawn].sum(axis=1))
    monkeypatch.setattr("conjoin.evaluation.intervals.CELLS", 7 * 6)  # in blocks of six, the last of four
    assert resampled_sums(values, seed=5, resamples=40) == pytest.approx(values[drawn].sum(axis=1))


def test_intervals_contain_the_mean_are_seeded_and_shrink():
    values = np.random.default_rng(0).uniform(0, 100, (1600, 1))
    widths = []
    for n in (100, 400, 1600):
        (one,) = mean_estimates(values[:n], seed=1)
        assert one.low < one.value < one.high
        assert one.value == pytest.approx(values[:n].mean())
        assert mean_estimates(values[:n], seed=1) == [one]
        assert mean_estimates(values[:n], seed=2) != [one]
        widths.append(one.high - one.low)
        # Of a mean of n values from 0 to 100, 95% lie within 1.96 standard errors.
        assert widths[-1] == pytest.approx(2 * 1.96 * values[:n].std() / np.sqrt(n), rel=0.1)
    assert widths[0] > 1.8 * widths[1] > 3.2 * widths[2]


def test_intervals_cover_the_truth_as_often_as_they_say():
    covered = 0
    for trial in range(200):
        values = np.random.default_rng(trial).exponential(10, (80, 1))
        (one,) = mean_estimates(values, resamples=400)
        covered += one.low <= 10 <= one.high
    assert 178 <= covered <= 199  # about 93% of 200, for a bootstrap of 80 skewed values


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("One. Two.", "One."),
        ("  Is it? Yes.", "Is it?"),
        ("Version 1.2 works! Really.", "Version 1.2 works!"),
        ("no end", "no end"),
        ("a: b; c\nd. e", "a: b; c\nd."),
    ],
)
def test_lead_is_the_first_sentence(text, first):
    assert lead(text) == first


def test_lead_baseline_scores_first_sentences():
    pairs = [(f"{p}. And more.", r) for p, r in zip(PREDICTIONS, REFERENCES, strict=True)]
    found = lead_baseline(pairs)
    assert found.predictions == tuple(f"{p}." for p in PREDICTIONS)
    assert found.rouge1 == score(PREDICTIONS, REFERENCES).rouge1
    assert lead_baseline(Pairs([s for s, _ in pairs], REFERENCES)) == found


def test_the_lead_baseline_of_the_built_in_task_is_the_known_one():
    from importlib.resources import files

    path = files("conjoin") / "data" / "test.jsonl.gz"
    if not path.is_file():
        pytest.skip("the built-in data is not in the package yet")
    with path.open("rb") as packed, gzip.open(packed) as lines:
        rows = [json.loads(line) for _, line in zip(range(400), lines, strict=False)]
    found = lead_baseline([(row["document"], row["summary"]) for row in rows], resamples=10)
    assert [round(e.value, 1) for e in (found.rouge1, found.rouge2, found.rougeL)] == [34.1, 15.9, 29.8]


def test_evaluate_scores_what_the_model_writes(tmp_path):
    write = pipeline(tiny.join(tmp_path / "model", "bert"))
    pairs = [
        ("the cat sat .", "a cat"),
        ("the big dog ran on the mat and under the tree .", "a dog"),
        ("here !", "dog"),
    ]
    texts = write([source for source, _ in pairs], max_new_tokens=6, num_beams=2)
    done = []
    found = evaluate(write, pairs, max_new_tokens=6, num_beams=2, batch_size=2, progress=done.append, seed=4)
    assert found.predictions == tuple(texts)
    assert found == score(texts, [target for _, target in pairs], seed=4)
    assert done == [2, 1]
    assert evaluate(write.model, pairs, max_new_tokens=6, num_beams=2, seed=4) == found
    document = json.loads(json.dumps(found.to_dict()))
    assert document["rougeL"] == {"value": found.rougeL.value, "low": found.rougeL.low, "high": found.rougeL.high}
    assert document["pairs"] == 3
    sampled = evaluate(write, pairs, do_sample=True, max_new_tokens=6, seed=1)
    assert sampled.predictions == evaluate(write, pairs, do_sample=True, max_new_tokens=6, seed=1).predictions
    with pytest.raises(TypeError, match='"num_beam"'):
        evaluate(write, pairs, num_beam=2)
    with pytest.raises(InputError, match="positions for 24"):
        evaluate(write, [(" ".join(["cat"] * 40), "cat")])


def test_mistakes():
    with pytest.raises(DataError, match="no pairs"):
        lead_baseline([])
    with pytest.raises(DataError, match="1 texts and 2 references"):
        score(["a"], ["a", "b"])
    with pytest.raises(DataError, match="no pairs to score"):
        mean_estimates(np.empty((0, 3)))


@pytest.mark.parametrize(("package", "call"), [("rouge_score", "rouge_scores"), ("sacrebleu", "bleu_and_chrf")])
def test_a_missing_extra_says_how_to_get_it(package, call):
    module = {"rouge_scores": "rouge", "bleu_and_chrf": "bleu"}[call]
    code = f"""
import sys
sys.modules["{package}"] = None
from conjoin.evaluation.{module} import {call}
try:
    {call}(["a"], ["a"])
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith('is not installed; run: pip install "conjoin[evaluate]".')
