"""In which arithmetic to train: bfloat16 where the machine computes in it, float32 elsewhere."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch

from conjoin.training.recipe import Precision

__all__ = ["arithmetic", "chosen_precision"]

CPU_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})  # without them bfloat16 is emulated, and slower than float32
CPU_FACTS = Path("/proc/cpuinfo")


def chosen_precision(asked: Precision, device: torch.device) -> Precision:
    """ "float32" or "bfloat16": what was asked for, or with "auto" the faster that the device has."""
    if asked != "auto":
        return asked
    fast = torch.cuda.is_bf16_supported(including_emulation=False) if device.type == "cuda" else False
    if device.type == "cpu":
        fast = cpu_has_bfloat16(CPU_FACTS)
    return "bfloat16" if fast else "float32"


def cpu_has_bfloat16(facts: Path) -> bool:
    """Whether /proc/cpuinfo names bfloat16 instructions; False where there is no such file."""
    if not facts.is_file():
        return False
    lines = (
        line for line in facts.read_text(encoding="utf-8", errors="replace").splitlines() if line.startswith("flags")
    )
    return not CPU_FLAGS.isdisjoint(next(lines, "").split())


def arithmetic(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """The context that the forward pass runs in."""
    if precision != "bfloat16":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)
