"""Faster ways to run a finished model in PyTorch: the same numbers, other kernels. Nothing here is needed to be right.

machine.py    whether the kernels run here
twins.py      which twin a stack generates on
native.py     a stack as programs of the kernels
program.py    a program: operations over buffers
unpadded.py   a padded batch without its padding
recording.py  a backend of blocks/ that writes programs down
weights.py    weights in panels: float32, bfloat16, int8
threads.py    whose threads work while a model generates
int8.py       models in int8: layers, files
rows.py       log-probabilities and the largest of a vocabulary
memory.py     a source's panels as everybody else keeps them
speculative/  drafts by lookup or by a smaller model, checked in one step
kernels/      what programs are made of, compiled by Numba
packed.py     a stack with oneDNN's packed layers, where the kernels do not run
"""

from conjoin.engine.threads import kernels_alone
from conjoin.engine.twins import is_native, twin_of

__all__ = ["is_native", "kernels_alone", "twin_of"]
