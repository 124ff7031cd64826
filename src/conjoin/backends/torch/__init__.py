"""What blocks/, seq2seq/ and decoding/ need, in PyTorch.

layers.py     leaf layers
devices.py    where a pipeline runs
maths.py      attention, heads, vocabulary projection, the cache; lean.py: attention that trains on a CPU
loss.py       labels, and the loss; chunked.py: without all logits at once
unpadding.py  training without padding
arrays.py     array operations
ids.py        what decoding does with ids, recorded steps and slots
generating.py random numbers for sampling; the state of a model that generates
store.py      a model's parameters by name: to read, to place, to share, to freeze
"""

from conjoin.backends.torch.arrays import *  # noqa: F403
from conjoin.backends.torch.devices import *  # noqa: F403
from conjoin.backends.torch.generating import *  # noqa: F403
from conjoin.backends.torch.ids import *  # noqa: F403
from conjoin.backends.torch.layers import *  # noqa: F403
from conjoin.backends.torch.loss import *  # noqa: F403
from conjoin.backends.torch.maths import *  # noqa: F403
from conjoin.backends.torch.store import *  # noqa: F403
from conjoin.backends.torch.unpadding import *  # noqa: F403
