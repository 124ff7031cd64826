"""What blocks/, seq2seq/, decoding/ and the model classes need, in TensorFlow with Keras 3.

layers.py     leaf layers
maths.py      attention, heads, vocabulary projection, the cache
loss.py       labels, and the loss
arrays.py     array operations, and the compiled loop
generating.py random numbers for sampling; the compiled program that a model generates with
store.py      a model's parameters by name: to read, to place, to share, to freeze

Importing it sets Keras to TensorFlow, which Keras takes from the environment once, when it is first imported.
"""

import os

import tensorflow  # noqa: F401 - named first where it is not installed

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras

from conjoin.errors import ConfigError

if keras.backend.backend() != "tensorflow":
    raise ConfigError(
        f'Keras runs on {keras.backend.backend()}; set the environment variable KERAS_BACKEND to "tensorflow" before '
        f"Python imports keras."
    )

from conjoin.backends.numpy_files import *  # noqa: F403
from conjoin.backends.padded import *  # noqa: F403
from conjoin.backends.tensorflow.arrays import *  # noqa: F403
from conjoin.backends.tensorflow.generating import *  # noqa: F403
from conjoin.backends.tensorflow.ids import *  # noqa: F403
from conjoin.backends.tensorflow.layers import *  # noqa: F403
from conjoin.backends.tensorflow.loss import *  # noqa: F403
from conjoin.backends.tensorflow.maths import *  # noqa: F403
from conjoin.backends.tensorflow.store import *  # noqa: F403
