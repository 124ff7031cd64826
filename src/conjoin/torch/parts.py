"""Encoder and Decoder in PyTorch: one part of a join, that loads, saves, grows and freezes alone."""

from dataclasses import replace
from typing import ClassVar

import torch

from conjoin.backends import torch as backend
from conjoin.config import ModelConfig
from conjoin.errors import InputError
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
    """What only PyTorch's parts can do."""

    ops: ClassVar = backend

    @torch.no_grad()
    def resize_token_embeddings(self, new_num_tokens: int) -> torch.nn.Module:
        """Grows or cuts the vocabulary, with the head and its bias; new rows are initialised as the config says."""
        if self.shared_with_partner:
            raise InputError(self.shared_with_partner)
        if self.spec.front is not None:
            raise InputError(f"the {self.role} reads {self.spec.front.argument} and has no vocabulary to resize.")
        if new_num_tokens < 1:
            raise InputError(f"new_num_tokens is {new_num_tokens}; at least 1 was expected.")
        names = ["embed.token.weight", "output.weight", "head.bias"]
        for name in [n for n in names if n in backend.shapes(self)]:  # type: ignore[arg-type]
            old = backend.read(self, name)  # type: ignore[arg-type]
            new = old.new_zeros(new_num_tokens, *old.shape[1:])
            if name != "head.bias":
                new.normal_(0.0, self.spec.initializer_range)
            keep = min(len(old), new_num_tokens)
            new[:keep] = old[:keep]
            backend.place(self, name, new, backend.Placement(old.dtype, old.device))  # type: ignore[arg-type]
        self.embed.token.num_embeddings = new_num_tokens
        self.config.vocab_size = new_num_tokens  # type: ignore[attr-defined]
        self.spec = replace(self.spec, vocab=new_num_tokens)
        found: torch.nn.Module = self.get_input_embeddings()
        return found


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
