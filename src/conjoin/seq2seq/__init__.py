"""Encode, decode, loss and the join itself, written once: `define(nn, blocks)` makes native classes of a framework."""

from collections.abc import Mapping
from typing import Any

from conjoin.seq2seq import decoder, encoder, joined
from conjoin.seq2seq.cache import DecoderCache
from conjoin.seq2seq.joined import IGNORED

__all__ = ["IGNORED", "DecoderCache", "define"]


def define(nn: Any, blocks: Mapping[str, Any]) -> Mapping[str, Any]:
    """The classes Encoder, Decoder and EncoderDecoder, native to the framework of the backend `nn`."""
    stack = blocks["Stack"]
    return {c.__name__: c for c in (encoder.define(nn, stack), decoder.define(nn, stack), joined.define(nn))}
