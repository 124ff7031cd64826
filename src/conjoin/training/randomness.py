"""What training draws at random: seeded for each batch, so that nothing depends on what was drawn before.

A run that is resumed, or goes on in another number of processes, then drops out the same units, and an evaluation may
draw what it likes: no random state has to be kept.
"""

import random

import numpy as np
import torch

__all__ = ["seed_all", "seed_batch"]


def seed_all(seed: int) -> None:
    """Seeds python, numpy and torch on every device."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def seed_batch(seed: int, step: int, batch: int) -> None:
    """Seeds them for one batch of one step, whichever process it falls to."""
    seed_all(int(np.random.SeedSequence((seed, step, batch)).generate_state(1)[0]))
