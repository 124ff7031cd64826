"""The one definition of blocks and join, made real for a backend: importable, picklable, readable in tracebacks."""

import sys
from typing import Any

from conjoin import blocks, seq2seq

__all__ = ["native_classes"]


def native_classes(backend: Any, module: str) -> tuple[Any, Any, Any]:
    """Encoder, Decoder and EncoderDecoder of a backend; all classes become names of `module`, where pickle finds them."""
    classes = dict(blocks.define(backend))
    classes |= seq2seq.define(backend, classes)
    for found in classes.values():
        found.__module__, found.__qualname__ = module, found.__name__
        setattr(sys.modules[module], found.__name__, found)
    return classes["Encoder"], classes["Decoder"], classes["EncoderDecoder"]
