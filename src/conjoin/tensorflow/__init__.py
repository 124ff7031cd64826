"""The TensorFlow classes: Keras models made from the one definition."""

from conjoin.tensorflow.model import TFEncoderDecoderModel
from conjoin.tensorflow.parts import Decoder, Encoder

__all__ = ["Decoder", "Encoder", "TFEncoderDecoderModel"]
