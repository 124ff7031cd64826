"""What decoding needs where no framework is: NumPy's arrays, and a loop in Python.

arrays.py     array operations
ids.py        what decoding does with ids, recorded steps and slots
inputs.py     what a call was given; labels and the loss
generating.py the loop of a search
"""

from conjoin.backends.numpy.arrays import *  # noqa: F403
from conjoin.backends.numpy.generating import *  # noqa: F403
from conjoin.backends.numpy.ids import *  # noqa: F403
from conjoin.backends.numpy.inputs import *  # noqa: F403
from conjoin.backends.padded import *  # noqa: F403
