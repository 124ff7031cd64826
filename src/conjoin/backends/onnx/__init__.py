"""What seq2seq/ and decoding/ need where the stacks are graphs of ONNX Runtime: NumPy's backend around them.

arrays.py     array operations of what the runtime holds
inputs.py     where a model runs
generating.py random numbers for sampling; what graphs cannot do
graphs.py     a graph that is run, and what it leaves in the runtime's memory
layers.py     leaf layers, which have nothing: a graph has the weights
"""

from conjoin.backends.numpy import *  # noqa: F403
from conjoin.backends.onnx.arrays import *  # noqa: F403
from conjoin.backends.onnx.generating import *  # noqa: F403
from conjoin.backends.onnx.graphs import *  # noqa: F403
from conjoin.backends.onnx.inputs import *  # noqa: F403
from conjoin.backends.onnx.layers import *  # noqa: F403
