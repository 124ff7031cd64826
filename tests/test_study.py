"""The study's page is made of its results: intervals over seeds and documents, tables between marks."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def results() -> ModuleType:
    """benchmarks/study_results.py, which is in no package."""
    path = Path(__file__).parent.parent / "benchmarks" / "study_results.py"
    spec = importlib.util.spec_from_file_location("study_results", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["study_results"] = module
    spec.loader.exec_module(module)
    return module


def run(results: ModuleType, system: str, seed: int, scores: list[float], loss: float | None = 1.0) -> object:
    """A run whose three scores are alike."""
    return results.Run("births", system, seed, 64, 1.0, loss, scores, scores, scores)


def test_lines_are_read_back_and_belong_to_their_system(results: ModuleType, tmp_path: Path) -> None:
    path, runs = tmp_path / "runs.jsonl", [run(results, name, 0, [1.0, 2.0]) for name in "ab"]
    assert results.read(path) == []
    for one in runs:
        results.write_line(path, one)
    assert results.read(path) == runs
    assert results.of_system(runs, "births", "b") == runs[1:]
    assert results.of_system(runs, "rothe", "b") == []


def test_intervals_are_over_seeds_and_documents_and_differences_over_the_same_documents(results: ModuleType) -> None:
    documents = [0.0, 100.0] * 50
    even, shifted = ([run(results, name, 0, [x + by for x in documents])] for name, by in (("a", 0.0), ("b", 3.0)))
    alone = results.interval(even, "rougeL")
    assert alone.value == 50
    assert alone.low < 45
    assert alone.high > 55
    apart = results.difference(shifted, even, "rougeL")
    assert (apart.value, apart.low, apart.high) == pytest.approx((3, 3, 3))  # a document's score goes out
    seeds = [run(results, "c", seed, [10.0 * seed] * 100) for seed in range(3)]
    assert results.interval(seeds, "rougeL") == results.Interval(10.0, 0.0, 20.0)  # seeds alone differ


def test_a_table_has_a_row_for_each_system_that_was_run(results: ModuleType) -> None:
    runs = [run(results, "a", 0, [10.0]), run(results, "a", 1, [20.0], None), run(results, "b", 0, [17.0], None)]
    lines = results.table(runs, [("births", name) for name in ("a", "b", "never run")], ("births", "a")).splitlines()
    assert len(lines) == 4
    assert lines[2].startswith("| a | 2 | 64 | 1.00 | 15.0 / 15.0 | 15.0 (10.0 to 20.0) | - |")
    assert lines[3].startswith("| b | 1 | 64 | - | 17.0 / 17.0 | 17.0 (17.0 to 17.0) | +7.0 (+7.0 to +7.0) |")


def test_only_what_stands_between_the_marks_is_replaced(results: ModuleType) -> None:
    page = "words\n<!-- births -->\nold\n<!-- end of births -->\nmore"
    assert results.replaced(page, "births", "new") == "words\n<!-- births -->\n\nnew\n\n<!-- end of births -->\nmore"
    with pytest.raises(SystemExit, match="recipes"):
        results.replaced(page, "recipes", "new")
