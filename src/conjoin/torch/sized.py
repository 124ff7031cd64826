"""What every torch model here can say of itself: its type, its place, its size."""

from collections.abc import Callable, Iterator

import torch

__all__ = ["Sized"]


class Sized:
    """A module with parameters."""

    parameters: Callable[..., Iterator[torch.nn.Parameter]]

    @property
    def dtype(self) -> torch.dtype:
        """The type of the parameters."""
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    def num_parameters(self, only_trainable: bool = False) -> int:
        """How many numbers it has, each shared tensor counted once."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad or not only_trainable)
