"""Times the CPU kernels that were chosen between: linear layers for few rows, attention forward and backward; and compiling them.

python benchmarks/kernels.py linear
python benchmarks/kernels.py engine
python benchmarks/kernels.py attention
python benchmarks/kernels.py compiling
"""

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import tempfile

import torch
import torch.nn.functional as F
from common import alternate, show

from conjoin.backends.torch.maths import explicit_attention

STREAMED = 150e6  # bytes of weights that are cycled through, so that they come from memory and not from a cache


def linear() -> None:
    """F.linear beside oneDNN's packed linear (and addmv for one row), microseconds, medians."""
    rows = []
    for out, into in ((1536, 384), (384, 1536), (3072, 768), (768, 3072), (30522, 768)):
        weights = [torch.randn(out, into) for _ in range(max(1, int(STREAMED / (4 * out * into))))]
        packed = [torch.ops.mkldnn._reorder_linear_weight(w, 32) for w in weights]
        bias = torch.randn(out)
        for count in (1, 8, 32):
            x, plain, other = torch.randn(count, into), itertools.cycle(weights), itertools.cycle(packed)
            work = {
                "F.linear": lambda: F.linear(x, next(plain), bias),
                "packed": lambda: torch.ops.mkldnn._linear_pointwise(x, next(other), bias, "none", [], ""),
            }
            if count == 1:
                work["addmv"] = lambda: torch.addmv(bias, next(plain), x[0])
            with torch.inference_mode():
                seconds = alternate(work, 30)
            times = {name: f"{1e6 * statistics.median(s):.0f}" for name, s in seconds.items()}
            rows.append([f"{out} x {into}", str(count), times["F.linear"], times["packed"], times.get("addmv", "")])
    show("linear layers, float32, microseconds", ["weight", "rows", "F.linear", "packed", "addmv"], rows)


def engine() -> None:
    """The engine's products beside oneDNN's packed ones and torch's int8 one, microseconds, medians."""
    from conjoin.engine.kernels.layout import Mode
    from conjoin.engine.kernels.team import team_of
    from conjoin.engine.narrow import TYPES
    from conjoin.engine.native import one_product
    from conjoin.engine.quantised import quantised
    from conjoin.engine.tensors import bits
    from conjoin.engine.threads import kernel_threads
    from conjoin.engine.weights import empty_panels, filled, panels_of

    rows = []
    for out, into in ((1536, 384), (384, 1536), (3072, 768), (768, 3072), (30522, 768)):
        weights = [torch.randn(out, into) for _ in range(max(1, int(STREAMED / (4 * out * into))))]
        halves, bytes_ = [w.bfloat16() for w in weights], [quantised(w.numpy()) for w in weights]
        programs: dict[str, list] = {name: [] for name in ("float32", "bfloat16", *TYPES)}
        for weight in weights:
            programs["float32"].append(one_product(panels_of([weight.numpy()], [None], Mode.FLOAT32)))
            programs["bfloat16"].append(one_product(panels_of([bits(weight.bfloat16())], [None], Mode.BFLOAT16)))
            for name, mode in TYPES.items():
                panels = empty_panels(out, into, mode)
                filled(panels, *quantised(weight.numpy(), mode))
                programs[name].append(one_product(panels))
        for count in (1, 8, 32):
            x, made = torch.randn(count, into), torch.empty(count, out)
            packed = [torch.ops.mkldnn._reorder_linear_weight(w, 32) for w in weights]
            small = [torch.ops.mkldnn._reorder_linear_weight(w, 32) for w in halves]
            narrowed = (x * 30).clamp(-127, 127).to(torch.int8)
            cycles = {n: itertools.cycle(p) for n, p in {"a": packed, "b": small, "c": bytes_, **programs}.items()}
            pointwise = torch.ops.mkldnn._linear_pointwise
            work = {
                "oneDNN float32": lambda: pointwise(x, next(cycles["a"]), None, "none", [], ""),
                "oneDNN bfloat16": lambda: pointwise(x.bfloat16(), next(cycles["b"]), None, "none", [], ""),
                "torch int8": lambda: torch._int_mm(narrowed, torch.from_numpy(next(cycles["c"])[0]).t()),
            }
            for name in programs:
                work[name] = lambda name=name: next(cycles[name]).run(
                    x.numpy(), made.numpy(), count, 0, team_of(kernel_threads())
                )
            with torch.inference_mode():
                times = {name: f"{1e6 * statistics.median(s):.0f}" for name, s in alternate(work, 30).items()}
            rows.append([f"{out} x {into}", str(count), *times.values()])
    show("linear layers, microseconds", ["weight", "rows", *work], rows)


def attention() -> None:
    """The fused kernel beside explicit products, forward and backward, one thread, ms, medians."""
    torch.set_num_threads(1)
    rows = []
    for dtype, rate, length in itertools.product((torch.float32, torch.bfloat16), (0.0, 0.1), (32, 64, 160)):
        q, k, v = (torch.randn(32, length, 12, 32, dtype=dtype).transpose(1, 2).requires_grad_() for _ in range(3))
        mask = (torch.arange(length) < length - 5)[None, None, None].expand(32, 1, 1, length)
        work = {
            "fused": lambda: F.scaled_dot_product_attention(q, k, v, mask, dropout_p=rate).sum().backward(),
            "explicit": lambda: explicit_attention(q, k, v, mask, 32**-0.5, rate)[0].sum().backward(),
        }
        seconds = alternate(work, 5)
        times = [f"{1e3 * statistics.median(s):.1f}" for s in seconds.values()]
        rows.append([str(dtype).removeprefix("torch."), f"{rate:g}", str(length), *times])
    show("attention, forward and backward, ms", ["type", "dropout", "tokens", "fused", "explicit"], rows)


FIRST_CALL = """
import time
began = time.process_time()
import numpy as np
from conjoin.engine.kernels.layout import FIELDS, LAYERS, Code, Mode
from conjoin.engine.kernels.operations import KERNELS, LINEARS
from conjoin.engine.kernels.team import team_of
team_of(1).run(np.zeros((0, FIELDS), np.int64), np.zeros((0, 2)), np.zeros(1, np.int64), np.zeros(LAYERS, np.int64))
for code in (Code.NORM, Code.ATTEND, Code.ATTEND_MEMORY, Code.ATTEND_LONG, Code.PACK, Code.ACTIVATE, Code.BEST):
    KERNELS[code].address
LINEARS[Mode.FLOAT32].address
print(time.process_time() - began)
for kernel in (*KERNELS.values(), *LINEARS.values()):
    kernel.address
print(time.process_time() - began)
"""


def compiling() -> None:
    """What a BERT's greedy search in float32 needs, and every kernel: compiled, and in the next process read from disk."""
    with tempfile.TemporaryDirectory() as folder:
        command, own = [sys.executable, "-c", FIRST_CALL], os.environ | {"NUMBA_CACHE_DIR": folder}
        turns = [subprocess.check_output(command, env=own, text=True).split() for _ in range(2)]
    rows = [
        [name, *(f"{float(seconds):.2f}" for seconds in of)]
        for name, of in zip(("greedy, float32", "all"), zip(*turns, strict=True), strict=True)
    ]
    show("seconds of one core, import of Numba included", ["kernels", "compiled", "read from disk"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("linear", "attention", "engine", "compiling"))
    {"linear": linear, "attention": attention, "engine": engine, "compiling": compiling}[parser.parse_args().what]()


if __name__ == "__main__":
    main()
