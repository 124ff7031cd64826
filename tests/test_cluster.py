"""Files over a Ray cluster of two nodes on this machine: a worker that is killed loses and doubles nothing."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import tiny

from conjoin import pipeline
from conjoin.cli import main

pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # Ray's own warnings are many

TEXTS = [f"the {a} {b} ran on the {c} mat ." for a in ("big", "small", "red") for b in ("cat", "dog") for c in "abcdef"]
SHORT = ["--max-new-tokens", "4", "--batch-size", "1"]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A cluster of two nodes with one processor each."""
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 100 << 20}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    cluster.add_node(**node)
    yield cluster.address
    cluster.shutdown()


def workers() -> list[psutil.Process]:
    """The processes of this test's workers."""
    found = psutil.Process().children(recursive=True)
    return [one for one in found if "Worker" in " ".join(one.cmdline()) and "ray::" in " ".join(one.cmdline())]


def kill_one_at_work(folder: Path, killed: list[int]) -> None:
    """Kills a worker as soon as a part is answered."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        alive = workers() if list(folder.glob("part-*")) else []
        if alive:
            alive[0].kill()
            killed.append(alive[0].pid)
            return
        time.sleep(0.002)


def test_a_killed_worker_loses_and_doubles_nothing(address, tmp_path, monkeypatch, capfd):
    model = tiny.join(tmp_path / "model", "bert")
    rows = [{"id": i, "document": TEXTS[i % len(TEXTS)]} for i in range(20 * len(TEXTS))]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setattr("conjoin.bulk.shards.BYTES", 2000)
    out, killed = tmp_path / "out", []
    killer = threading.Thread(target=kill_one_at_work, args=(out, killed))
    killer.start()
    command = ["generate", str(model), str(tmp_path / "rows.jsonl"), "-o", str(out), "--ray", address, *SHORT]
    assert main(command) == 0
    killer.join()
    assert killed
    parts = sorted(out.glob("part-*.jsonl"))
    found = [json.loads(line) for part in parts for line in part.read_text().splitlines()]
    expected = pipeline(model)(TEXTS, max_new_tokens=4)
    assert found == [{**row, "generated": expected[i % len(TEXTS)]} for i, row in enumerate(rows)]
    assert len(parts) > 10
    assert (out / "_SUCCESS").exists()
    capfd.readouterr()
    assert main([*command, "--num-beams", "2"]) == 2
    assert "was begun with another num_beams" in capfd.readouterr().err
