"""Where things stand in the tables that the engine's kernels read: operations, and the facts of one run."""

from enum import IntEnum

__all__ = ["FIELDS", "GROUP", "LAYER", "LAYERS", "PANEL", "Code", "Fact", "Mode", "PerLayer"]

FIELDS = 24  # numbers of an operation
PANEL = 32  # output channels of a linear layer that are read together
GROUP = 16  # inputs of a channel that have one scale, where weights are int4


class Code(IntEnum):
    """What an operation does, and its numbers after the code.

    A place is three numbers: a buffer, its first column, and the float32 numbers from row to row. Addresses are 0 for what there
    is not.
    """

    LINEAR = (
        0  # place in, place out, weight, mode, scales, corrections, bias, inputs, outputs, activation, place added (-1)
    )
    NORM = 1  # place in, place out, weight, bias, width, root, heads
    COMBINE = 2  # place a, place b, place out, width, which
    SCALE = 3  # place in, place out, width
    ACTIVATE = 4  # place in, place out, width, activation
    TURN = 5  # place, heads, size, pairs, interleaved, layer
    ATTEND = 6  # places of queries, out, keys, values; heads, heads of keys, size, layer
    ATTEND_MEMORY = 7  # places of queries, out; heads, heads of keys, size, layer
    ATTEND_LONG = 8  # as ATTEND
    PACK = 9  # places of keys, values; heads of keys, size, layer
    LOG_SOFTMAX = 10  # place in, place out, width
    BEST = 11  # place in, place out: values, then numbers as int32; width, how many
    CHOOSE = 12  # as BEST, of the log-probabilities of logits, without tokens that the run forbids


class Mode(IntEnum):
    """What a linear layer's weight is kept in."""

    FLOAT32 = 0
    BFLOAT16 = 1
    INT8 = 2
    # Weights alone are small; rows and sums are float32.
    FLOAT16 = 3
    INT8_WEIGHTS = 4
    INT4_WEIGHTS = 5


class Fact(IntEnum):
    """Of a run: numbers and addresses."""

    ROWS = 0  # B * T
    BATCH = 1
    LENGTH = 2  # T
    AT = 3  # the slot of the first new token
    SEEN = 4  # slots in sight
    SOURCE = 5  # tokens of the memory
    SCRATCH = 6  # a thread's own memory: where the first's begins
    SCRATCH_BYTES = 7  # of each
    NARROWED = 8  # rows as bytes or halves
    ROW_SCALES = 9
    SOURCE_MASK = 10  # address, then bytes from row to row of the batch
    COUNTER = 12  # of the barrier: an address
    FIRST = 13  # which row of the buffers is the first
    RUNS = 14  # how many runs stand side by side, each with facts of its own for attention; 0 for one alone
    RUN_FACTS = 15  # the address of the first one's facts
    RUN_STRIDE = 16  # numbers from one's facts to the next one's
    SEQUENCES = 17  # how many sequences of other lengths stand one after another, for ATTEND_LONG; 0 for (B, T)
    STARTS = 18  # address of their first rows, and the row after the last, as int64
    FORBIDDEN = 19  # address of each row's forbidden tokens, as int32, -1 for none; and how many a row has
    STANDS = 21  # address of which row of cache and memory each row has, as int64; 0 where they are one by one


LAYERS = 24  # where the first layer's facts begin


class PerLayer(IntEnum):
    """Of a layer in a run. Strides count numbers, those of masks bytes."""

    KEYS = 0  # (B, heads of keys, slots, D)
    VALUES = 1
    SLOTS = 2
    MEMORY_KEYS = 3  # panels (B, heads of keys, S / 32, D, 32)
    MEMORY_VALUES = 4  # panels (B, heads of keys, D / 32, S, 32)
    MASK = 5  # address, strides of batch and token
    BIAS = 8  # address, strides of head and token
    COSINES = 11
    SINES = 12
    TURN_STRIDES = 13  # of batch and token
    BIAS_ROW = 15  # the bias's stride of batch, in steps over a cache: 0 where one is all rows'


LAYER = 16  # facts a layer
