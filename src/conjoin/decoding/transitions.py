"""The score of each token that was chosen, read from what `generate` recorded of each step."""

from collections.abc import Sequence
from typing import Any

from conjoin.errors import InputError

__all__ = ["compute_transition_scores"]

Array = Any


def compute_transition_scores(
    ops: Any, sequences: Array, scores: Sequence[Array], beam_indices: Array | None, normalize_logits: bool
) -> Array:
    """As `EncoderDecoderModel.compute_transition_scores` says."""
    if not scores:
        raise InputError("scores is empty; generate with return_dict_in_generate=True and output_scores=True.")
    steps = len(scores)
    if beam_indices is None:
        every = ops.arange(scores[0].shape[0], sequences)[:, None]
        beam_indices = ops.broadcast(every, (scores[0].shape[0], steps))
    else:
        steps = max(sum(index >= 0 for index in row) for row in ops.id_lists(beam_indices))
    if steps > len(scores) or steps >= sequences.shape[1]:
        raise InputError(
            f"sequences have {sequences.shape[1]} tokens, beam_indices {steps} steps, and there are {len(scores)} scores; all "
            f"three of one call were expected."
        )
    found = []
    for step in range(steps):
        row = beam_indices[:, step]
        values = ops.take_rows(scores[step], ops.clipped(row, 0, scores[step].shape[0] - 1))
        values = ops.log_softmax(values) if normalize_logits else values
        token = sequences[:, step - steps + sequences.shape[1]][:, None]
        found.append(ops.where(row[:, None] >= 0, ops.take_last(values, token), 0.0))
    return ops.concat(found, 1)
