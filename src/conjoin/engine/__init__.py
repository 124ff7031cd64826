"""Faster ways to run a finished model on a CPU: the same numbers, other kernels. Nothing here is needed to be right.

Over NumPy's arrays, for every framework:

machine.py    whether the kernels run here, and who wants them
arrays.py     arrays as the kernels read them
native.py     a stack as programs of the kernels
program.py    a program: operations over buffers
pool.py       programs that are borrowed
unpadded.py   a padded batch without its padding
recording.py  a backend of blocks/ that writes programs down
weights.py    weights in panels: float32, bfloat16, float16, int8, int4
kept.py       panels made once for layers that several blocks share
quantised.py  weights as whole numbers and scales
compensated.py rounding whose errors make up for one another
rows.py       log-probabilities and the largest of a vocabulary
memory.py     a source's panels as everybody else keeps them
kernels/      what programs are made of, compiled by Numba
host/         a model of JAX or TensorFlow, generating on the kernels

In PyTorch:

twins.py      which twin a stack generates on
tensors.py    a stack's twin on the kernels
tensor_rows.py rows.py for tensors
threads.py    whose threads work while a model generates
lanes.py      batches side by side
narrow.py     models in int8 or int4: layers, files
calibrating.py int4 for what a model reads and writes itself
speculative/  drafts by lookup or by a smaller model, checked in one step
packed.py     a stack with oneDNN's packed layers, where the kernels do not run
"""
