"""The PyTorch classes: native modules made from the one definition, with what only PyTorch has."""

from conjoin.torch.model import EncoderDecoderModel
from conjoin.torch.parts import Decoder, Encoder

__all__ = ["Decoder", "Encoder", "EncoderDecoderModel"]
