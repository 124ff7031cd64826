"""Encoder and Decoder in JAX: one part of a join, that loads and saves alone."""

from typing import ClassVar

from conjoin.backends import jax as backend
from conjoin.backends.jax import Kept
from conjoin.config import ModelConfig
from conjoin.flax.native import BaseDecoder, BaseEncoder
from conjoin.parts import Part, checked_names

__all__ = ["Decoder", "Encoder"]


class FlaxPart(Part):
    """What a part keeps beside its arrays."""

    ops: ClassVar = backend
    config = Kept()
    tokenizer = Kept()
    processor_files = Kept()


class Encoder(FlaxPart, BaseEncoder):  # type: ignore[misc]
    """A stack that reads the whole source at once: input_ids (B, S) -> last_hidden_state (B, S, W)."""

    role = "encoder"

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.begin()

    __call__ = checked_names(BaseEncoder.forward)


class Decoder(FlaxPart, BaseDecoder):  # type: ignore[misc]
    """A causal stack with cross-attention: input_ids (B, T), encoder_hidden_states (B, S, W) -> logits (B, T, V)."""

    role = "decoder"

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.begin()

    __call__ = checked_names(BaseDecoder.forward)
