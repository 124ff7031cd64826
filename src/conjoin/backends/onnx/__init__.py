"""What seq2seq/ and decoding/ need where the stacks are graphs of ONNX Runtime: NumPy around them, and no framework.

arrays.py     array operations
ids.py        what decoding does with ids, recorded steps and slots
inputs.py     what a call was given; labels and the loss
generating.py random numbers for sampling, and the loop
graphs.py     a graph that is run, and what it leaves in the runtime's memory
layers.py     leaf layers, which have nothing: a graph has the weights
"""

from conjoin.backends.onnx.arrays import *  # noqa: F403
from conjoin.backends.onnx.generating import *  # noqa: F403
from conjoin.backends.onnx.graphs import *  # noqa: F403
from conjoin.backends.onnx.ids import *  # noqa: F403
from conjoin.backends.onnx.inputs import *  # noqa: F403
from conjoin.backends.onnx.layers import *  # noqa: F403
