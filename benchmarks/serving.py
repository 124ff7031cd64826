"""`conjoin serve` under load, beside itself without batching and a FastAPI app around transformers' `generate`.

    python benchmarks/serving.py DIR --seconds 40  # requests/s, p50, p95, p99; time to the first token
    python benchmarks/serving.py DIR --soak 600 --clients 300 --rate 24 --option=--max-queue=64  # memory, health, refusals
    ... --together  # the same, all clients at the same moment

The load is Locust's (`pip install locust`, any environment: --locust PATH), 32 clients, server and clients on one machine.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

HERE = Path(__file__).parent
PORT = 8731
URL = f"http://127.0.0.1:{PORT}"
TEXT = "This package contains a small program that reads a file of words and prints those that it does not know. " * 3


@contextmanager
def server(folder: str, kind: str, options: list[str]) -> Any:
    """A server of a kind, ready; gives its process."""
    commands = {
        "batching": [sys.executable, "-m", "conjoin", "serve", folder, "--port", str(PORT), *options],
        "no batching": [
            sys.executable,
            "-m",
            "conjoin",
            "serve",
            folder,
            "--port",
            str(PORT),
            "--no-batching",
            *options,
        ],
        "transformers": [sys.executable, str(HERE / "serving_peer.py"), folder, str(PORT)],
    }
    process = subprocess.Popen(commands[kind], stderr=subprocess.DEVNULL)
    try:
        while not ready():
            time.sleep(0.2)
        httpx.post(
            f"{URL}/generate", json={"text": TEXT, "num_beams": 4, "max_new_tokens": 8, "truncation": True}, timeout=300
        )
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


def ready() -> bool:
    """Whether the server answers."""
    try:
        return httpx.get(f"{URL}/ready").status_code == 200
    except httpx.TransportError:
        return False


@contextmanager
def load(locust: str, clients: int, seconds: float, **environment: str) -> Any:
    """Locust beside what the block does; gives a function that waits for its end and returns its rows."""
    with tempfile.TemporaryDirectory() as folder:
        command = [locust, "-f", str(HERE / "serving_load.py"), "--headless", "-u", str(clients), "-r", "1000"]
        command += [
            "-t",
            f"{seconds:g}s",
            "-H",
            URL,
            "--csv",
            f"{folder}/out",
            "--only-summary",
            "--stop-timeout",
            "120",
        ]
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **environment}
        )

        def rows() -> dict[str, dict[str, str]]:
            process.wait()
            with open(f"{folder}/out_failures.csv", encoding="utf-8") as lines:
                print(*csv.DictReader(lines), sep="\n", end="")
            with open(f"{folder}/out_stats.csv", encoding="utf-8") as lines:
                return {row["Name"]: row for row in csv.DictReader(lines)}

        yield rows
        process.wait()


def first_token(beams: int) -> float:
    """Seconds from a request to the first piece of its text."""
    body = {"text": TEXT, "num_beams": beams, "max_new_tokens": 32, "min_new_tokens": 32}
    began = time.perf_counter()
    with httpx.stream("POST", f"{URL}/generate/stream", json=body, timeout=120) as answer:
        next(line for line in answer.iter_lines() if '"text"' in line)
        return time.perf_counter() - began


def throughput(args: argparse.Namespace) -> None:
    """All three, in turns."""
    for turn in range(args.turns):
        for kind in args.kinds:
            with server(args.folder, kind, args.option) as process:
                print(json.dumps(measured(args, kind, turn, process)), flush=True)


def measured(args: argparse.Namespace, kind: str, turn: int, process: Any) -> dict[str, Any]:
    """One server under load, and the time to the first token alone and under it."""
    found: dict[str, Any] = {"server": kind, "turn": turn, "clients": args.clients}
    if kind != "transformers":
        found["first token alone, ms"] = round(1000 * statistics.median(first_token(1) for _ in range(10)), 1)
    with load(args.locust, args.clients, args.seconds, SHAPES=args.shapes, SEED=str(turn), BEAMS=args.beams) as rows:
        if kind == "batching":
            time.sleep(args.seconds / 4)
            before = steps()
            several = sorted(first_token(1) for _ in range(10))
            found["first token under load, ms"] = round(1000 * statistics.median(several), 1)
            count, seconds, taken = (now - then for now, then in zip(steps(), before, strict=True))
            found["step, ms"], found["rows a step"] = round(1000 * seconds / count, 1), round(taken / count, 1)
        several_rows = rows()
    for name, row in several_rows.items():
        told = {"requests/s": "Requests/s", "p50": "50%", "p95": "95%", "p99": "99%", "failures": "Failure Count"}
        found[name] = {ours: round(float(row[theirs]), 2) for ours, theirs in told.items()}
    found["MB"] = round(process.memory_info().rss / 2**20)
    return found


def steps() -> tuple[float, float, float]:
    """How many steps the server has taken, their seconds and rows."""
    lines = (line.rsplit(" ", 1) for line in httpx.get(f"{URL}/metrics").text.splitlines() if line[0] != "#")
    told = {key.partition("{")[0]: float(value) for key, value in lines}
    return told["conjoin_step_seconds_count"], told["conjoin_step_seconds_sum"], told["conjoin_batch_rows_sum"]


def soak(args: argparse.Namespace) -> None:
    """More load than there is capacity, for long: memory by the minute, how soon health is answered, what is refused."""
    pace = {"PACE": str(args.clients / args.rate), "TOGETHER": str(int(args.together))}
    with (
        server(args.folder, "batching", args.option) as process,
        load(args.locust, args.clients, args.soak, SHAPES=args.shapes, **pace) as rows,
    ):
        began = time.monotonic()
        command = [sys.executable, str(HERE / "serving_probe.py"), str(PORT)]
        probe = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        while (passed := time.monotonic() - began) < args.soak:
            print(f"{passed:5.0f} s {process.memory_info().rss / 2**20:6.0f} MB", flush=True)
            time.sleep(min(30, args.soak / 10))
        asked = json.loads(probe.communicate()[0])
        for name, row in rows().items():
            print(
                name, {key: row[key] for key in ("Request Count", "Failure Count", "Requests/s", "50%", "95%", "99%")}
            )
        told = [
            line
            for line in httpx.get(f"{URL}/metrics").text.splitlines()
            if line.startswith(("conjoin_requests_t", "conjoin_ref"))
        ]
        print("\n".join(told))
        show_health(asked)
        before = process.cpu_times().user + process.cpu_times().system
        time.sleep(5)
        idle = process.cpu_times().user + process.cpu_times().system - before
        print(f"idle: {idle / 5:.2%} of a core")


def show_health(asked: list[tuple[float, float, float]]) -> None:
    """How soon health was answered, how late the probe itself woke, and the slowest answers."""
    for name, column in (("answered after", 1), ("probe woke late by", 2)):
        times = sorted(1000 * one[column] for one in asked)
        print(
            f"health: {name} {statistics.median(times):.1f} ms (median), {times[-len(times) // 100]:.1f} (p99), "
            f"{times[-1]:.1f} at most of {len(times)}, {sum(time > 100 for time in times)} above 100"
        )
    for second, took, late in sorted(asked, key=lambda one: -one[1])[:3]:
        print(f"  at {second:.0f} s {1000 * took:.1f} ms, the probe {1000 * late:.1f} ms late")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--locust", default="locust")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--shapes", default="fixed", choices=("fixed", "natural"))
    parser.add_argument("--beams", default="1 4", help="numbers of beams, of which each request has one")
    parser.add_argument("--kinds", nargs="+", default=["batching", "no batching", "transformers"])
    parser.add_argument("--soak", type=float, default=0)
    parser.add_argument("--rate", type=float, default=20, help="requests/s that a soak offers")
    parser.add_argument("--together", action="store_true", help="all clients of a soak ask at the same moment")
    parser.add_argument("--option", action="append", default=[], help="a further option of conjoin serve")
    args = parser.parse_args()
    if args.soak:
        soak(args)
    else:
        throughput(args)


if __name__ == "__main__":
    main()
