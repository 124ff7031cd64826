"""Pairs of texts as batches of NumPy arrays of few shapes: what a training loop in JAX or a `tf.data` pipeline reads."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from conjoin.model import JoinedModel
from conjoin.training.batches import Batches, arrays_of
from conjoin.training.data import Pairs
from conjoin.training.tokenise import limits_of, tokenise, warn_of_cuts

__all__ = ["array_batches"]


def array_batches(
    model: JoinedModel,
    pairs: Pairs,
    *,
    batch_size: int = 16,
    max_source_length: int | None = None,
    max_target_length: int | None = None,
    seed: int = 0,
    epochs: int = 1,
) -> Iterator[dict[str, NDArray[np.int64]]]:
    """input_ids and attention_mask (B, S) and labels (B, T) of each batch, -100 where a label is padding.

    Batches are of sources of like lengths, in an order that depends on the seed, and padded to one of few lengths (16, 24,
    32, 48...). A last batch of an epoch that is not full is left out where there are others, so that B is always the same.
    Labels end with the end token and do not begin with a start token. Raises ConfigError for a model without tokenizers
    or lengths that it has no positions for, DataError for texts without tokens.
    """
    limits = limits_of(model, max_source_length, max_target_length)
    examples = tokenise(model, pairs, limits)
    warn_of_cuts(pairs, examples, limits)
    batches = Batches(examples.source_lengths, examples.label_lengths, batch_size, None, 1, seed)
    pad = model.config.encoder.pad_token_id or 0
    for epoch in range(epochs):
        for step in batches.epoch(epoch):
            for rows in step:
                if len(rows) == batch_size or len(examples) < batch_size:
                    yield arrays_of(examples, rows, pad, few_shapes=True)
