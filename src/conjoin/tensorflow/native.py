"""The blocks as native modules of tensorflow: importable, picklable, readable in tracebacks."""

from typing import Any

from conjoin.backends import tensorflow as backend
from conjoin.native import native_classes

BaseEncoder: Any
BaseDecoder: Any
BaseEncoderDecoder: Any
BaseEncoder, BaseDecoder, BaseEncoderDecoder = native_classes(backend, __name__)
