"""The most memory that `conjoin generate` takes for files of several sizes, which should be the same.

python benchmarks/files.py DIR [--rows 1000 10000 40000] [--form jsonl parquet]
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def write(path: Path, count: int) -> None:
    """Rows of a short text to read, and a long field beside it that goes along."""
    draw, words = random.Random(0), [f"word{i}" for i in range(3000)]
    rows = (
        {"document": " ".join(draw.choices(words, k=4)), "note": " ".join(draw.choices(words, k=300))}
        for _ in range(count)
    )
    if path.suffix == ".jsonl":
        with path.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
        return
    import pyarrow
    import pyarrow.parquet

    with pyarrow.parquet.ParquetWriter(path, pyarrow.schema({"document": "string", "note": "string"})) as writer:
        for _ in range(0, count, 1000):
            some = [row for row, _ in zip(rows, range(1000), strict=False)]
            writer.write_table(pyarrow.Table.from_pylist(some))


def most(command: list[str]) -> int:
    """The most bytes of memory that a command took (Linux)."""
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return used.ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 10_000, 40_000])
    parser.add_argument("--form", nargs="+", default=["jsonl", "parquet"])
    args = parser.parse_args()
    for form in args.form:
        for count in args.rows:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / f"rows.{form}"
                write(path, count)
                options = ["--output", f"{folder}/out.{form}", "--max-new-tokens", "1", "--num-beams", "1"]
                began = time.perf_counter()
                used = most([sys.executable, "-m", "conjoin", "generate", args.folder, str(path), *options])
                size, seconds = path.stat().st_size / 1e6, time.perf_counter() - began
                print(f"{form}: {count} rows, {size:.0f} MB: {used / 1e6:.0f} MB at most, {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
