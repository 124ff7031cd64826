"""One model of several checkpoints of a run: the mean of their weights."""

from collections.abc import Sequence
from pathlib import Path

import torch

from conjoin.errors import CheckpointError, ConfigError
from conjoin.torch.model import EncoderDecoderModel

__all__ = ["averaged"]


@torch.no_grad()
def averaged(folders: Sequence[str | Path]) -> EncoderDecoderModel:
    """The first folder's model with the mean of all folders' weights, in float32; one model is in memory beside it.

    Raises ConfigError for fewer than two, CheckpointError for models that are not of one shape.
    """
    if len(folders) < 2:
        raise ConfigError(f"{len(folders)} checkpoint was named; at least two were expected.")
    model = EncoderDecoderModel.from_pretrained(folders[0], dtype="float32")
    means = dict(model.named_parameters())
    for count, folder in enumerate(folders[1:], 2):
        other = dict(EncoderDecoderModel.from_pretrained(folder, dtype="float32").named_parameters())
        if {n: p.shape for n, p in means.items()} != {n: p.shape for n, p in other.items()}:
            raise CheckpointError(
                f'"{folder}" holds a model of another shape than "{folders[0]}"; checkpoints of one run were expected.'
            )
        for name, mean in means.items():
            mean += (other[name] - mean) / count
    return model
