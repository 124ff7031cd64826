"""Generating with steps of fixed shapes in PyTorch.

runners.py   what runs a step over buffers: as it is, or recorded as a CUDA graph
compiled.py  the step under torch.compile
program.py   a decoder's step over buffers of one shape
pool.py      the programs of a decoder, kept until a weight is replaced
decoder.py   a decoder whose steps are such programs
"""

from conjoin.static.decoder import static_decoder

__all__ = ["static_decoder"]
