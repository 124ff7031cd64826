"""The blocks as native torch modules: importable, picklable, readable in tracebacks."""

from typing import Any

from conjoin import blocks, seq2seq
from conjoin.backends import torch as backend

_classes: dict[str, Any] = dict(blocks.define(backend))
_classes |= seq2seq.define(backend, _classes)
for _class in _classes.values():
    _class.__module__, _class.__qualname__ = __name__, _class.__name__
    globals()[_class.__name__] = _class

BaseEncoder: Any = _classes["Encoder"]
BaseDecoder: Any = _classes["Decoder"]
BaseEncoderDecoder: Any = _classes["EncoderDecoder"]
