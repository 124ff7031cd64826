"""Encoder and Decoder in TensorFlow: one part of a join, that loads and saves alone."""

from typing import ClassVar

import tensorflow as tf

from conjoin.backends import tensorflow as backend
from conjoin.config import ModelConfig
from conjoin.parts import Part, checked_names
from conjoin.tensorflow.native import BaseDecoder, BaseEncoder

__all__ = ["Decoder", "Encoder"]

as_it_is = tf.autograph.experimental.do_not_convert


class TFPart(Part):
    """What both parts have."""

    ops: ClassVar = backend


class Encoder(TFPart, BaseEncoder):  # type: ignore[misc]
    """A stack that reads the whole source at once: input_ids (B, S) -> last_hidden_state (B, S, W)."""

    role = "encoder"

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.begin()
        backend.named(self)

    __call__ = as_it_is(checked_names(BaseEncoder.forward))


class Decoder(TFPart, BaseDecoder):  # type: ignore[misc]
    """A causal stack with cross-attention: input_ids (B, T), encoder_hidden_states (B, S, W) -> logits (B, T, V)."""

    role = "decoder"

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.begin()
        backend.named(self)

    __call__ = as_it_is(checked_names(BaseDecoder.forward))
