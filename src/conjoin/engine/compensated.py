"""Rounding in which what each number is wrong by is made up for by the numbers after it: GPTQ.

As Frantar et al. (https://arxiv.org/abs/2210.17323) in the order of their `act_order`, with scales that are fixed before. Half of
what the layers before have made the inputs wrong by is made up for too (Li et al., GPTAQ, https://arxiv.org/abs/2504.02692).
"""

from dataclasses import dataclass

import numpy as np

from conjoin.engine.arrays import Array

__all__ = ["Inputs"]

BLOCK = 32  # inputs after which all that come later are corrected together
LEAST, MOST = -8, 7  # of int4 numbers
PART = np.float32(0.5)  # of the drift that is made up for: all of it follows the texts too closely


@dataclass(frozen=True)
class Inputs:
    """What the inputs of a layer are like, of which there are `in`."""

    importance: Array  # (in,): mean squares
    order: Array  # (in,): the most important first
    factor: Array  # (in, in), upper, in that order: its square, transposed first, is the inverse of the mean of x x^T
    drift: Array  # (in, in): weight @ drift, on these inputs, is what the weight misses of what inputs should be

    def wanted(self, weight: Array) -> Array:
        """A weight (out, in) that makes up for what the layers before are wrong by."""
        made: Array = weight + PART * (weight @ self.drift)
        return made

    def rounded(self, weight: Array, scales: Array, group: int) -> Array:
        """A weight (out, in) in steps of the scales (out, groups) of its groups of inputs, as whole numbers (out, in)."""
        left = weight.T[self.order]
        steps = np.ascontiguousarray(scales.T, dtype=np.float32)
        made, wrong = np.empty_like(left), np.empty((BLOCK, left.shape[1]), np.float32)
        for start in range(0, len(left), BLOCK):
            end = min(start + BLOCK, len(left))
            for i in range(start, end):
                step = steps[self.order[i] // group]
                made[i] = in_steps(left[i], step)
                wrong[i - start] = (left[i] - made[i] * step) / self.factor[i, i]
                left[i + 1 : end] -= self.factor[i, i + 1 : end, None] * wrong[i - start]
            left[end:] -= self.factor[start:end, end:].T @ wrong[: end - start]
        whole = np.empty_like(weight)
        whole[:, self.order] = made.T
        return whole


def in_steps(x: Array, steps: Array) -> Array:
    """Numbers in steps of a size each, -8 to 7; 0 where there is no step."""
    by = np.divide(1, steps, out=np.zeros_like(steps), where=steps != 0)
    found: Array = np.clip(np.rint(x * by), LEAST, MOST)
    return found
