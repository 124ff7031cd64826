"""Devices in PyTorch: where a pipeline runs, moving a model there, and arrays that go with it."""

import logging
from typing import Any

import numpy as np

import torch
from conjoin.backends.torch.store import NARROW_TYPES, as_dtype, found_device
from conjoin.decoding.budget import host_free
from conjoin.errors import InputError

__all__ = ["chosen_device", "free_memory", "id_lists", "moved", "on_cpu", "on_device"]

logger = logging.getLogger("conjoin")


def chosen_device(device: Any) -> torch.device:
    """Where to run: None and 0 are the first accelerator, or the CPU where there is none (0 logs it); -1 is the CPU.

    Raises InputError for a device that this machine does not have.
    """
    there = torch.accelerator.current_accelerator(check_available=True)
    count = torch.accelerator.device_count() if there is not None else 0
    if device is None or device == 0:
        if there is None and device == 0:
            logger.warning("device=0: there is no accelerator here; the CPU is used.")
        return torch.device("cpu") if there is None else torch.device(there.type, 0)
    if isinstance(device, int):
        if device >= count:
            raise InputError(f"device is {device}; this machine has {count} accelerators. -1 is the CPU.")
        return torch.device("cpu") if device < 0 or there is None else torch.device(there.type, device)
    return found_device(device)


def moved(model: Any, device: Any, dtype: Any) -> None:
    """Moves a model where `device` and `dtype` say; what is None stays. Raises InputError for what cannot be."""
    if dtype in NARROW_TYPES:
        raise InputError(
            f'dtype is "{dtype}" and the model is loaded already; load its folder so, from_pretrained(folder, dtype="{dtype}").'
        )
    model.to(device=model.device if device is None else chosen_device(device), dtype=as_dtype(dtype))


def on_device(array: np.ndarray[Any, Any], model: Any) -> torch.Tensor:
    """An array where a model is."""
    return torch.from_numpy(array).to(model.device)


def on_cpu(x: torch.Tensor) -> torch.Tensor:
    """A copy in the host's memory."""
    return x.detach().to("cpu", copy=True)


def free_memory(model: Any) -> int | None:
    """Bytes that a model's device has left; None where nobody says."""
    device = model.device
    if device.type == "cpu":
        return host_free()
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))


def id_lists(ids: torch.Tensor) -> list[list[int]]:
    """Ids as lists, from whichever device."""
    found: list[list[int]] = ids.tolist()
    return found
