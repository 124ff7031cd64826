"""Whether a call of `generate` fits into memory, told before its work begins."""

from pathlib import Path
from typing import Any

from conjoin.decoding.call import Call
from conjoin.decoding.settings import Settings
from conjoin.errors import InputError

__all__ = ["check_budget", "estimate", "host_free"]

MEMORY_FACTS = Path("/proc/meminfo")
CONTROL_GROUP = Path("/sys/fs/cgroup")
SMALL = 64 << 20  # bytes that are not worth asking for
COPIES = 4  # of the scores of a step: logits, log-probabilities, and what rules and the choice make of them
WORD = 8  # bytes of an id
BYTES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}


def check_budget(model: Any, settings: Settings, call: Call) -> None:
    """Raises InputError where a call needs more memory than is free, with the estimate."""
    rows = call.source.shape[0]
    known = call.values is None and call.source.shape[1] is not None and rows is not None
    if rows is None:
        return
    parts = estimate(model, settings, rows, call.source.shape[1] if known else 0)
    needed = sum(parts.values())
    free = model.ops.free_memory(model) if needed > SMALL else None
    if free is None or needed <= free:
        return
    told = ", ".join(f"{name} {readable(size)}" for name, size in parts.items() if size)
    raise InputError(
        f"generate() would need about {readable(needed)} ({told}) and {readable(free)} are free: {rows} sources with "
        f"{settings.hypotheses} hypotheses each (num_beams, num_return_sequences) of up to {settings.max_length} tokens; "
        f"ask for fewer or shorter ones, or for fewer sources at once."
    )


def estimate(model: Any, settings: Settings, rows: int, source: int) -> dict[str, int]:
    """Bytes by what needs them: keys and values of targets and sources, scores of a step, ids, recorded steps."""
    spec, count = model.decoder.spec, settings.hypotheses
    new = settings.room - settings.prompt
    slots = settings.prompt + new * count
    passes = 2 if settings.guidance_scale != 1.0 else 1
    width = spec.key_heads * spec.head_dim * 2 * BYTES.get(model.ops.dtype_name(model), 4)
    held = 2 if settings.static or settings.compiling is not None else 1  # a prompt's, and the buffers of steps
    scores = rows * count * spec.vocab * 4
    kept = 3 + settings.kept // count if settings.num_beams > 1 else 1
    recorded = sum(name in settings.outputs for name in ("scores", "logits"))
    return {
        "cache": held * passes * rows * slots * width * spec.layers,
        "source": held * passes * rows * source * width * spec.layers,
        "scores": scores * COPIES,
        "ids": rows * count * (settings.room * WORD * kept + slots),
        "recorded": scores * recorded * new,
    }


def readable(size: float) -> str:
    """Bytes in the unit that suits them."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:.4g} TiB"


def host_free() -> int | None:
    """Bytes of memory that programs can still have, within the limit of their control group; None where nobody says."""
    found = [size for size in (available(), left_in_group()) if size is not None]
    return min(found, default=None)


def available() -> int | None:
    """What Linux calls available: free, or given back when asked for."""
    try:
        lines = MEMORY_FACTS.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def left_in_group() -> int | None:
    """What is left of a container's limit, with what its file cache would give back."""
    try:
        limit = (CONTROL_GROUP / "memory.max").read_text(encoding="ascii").strip()
        used = int((CONTROL_GROUP / "memory.current").read_text(encoding="ascii"))
        facts = dict(line.split() for line in (CONTROL_GROUP / "memory.stat").read_text(encoding="ascii").splitlines())
    except (OSError, ValueError):
        return None
    return None if limit == "max" else max(int(limit) - used + int(facts.get("inactive_file", 0)), 0)
