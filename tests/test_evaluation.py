"""Scores: equal to rouge-score's and sacrebleu's own, with intervals that hold what a bootstrap promises."""

import gzip
import itertools
import json
import subprocess
import sys

import numpy as np
import pytest
import sacrebleu
import tiny
from rouge_score.rouge_scorer import RougeScorer

from conjoin import DataError, InputError, pipeline
from conjoin.evaluation import FACTS, METRICS, compare, evaluate, lead, lead_baseline, score
from conjoin.evaluation.bleu import bleu_and_chrf
from conjoin.evaluation.intervals import Estimate, estimates, resampled_sums
from conjoin.evaluation.measures import Floats, mean
from conjoin.evaluation.rouge import rouge_scores
from conjoin.evaluation.significance import differences, p_value
from conjoin.evaluation.texts import text_measures
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
    for i, measure in enumerate(rouge_scores(PREDICTIONS, REFERENCES).values()):
        assert np.array_equal(measure.counts[:, 0], [row[i] for row in expected])
    found = score(PREDICTIONS, REFERENCES)
    means = np.mean(expected, axis=0)
    assert [found.rouge1.value, found.rouge2.value, found.rougeL.value] == pytest.approx(means, abs=1e-12)
    assert means.min() > 0


def test_rouge_l_of_any_words_and_of_very_long_texts():
    """rouge-score's own table of two texts of 20,000 words would be 400 million of Python's numbers."""
    draw = np.random.default_rng(0)
    texts = [" ".join(draw.choice(list("abcde"), draw.integers(1, 90))) for _ in range(40)]
    scorer = RougeScorer(["rougeL"])
    expected = [100 * scorer.score(a, b)["rougeL"].fmeasure for a, b in itertools.pairwise(texts)]
    assert rouge_scores(texts[1:], texts[:-1])["rougeL"].counts[:, 0].tolist() == expected
    assert rouge_scores(["the cat " * 10_000], ["a cat " * 10_000])["rougeL"].counts[0, 0] == pytest.approx(50)


def test_rouge_takes_the_reference_first():
    # F-measures are symmetric, so only an empty side tells; it must be 0 and not an error.
    found = rouge_scores(["", "cat"], ["cat", "cat"])
    assert [found[name].counts[:, 0].tolist() for name in ("rouge1", "rouge2", "rougeL")] == [
        [0, 100],
        [0, 0],
        [0, 100],
    ]


def one_estimate(values: Floats, **options: int) -> Estimate:
    return estimates({"one": mean(values)}, **options)["one"]


def test_bleu_and_chrf_are_sacrebleus():
    found = bleu_and_chrf(PREDICTIONS, REFERENCES)
    assert found["bleu"].value == pytest.approx(sacrebleu.corpus_bleu(PREDICTIONS, [REFERENCES]).score, abs=1e-12)
    assert found["chrf"].value == pytest.approx(sacrebleu.corpus_chrf(PREDICTIONS, [REFERENCES]).score, abs=1e-12)
    assert found["bleu"].value > 0
    same = score(REFERENCES, REFERENCES).bleu
    assert (same.value, same.low, same.high) == pytest.approx((100, 100, 100))


def test_corpus_intervals_are_of_scores_of_resampled_corpora():
    found = score(PREDICTIONS * 5, REFERENCES * 5, seed=3, resamples=50)
    random = np.random.default_rng(3)
    drawn = random.integers(0, 20, (50, 20))
    for metric, one in ((sacrebleu.corpus_bleu, found.bleu), (sacrebleu.corpus_chrf, found.chrf)):
        scores = [
            metric([(PREDICTIONS * 5)[i] for i in row], [[(REFERENCES * 5)[i] for i in row]]).score for row in drawn
        ]
        assert (one.low, one.high) == pytest.approx(tuple(np.percentile(scores, (2.5, 97.5))), abs=1e-9)


def test_resampled_sums_are_sums_of_rows_drawn_with_replacement(monkeypatch):
    values = np.random.default_rng(0).normal(size=(7, 3))
    drawn = np.random.default_rng(5).integers(0, 7, (40, 7))
    assert resampled_sums(values, seed=5, resamples=40) == pytest.approx(values[drawn].sum(axis=1))
    monkeypatch.setattr("conjoin.evaluation.intervals.CELLS", 7 * 6)  # in blocks of six, the last of four
    assert resampled_sums(values, seed=5, resamples=40) == pytest.approx(values[drawn].sum(axis=1))


def test_intervals_contain_the_mean_are_seeded_and_shrink():
    values = np.random.default_rng(0).uniform(0, 100, 1600)
    widths = []
    for n in (100, 400, 1600):
        one = one_estimate(values[:n], seed=1)
        assert one.low < one.value < one.high
        assert one.value == pytest.approx(values[:n].mean())
        assert one_estimate(values[:n], seed=1) == one
        assert one_estimate(values[:n], seed=2) != one
        widths.append(one.high - one.low)
        # Of a mean of n values from 0 to 100, 95% lie within 1.96 standard errors.
        assert widths[-1] == pytest.approx(2 * 1.96 * values[:n].std() / np.sqrt(n), rel=0.1)
    assert widths[0] > 1.8 * widths[1] > 3.2 * widths[2]


def test_intervals_cover_the_truth_as_often_as_they_say():
    covered = 0
    for trial in range(200):
        values = np.random.default_rng(trial).exponential(10, 80)
        one = one_estimate(values, resamples=400)
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
    assert found.estimate("lead_copies").value == 100
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


def test_what_texts_are_like():
    texts = ["The cat, the cat, the cat!", "a dog", "..."]
    found = text_measures(texts, ["one two three", "four", "five"], ["The cat. The end.", "A dog. It runs", "none"])
    values = {name: measure.value for name, measure in found.items()}
    assert values["length"] == pytest.approx(8 / 3)
    assert values["length_ratio"] == pytest.approx(8 / 5)
    # "the cat the cat the cat": of 6 words 4 were there before, of 5 pairs 3, of 4 threes 2, of 3 fours 1.
    assert values["repeated1"] == pytest.approx(100 * 4 / 8)
    assert values["repeated2"] == pytest.approx(100 * 3 / 6)
    assert values["repeated3"] == pytest.approx(100 * 2 / 4)
    assert values["repeated4"] == pytest.approx(100 * 1 / 3)
    # The source is "the cat the end", without a stop: "cat the" is there, "cat the cat" is not.
    assert values["novel1"] == 0
    assert values["novel2"] == 0
    assert values["novel3"] == pytest.approx(100 * 2 / 4)
    assert values["novel4"] == 100
    assert values["lead_copies"] == pytest.approx(100 / 3)
    empty = text_measures(["", ""], ["", ""], ["a", "b"])
    assert {measure.value for measure in empty.values()} == {0.0}


def test_p_values_are_those_of_every_exchange():
    first, second = np.array([1.0, 5.0, 2.0, 8.0, 3.0, 3.0]), np.array([3.0, 4.0, 6.0, 9.0, 3.0, 7.0])
    signs = np.array(list(itertools.product((-1, 1), repeat=6)))
    exact = (np.abs(signs @ (second - first)) >= abs((second - first).sum()) - 1e-9).mean()
    assert 0.05 < exact < 0.2
    assert p_value(mean(first), mean(second), trials=20_000) == pytest.approx(exact, abs=0.01)
    assert p_value(mean(first), mean(first)) == 1.0
    certain = p_value(mean(np.zeros(50)), mean(np.ones(50)), trials=999)
    assert certain == 1 / 1000  # none of the exchanges, and the one that was seen


def test_p_values_of_equal_systems_are_uniform():
    below = 0
    for trial in range(200):
        random = np.random.default_rng(trial)
        below += p_value(mean(random.normal(size=40)), mean(random.normal(size=40)), trials=400) <= 0.2
    assert 25 <= below <= 56  # 40 of 200, give or take three standard deviations


def test_differences_are_sacrebleus():
    from sacrebleu.metrics import BLEU, CHRF
    from sacrebleu.significance import PairedTest

    random = np.random.default_rng(0)
    references = [" ".join(random.choice(list("abcdefgh"), 8)) for _ in range(30)]
    systems = []
    for wrong in (2, 3):
        words = [one.split() for one in references]
        for one in words:
            for at in random.choice(8, wrong, replace=False):
                one[at] = "x"
        systems.append([" ".join(one) for one in words])
    test = PairedTest(
        [("a", systems[0]), ("b", systems[1])], {"bleu": BLEU(force=True), "chrf": CHRF()}, [references], "ar", 1000
    )
    _, theirs = test()
    ours = compare(*(score(one, references) for one in systems), trials=1000)
    for name, key in (("bleu", "BLEU"), ("chrf", "chrF2")):
        before, after = theirs[key]
        assert ours[name].value == pytest.approx(after.score - before.score)
        assert ours[name].p == pytest.approx(after.p_value, abs=0.05)
        assert ours[name].low < ours[name].value < ours[name].high
    again = compare(*(score(one, references, resamples=10) for one in systems), trials=1000)
    assert again == ours  # the intervals have resamples of their own


def test_the_interval_of_a_difference_is_of_pairs_not_of_systems():
    # Two systems that are far apart from pair to pair, and differ by exactly 1 in each: there is no doubt about it.
    values = np.random.default_rng(0).uniform(0, 100, 50)
    one = differences({"x": mean(values)}, {"x": mean(values + 1)})["x"]
    assert (one.value, one.low, one.high) == pytest.approx((1, 1, 1))
    assert one.p < 0.001


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
    assert found == score(texts, [target for _, target in pairs], [source for source, _ in pairs], seed=4)
    assert set(found.estimates) == {*METRICS, *FACTS}
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
        one_estimate(np.empty(0))
    with pytest.raises(DataError, match="2 texts and 1 sources"):
        score(["a", "b"], ["a", "b"], ["a"])
    with pytest.raises(DataError, match="texts of 1 and of 1 pairs came, whose references differ"):
        compare(score(["a"], ["a"]), score(["a"], ["b"]))


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
