"""The random states that training draws from: seeded, kept in a checkpoint, and left alone by an evaluation."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

__all__ = ["kept_random", "random_states", "restore_random", "seed_all"]

States = dict[str, Any]  # plain values and tensors, as torch's weights_only loader takes them


def seed_all(seed: int) -> None:
    """Seeds python, numpy and torch on every device."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def random_states() -> States:
    """The states of python, numpy, torch, and the current GPU where there is one."""
    kind, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    return {
        "python": random.getstate(),
        "numpy": (str(kind), torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, float(gauss)),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def restore_random(states: States) -> None:
    """Puts states back."""
    random.setstate(states["python"])
    kind, keys, position, has_gauss, gauss = states["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
    torch.set_rng_state(states["torch"])
    if states["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])


@contextmanager
def kept_random() -> Iterator[None]:
    """Whatever the block draws, training goes on as if it had not."""
    states = random_states()
    try:
        yield
    finally:
        restore_random(states)
