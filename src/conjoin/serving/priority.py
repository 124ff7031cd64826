"""Who gets a core first: the event loop, which needs it for a moment, before the threads that compute all the time."""

import os
import sys
import threading

__all__ = ["yield_cores"]

BEHIND = (
    10  # of Linux's nice values: a thread so far behind has a tenth of what another gets where both want the same core
)


def yield_cores() -> None:
    """Puts this thread, and those that it starts, behind the other threads of this process.

    Does nothing where threads have no priorities of their own.
    """
    if sys.platform == "linux":
        own = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, own, os.getpriority(os.PRIO_PROCESS, own) + BEHIND)
