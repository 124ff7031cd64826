"""Which kernel an operation of a program is."""

from conjoin.engine.kernels.attention import ATTENTIONS
from conjoin.engine.kernels.choose import CHOOSERS
from conjoin.engine.kernels.compiling import Kernel
from conjoin.engine.kernels.layout import Code, Mode
from conjoin.engine.kernels.linear import LINEARS
from conjoin.engine.kernels.rows import BY_ROWS

__all__ = ["kernel_of"]

KERNELS = {**ATTENTIONS, **BY_ROWS, **CHOOSERS}


def kernel_of(code: Code, numbers: list[int]) -> Kernel:
    """The kernel of an operation with such numbers."""
    return LINEARS[Mode(numbers[1])] if code == Code.LINEAR else KERNELS[code]
