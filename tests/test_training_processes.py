"""Training in several processes, with copies of the model and with the model cut (FSDP2), beside one process."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from several_processes import WAYS, streamed
from test_training_runs import tiny_model, tiny_pairs, tiny_run

from conjoin import EncoderDecoderModel

HERE = Path(__file__).parent
SETTINGS: dict[str, Any] = {"batch_size": 4, "schedule": "constant", "warmup_ratio": 0.0, "evaluate_every": 10}
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}


def launched(*command: str) -> subprocess.CompletedProcess[str]:
    """A command that starts processes, its output taken."""
    return subprocess.run(
        [sys.executable, "-m", *command], env=ENVIRONMENT, capture_output=True, text=True, timeout=180, check=False
    )


def seen_by(processes: int, folder: Path) -> list[dict[str, Any]]:
    """What each of so many processes under torchrun saw, whose runs are in the folder."""
    script = str(HERE / "several_processes.py")
    done = launched("torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), script, str(folder))
    assert done.returncode == 0, done.stderr
    return [json.loads((folder / f"{processes}-{rank}.json").read_text()) for rank in range(processes)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the runs are."""
    made = tmp_path_factory.mktemp("several")
    tiny_model(made / "model")
    return made


@pytest.fixture(scope="module")
def seen(folder: Path) -> list[dict[str, Any]]:
    """What each of two processes saw."""
    return seen_by(2, folder)


@pytest.mark.slow
@pytest.mark.parametrize("share", ["none", "all"])
def test_cut_model_learns_as_one_process_does(
    seen: list[dict[str, Any]], folder: Path, tmp_path: Path, share: str
) -> None:
    one = tiny_run(folder / "model", tmp_path, max_steps=20, gradient_accumulation_steps=2, share=share, **SETTINGS)
    assert len(one.losses) == 20
    for process in seen:
        found = process["fsdp"][share]
        torch.testing.assert_close(found["losses"], one.losses, rtol=0, atol=1e-5)
        torch.testing.assert_close(found["evaluations"], one.evaluations, rtol=0, atol=1e-5)
        assert 0.45 < found["share"] < 0.55
        assert 0.45 < found["state"] < 0.55
    saved, expected = (EncoderDecoderModel.from_pretrained(at) for at in (folder / f"fsdp-{share}", tmp_path))
    torch.testing.assert_close(saved.state_dict(), expected.state_dict(), rtol=0, atol=1e-4)
    # One process goes on from what two cut between them.
    settings = {**SETTINGS, "gradient_accumulation_steps": 2, "share": share}
    more = tiny_run(folder / "model", folder / f"fsdp-{share}", max_steps=24, **settings)
    alone = tiny_run(folder / "model", tmp_path, max_steps=24, **settings)
    torch.testing.assert_close(more.losses, alone.losses, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_copies_learn_as_one_process_does(seen: list[dict[str, Any]], folder: Path, tmp_path: Path) -> None:
    """Dropout included: what a batch drops does not depend on the process that it falls to."""
    one = tiny_run(folder / "model", tmp_path, max_steps=6, gradient_accumulation_steps=2, **SETTINGS)
    for process in seen:
        torch.testing.assert_close(process["copies"], one.losses, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", WAYS)
def test_each_way_to_train_is_that_of_one_process(
    seen: list[dict[str, Any]], folder: Path, tmp_path: Path, name: str
) -> None:
    way = {**WAYS[name], "gradient_accumulation_steps": 2 * WAYS[name].get("gradient_accumulation_steps", 1)}
    one = tiny_run(folder / "model", tmp_path, max_steps=5, **SETTINGS, **way)
    apart = 1e-3 if "precision" in way else 1e-5  # bfloat16 rounds the sums over other rows
    for process in seen:
        torch.testing.assert_close(process["ways"][name], one.losses, rtol=0, atol=apart)


@pytest.mark.slow
def test_three_processes_learn_as_one_does(folder: Path, tmp_path: Path) -> None:
    one = tiny_run(folder / "model", tmp_path, max_steps=5, gradient_accumulation_steps=3, **SETTINGS)
    for process in seen_by(3, folder):
        for losses in process.values():
            torch.testing.assert_close(losses, one.losses, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_a_stream_is_shared_among_processes(seen: list[dict[str, Any]], folder: Path, tmp_path: Path) -> None:
    one = streamed(folder, tmp_path, gradient_accumulation_steps=2)
    for process in seen:
        torch.testing.assert_close(process["streamed"], one.losses, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_a_signal_to_one_process_stops_all_and_the_run_is_gone_on_with(seen: list[dict[str, Any]]) -> None:
    for process in seen:
        assert process["interrupted"] == {"signal": signal.SIGTERM, "steps": 3, "losses": process["copies"]}


@pytest.mark.slow
def test_what_fails_in_one_process_fails_in_all(seen: list[dict[str, Any]], folder: Path) -> None:
    other = [process["other data"] for process in seen]
    assert other[0] == other[1]
    assert "process 1 read 21 examples and process 0 read 20, and they are not the same" in other[0]
    assert seen[1]["broken"].startswith("ConfigError: the model has no tokenizers")
    assert seen[0]["broken"] == seen[1]["broken"].replace("ConfigError: ", "ConfigError: process 1: ")
    assert "No space left on device" in seen[0]["full"]
    assert seen[1]["full"] == seen[0]["full"].replace("CheckpointError: ", "CheckpointError: process 0: ")
    assert not (folder / "full" / "config.json").exists()
    assert seen[0]["poisoned"] == seen[1]["poisoned"]
    assert "training stopped at step 3: the loss is nan" in seen[0]["poisoned"]
    assert (folder / "poisoned" / "checkpoints" / "step-2").exists()


@pytest.mark.slow
def test_accelerate_launches_the_command_with_its_own_fsdp_setting(folder: Path, tmp_path: Path) -> None:
    tiny_model(folder / "model").save_pretrained(tmp_path / "start")
    pairs = tiny_pairs(20)
    rows = [{"document": s, "summary": t} for s, t in zip(pairs.sources, pairs.targets, strict=True)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    launch = "accelerate.commands.launch --use_fsdp --fsdp_version 2 --num_processes 2 --num_machines 1"
    given = f"--model {tmp_path}/start --train {tmp_path}/pairs.jsonl --output {tmp_path}/out --no-report"
    settings = "--device cpu --precision float32 --max-steps 2 --batch-size 4"
    more = "--mixed_precision no --dynamo_backend no --main_process_port 0 -m conjoin train"
    done = launched(*f"{launch} {more} {given} {settings}".split())
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("The model is in") == 1  # the first process speaks for all
    assert done.stderr.count("pairs.jsonl") == 0
    assert EncoderDecoderModel.from_pretrained(tmp_path / "out").tokenizers is not None
    document = json.loads((tmp_path / "out" / "training.json").read_text())
    assert (document["steps"], document["recipe"]["sharding"]) == (2, "fsdp")
