"""Encoder and Decoder in PyTorch: one part of a join, that loads and saves alone."""

from typing import ClassVar

import torch

from conjoin.backends import torch as backend
from conjoin.config import ModelConfig
from conjoin.parts import Part, checked_names
from conjoin.torch.native import BaseDecoder, BaseEncoder

__all__ = ["Decoder", "Encoder", "Placed"]


class Placed:
    """What a torch model can say of where and in which type it is."""

    @property
    def dtype(self) -> torch.dtype:
        """The type of the parameters."""
        return next(self.parameters()).dtype  # type: ignore[attr-defined,no-any-return]

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device  # type: ignore[attr-defined,no-any-return]


class TorchPart(Placed, Part):
    """What both parts have."""

    ops: ClassVar = backend


class Encoder(TorchPart, BaseEncoder):  # type: ignore[misc]
    """A stack that reads the whole source at once: input_ids (B, S) -> last_hidden_state (B, S, W)."""

    role = "encoder"

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.begin()

    forward = checked_names(BaseEncoder.forward)


class Decoder(TorchPart, BaseDecoder):  # type: ignore[misc]
    """A causal stack with cross-attention: input_ids (B, T), encoder_hidden_states (B, S, W) -> logits (B, T, V)."""

    role = "decoder"

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.begin()

    forward = checked_names(BaseDecoder.forward)
