"""What runs a step over buffers that stay where they are: as it is, or recorded once as a CUDA graph and replayed."""

import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["Eager", "Recorded", "Step", "records", "runner_for"]

Step = Callable[[], tuple[Tensor, Tensor]]  # reads and writes buffers; gives hidden states and logits
RECORDING = threading.Lock()  # CUDA records one graph at a time
WARM_UPS = 3  # runs before a recording, in which libraries choose their kernels and take their memory


class Eager:
    """A step run as it is, each time anew."""

    def __init__(self, step: Step, device: torch.device) -> None:
        self.step = step

    def __call__(self) -> tuple[Tensor, Tensor]:
        """What the step gives."""
        return self.step()


class Recorded:
    """A step recorded as a CUDA graph: replayed, all its kernels are one launch. A run changes nothing that another needs.

    What it gives lies in the graph's memory, and is written anew by the next replay.
    """

    def __init__(self, step: Step, device: torch.device) -> None:
        with RECORDING, torch.cuda.device(device):
            aside: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                for _ in range(WARM_UPS):
                    step()
            torch.cuda.current_stream().wait_stream(aside)
            self.graph = torch.cuda.CUDAGraph()
            # Other threads may go on with work of their own on the device meanwhile.
            with torch.cuda.graph(self.graph, stream=aside, capture_error_mode="thread_local"):
                self.found = step()

    def __call__(self) -> tuple[Tensor, Tensor]:
        """What the step gives."""
        self.graph.replay()
        return self.found


def records(device: torch.device) -> bool:
    """Whether steps are recorded on a device."""
    return device.type == "cuda"


def runner_for(device: torch.device) -> Any:
    """What runs steps on a device."""
    return Recorded if records(device) else Eager
