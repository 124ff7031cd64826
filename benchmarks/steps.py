"""Times the step of generate in PyTorch: plain, recorded as a CUDA graph, under torch.compile, and on a CPU the engine's.

python benchmarks/steps.py --size minilm
python benchmarks/steps.py --size minilm --size base --device cuda --dtype float16

Each way has a model of its own with the same weights; its first call is timed alone, with an empty cache of compiled code, then
they take turns. Tokens are compared with the plain path's: in float32 equal but for ties, in half precision not always.
"""

import argparse
import copy
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch
from common import SIZES, alternate, pair_of_models, show

SETTINGS = [(1, 128, 64, 1), (8, 128, 64, 4)]  # batch, source, new, beams
SWITCH = "CONJOIN_ENGINE"
STATIC = {"cache_implementation": "static"}
PLAIN = "conjoin, plain"
# By way of a device: the engine's switch, and what a call asks for.
WAYS: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {
    "cpu": {
        PLAIN: ("framework", {}),
        "conjoin, compile_config": ("framework", {"compile_config": {}}),
        "conjoin, engine": ("native", {}),
    },
    "cuda": {
        PLAIN: ("framework", {}),
        "conjoin, static": ("framework", STATIC),
        "conjoin, compile_config": ("framework", {"compile_config": {}}),
    },
}
PEERS: dict[str, dict[str, dict[str, Any]]] = {
    "cpu": {"transformers": {}},
    "cuda": {"transformers": {}, "transformers, static": STATIC},
}


def works(size: str, device: str, dtype: torch.dtype) -> dict[str, Callable[..., torch.Tensor]]:
    """By way: what makes one generation of ids and settings."""
    peer, ours = pair_of_models(size)
    peer = peer.to(device, dtype)
    found: dict[str, Callable[..., torch.Tensor]] = {}
    for name, asked in PEERS[device].items():
        found[name] = lambda asked=asked, **given: peer.generate(**given, **asked).cpu()
    for name, (switch, asked) in WAYS[device].items():
        model = copy.deepcopy(ours).to(device, dtype)
        found[name] = lambda model=model, switch=switch, asked=asked, **given: switched(model, switch, given | asked)
    return found


def switched(model: Any, switch: str, given: dict[str, Any]) -> torch.Tensor:
    """A call with the engine's switch set."""
    os.environ[SWITCH] = switch
    return model.generate(**given).cpu()


def compare(size: str, device: str, dtype: torch.dtype, runs: int) -> list[list[str]]:
    """A line for each setting and way."""
    lines = []
    ways = works(size, device, dtype)
    for batch, source, new, beams in SETTINGS:
        ids = torch.randint(1000, 30000, (batch, source), device=device)
        given = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "num_beams": beams, "do_sample": False}
        given |= {"max_new_tokens": new, "min_new_tokens": new}
        first, tokens = {}, {}
        for name, one in ways.items():
            began = time.perf_counter()
            tokens[name] = one(**given)
            first[name] = time.perf_counter() - began
        seconds = alternate({name: lambda one=one: one(**given) for name, one in ways.items()}, runs)
        for name, taken in seconds.items():
            ratio = statistics.median(a / b for a, b in zip(seconds[PLAIN], taken, strict=True))
            same = float((tokens[name] == tokens[PLAIN]).float().mean())
            step = 1e3 * statistics.median(taken) / new
            setting = f"{batch} x {source}, beams {beams}"
            lines.append([size, setting, name, f"{first[name]:.1f}", f"{step:.2f}", f"{ratio:.2f}", f"{same:.0%}"])
            print(*lines[-1], sep="\t", flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, action="append")
    parser.add_argument("--device", choices=WAYS, default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = tempfile.mkdtemp()
    lines = []
    for size in args.size or list(SIZES):
        lines += compare(size, args.device, getattr(torch, args.dtype), args.runs)
    columns = ["size", "batch x source", "way", "first call, s", "ms a step", "x plain", "tokens as plain"]
    where = torch.cuda.get_device_name() if args.device == "cuda" else f"{torch.get_num_threads()} threads"
    show(f"generate, {args.dtype}, {where}", columns, lines)


if __name__ == "__main__":
    main()
