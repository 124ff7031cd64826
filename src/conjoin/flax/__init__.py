"""The Flax classes: NNX modules made from the one definition, with what only JAX has."""

from conjoin.flax.model import FlaxEncoderDecoderModel
from conjoin.flax.parts import Decoder, Encoder

__all__ = ["Decoder", "Encoder", "FlaxEncoderDecoderModel"]
