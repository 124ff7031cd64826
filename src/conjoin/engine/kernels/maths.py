"""Functions of one float32 number that vectorise: exponentials and activations, to a few parts in ten million."""

import numpy as np

from conjoin.engine.kernels.compiling import compiled
from conjoin.engine.kernels.instructions import as_float

__all__ = ["ACTIVATIONS", "activated", "exponential", "hyperbolic_tangent"]

# What `activated` takes, by a config's name.
ACTIVATIONS = {
    "": 0,
    "gelu": 1,
    "gelu_new": 2,
    "gelu_pytorch_tanh": 2,
    "gelu_fast": 2,
    "relu": 3,
    "silu": 4,
    "swish": 4,
    "tanh": 5,
    "sigmoid": 6,
}

ONE, HALF, TWO = np.float32(1), np.float32(0.5), np.float32(2)
LEAST, MOST = np.float32(-87.0), np.float32(88.0)
LOG2_E = np.float32(1.4426950408889634)
LN2_HIGH, LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
# The series of exp around 0, its last terms bent to be best over half an octave (Cephes' expf).
E5, E4, E3 = np.float32(1.9875691500e-4), np.float32(1.3981999507e-3), np.float32(8.3334519073e-3)
E2, E1, E0 = np.float32(4.1665795894e-2), np.float32(1.6666665459e-1), np.float32(5.0000001201e-1)
# Abramowitz and Stegun 7.1.26: erf to 1.5e-7.
P = np.float32(0.3275911)
A1, A2, A3 = np.float32(0.254829592), np.float32(-0.284496736), np.float32(1.421413741)
A4, A5 = np.float32(-1.453152027), np.float32(1.061405429)
ROOT_HALF = np.float32(0.7071067811865476)
ROOT_2_PI, CUBIC = np.float32(0.7978845608028654), np.float32(0.044715)


@compiled
def exponential(x: np.float32) -> np.float32:
    """e to the x."""
    x = min(max(x, LEAST), MOST)
    n = np.float32(np.floor(x * LOG2_E + HALF))
    r = x - n * LN2_HIGH
    r = r - n * LN2_LOW
    y = ((((E5 * r + E4) * r + E3) * r + E2) * r + E1) * r + E0
    y = y * r * r + r + ONE
    return y * as_float(np.int32((np.int32(n) + np.int32(127)) << np.int32(23)))


@compiled
def hyperbolic_tangent(x: np.float32) -> np.float32:
    """tanh, by way of the exponential of what is never positive, so that small numbers keep their digits' place."""
    e = exponential(-TWO * abs(x))
    y = (ONE - e) / (ONE + e)
    return y if x >= 0 else -y


@compiled
def error_function(x: np.float32) -> np.float32:
    """erf."""
    a = abs(x)
    t = ONE / (ONE + P * a)
    y = ONE - ((((A5 * t + A4) * t + A3) * t + A2) * t + A1) * t * exponential(-a * a)
    return y if x >= 0 else -y


@compiled
def activated(kind: int, x: np.float32) -> np.float32:
    """One of `ACTIVATIONS`."""
    if kind == 1:
        return HALF * x * (ONE + error_function(x * ROOT_HALF))
    if kind == 2:
        return HALF * x * (ONE + hyperbolic_tangent(ROOT_2_PI * (x + CUBIC * x * x * x)))
    if kind == 3:
        return max(x, np.float32(0))
    if kind == 4:
        return x / (ONE + exponential(-x))
    if kind == 5:
        return hyperbolic_tangent(x)
    if kind == 6:
        return ONE / (ONE + exponential(-x))
    return x
