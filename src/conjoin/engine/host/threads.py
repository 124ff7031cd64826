"""On how many threads the kernels run where no framework says."""

import os

__all__ = ["host_threads"]


def host_threads() -> int:
    """OMP_NUM_THREADS, as for what else computes in this process, or as many as there are cores for it."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdecimal() and int(asked) > 0 else len(os.sched_getaffinity(0))
