"""The memory of reading a large file of pairs whole, and as a stream.

python benchmarks/streaming.py [--pairs 200000]
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

READ = """
import resource, sys
from conjoin.training import read_pairs, stream_pairs
how, path = sys.argv[1:]
count = len(read_pairs(path)) if how == "whole" else sum(len(portion) for portion in stream_pairs(path).portions())
print(f"{how}: {count} pairs, {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB at most")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=200_000)
    count = parser.parse_args().pairs
    draw, words = random.Random(0), [f"word{i}" for i in range(3000)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pairs.jsonl"
        with path.open("w") as file:
            for _ in range(count):
                row = {name: " ".join(draw.choices(words, k=k)) for name, k in (("document", 150), ("summary", 10))}
                file.write(json.dumps(row) + "\n")
        print(f"a file of {path.stat().st_size / 1e6:.0f} MB")
        for how in ("whole", "streamed"):
            subprocess.run([sys.executable, "-c", READ, how, str(path)], check=True)


if __name__ == "__main__":
    main()
