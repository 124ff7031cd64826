"""What seq2seq/ and decoding/ need where stacks are programs of the kernels: NumPy's backend, with their layers and maths."""

from conjoin.backends.numpy import *  # noqa: F403
from conjoin.engine.host.layers import *  # noqa: F403
from conjoin.engine.host.maths import *  # noqa: F403

CALLS_BACK = False  # in the frameworks that it serves steps call nothing of a user's, whichever way they are run
