"""A model of JAX or TensorFlow, generating on the engine's kernels: NumPy's arrays, its own weights in panels.

ops.py      the backend: NumPy's, with the leaf layers and operations of stacks
layers.py   leaf layers
maths.py    array operations
model.py    a joined model of these, from another's config and parameters
hosting.py  the host of a framework's model, kept until a parameter changes
threads.py  on how many threads
"""
