"""`conjoin bench`: its table and its lines, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peers import make

from conjoin.benching import PEER, Shape, bench, engines_for
from conjoin.cli import main
from conjoin.errors import InputError
from conjoin.plotting import Panel
from conjoin.plotting import plot_speeds as draw


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("bench")
    pair = make(where, "bert", "bert")
    pair.ours.save_pretrained(where / "ours")
    return where / "ours"


def test_lines_say_what_was_timed(folder: Path, capsys: Any) -> None:
    asked = "--batch 2 --source-tokens 7 --new-tokens 4 --num-beams 2 --runs 2 --dtype float32 --dtype int8 --json"
    assert main(["bench", str(folder), *asked.split()]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert [line["engine"] for line in lines] == ["conjoin float32", "conjoin int8", PEER]
    first, narrow, peer = lines
    assert first["agreement"] == peer["agreement"] == 1.0 >= narrow["agreement"]
    assert peer["ratio"] is None
    assert first["spread"][0] <= first["ratio"] <= first["spread"][1]
    assert first["tokens_per_second"] == pytest.approx(2 * 1e3 / first["ms_per_step"])


def test_the_table(folder: Path, capsys: Any) -> None:
    asked = "--batch 1 --source-tokens 5 --new-tokens 2 --num-beams 1 --runs 1 --dtype float32"
    assert main(["bench", str(folder), *asked.split()]) == 0
    said = capsys.readouterr().out
    assert "1 x 5 tokens, 2 new, beams 1" in said
    assert "x transformers" in said


def test_the_plot_is_a_picture_with_every_engine(folder: Path, tmp_path: Path, monkeypatch: Any) -> None:
    pytest.importorskip("matplotlib")
    drawn: list[Panel] = []
    monkeypatch.setattr("conjoin.plotting.plot_speeds", lambda panels, path: (drawn.extend(panels), draw(panels, path)))
    path = tmp_path / "speeds.png"
    asked = "--batch 1 --source-tokens 5 --new-tokens 2 --num-beams 1 --runs 1 --dtype float32"
    assert main(["bench", str(folder), *asked.split(), "--plot", str(path)]) == 0
    assert path.read_bytes().startswith(b"\x89PNG")
    assert list(drawn[0].speeds[""]) == ["conjoin float32", PEER]


@pytest.mark.parametrize(("name", "said"), [("speeds.pdf", "ends in .png"), ("nowhere/speeds.png", "no folder")])
def test_a_plot_that_cannot_be_written_is_refused_before_the_work(
    folder: Path, tmp_path: Path, capfd: Any, name: str, said: str
) -> None:
    assert main(["bench", str(folder), "--plot", str(tmp_path / name)]) == 2
    assert said in capfd.readouterr().err


@pytest.mark.parametrize(("field", "value"), [("batch", 0), ("new", -1), ("beams", 0)])
def test_what_is_less_than_one_is_refused(folder: Path, field: str, value: int) -> None:
    engines = engines_for(str(folder), ["float32"])
    with pytest.raises(InputError, match=f"{field} is {value}; a whole number from 1 on"):
        bench(engines, Shape(**{field: value}), 50, 1)


def test_mistakes_on_the_command_line(folder: Path, tmp_path: Path, capfd: Any) -> None:
    assert main(["bench", str(tmp_path / "nowhere")]) == 2
    assert main(["bench", str(folder), "--dtype", "int3"]) == 2
    assert "int3" in capfd.readouterr().err
    assert torch.get_num_threads() >= 1
