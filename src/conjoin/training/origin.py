"""The weights that a run began with, as a hash: a checkpoint is gone on from where they are given again.

What the join made new counts for nothing, since it may be drawn anew in each process; nor does a tensor's last tenth, where
rows for tokens that were added are. Weights in bfloat16 count as the same in float32.
"""

import hashlib
from collections.abc import Collection

import torch

from conjoin.errors import ConfigError
from conjoin.torch.model import EncoderDecoderModel
from conjoin.training.checkpoints import Checkpoints, opened

__all__ = ["check_origin", "origin_of"]

SAMPLE = 1024  # values of each tensor: whoever trains a model changes nearly all of them


@torch.no_grad()
def origin_of(model: EncoderDecoderModel, new: Collection[str]) -> str:
    """A hash of a sample of each parameter that is not named in `new`; the same in every process, on every device."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in model.named_parameters():
        if name not in new:
            flat = tensor.detach().reshape(-1)
            first = flat[: max(1, 9 * len(flat) // 10)]
            sample = first[:: max(1, len(first) // SAMPLE)].to(torch.bfloat16).cpu().view(torch.int16)
            digest.update(f"{name} {list(tensor.shape)}".encode())
            digest.update(sample.numpy().tobytes())
    return digest.hexdigest()


def check_origin(
    model: EncoderDecoderModel, origin: str | None, new: Collection[str], checkpoints: Checkpoints
) -> None:
    """Raises ConfigError where a run began with other weights than the model's.

    Those of one of its checkpoints will do: a model that a run was stopped with, or gave back, has them. `origin` is None for
    a run of a version that kept none.
    """
    own = origin_of(model, new)
    if origin in (None, own):
        return
    folders = checkpoints.folders()
    if any(origin_of(opened(model, folder), new) == own for folder in folders):
        return
    raise ConfigError(
        f'the run in "{checkpoints.output}" began with other weights than the model has now; give it the model that it began '
        f'with, or "{folders[-1]}", choose another output folder, or start again with resume=False (--no-resume).'
    )
