"""What blocks/, seq2seq/, decoding/ and the model classes need, in JAX with Flax NNX.

layers.py     leaf layers
maths.py      attention, heads, vocabulary projection, the cache
loss.py       labels, and the loss
arrays.py     array operations, and the compiled loop
generating.py random numbers for sampling; the compiled program that a model generates with
store.py      a model's parameters by name: to read, to place, to share, to freeze
"""

from conjoin.backends.jax.arrays import *  # noqa: F403
from conjoin.backends.jax.generating import *  # noqa: F403
from conjoin.backends.jax.ids import *  # noqa: F403
from conjoin.backends.jax.layers import *  # noqa: F403
from conjoin.backends.jax.loss import *  # noqa: F403
from conjoin.backends.jax.maths import *  # noqa: F403
from conjoin.backends.jax.store import *  # noqa: F403
from conjoin.backends.numpy_files import *  # noqa: F403
from conjoin.backends.padded import *  # noqa: F403
