"""Fine-tuning: pairs of texts and a recipe to a trained model in a folder.

data.py         pairs of texts from files and data sets
streaming.py    pairs that need not fit into memory
tokenise.py     texts to ids and labels, once; token_cache.py: kept on disk
overlaps.py     pairs that are there twice, or in validation too
batches.py      which examples make which batch
arrays.py       batches of NumPy arrays, for JAX and TensorFlow
recipe.py       every setting of a run; tables.py: of groups of parameters, and of the join; checks.py
recipes/        recipes as files: those that come with the package
schedule.py     learning rates over a run, and what waits at first
precision.py    bfloat16 or float32
optimiser.py    AdamW and its groups
stepping.py     one update of the weights
adapters.py     LoRA, by PEFT
adapting.py     what training changes about a model while it lasts
distributing.py several processes: a copy in each, or a part in each
cutting.py      a part in each: FSDP2
locking.py      one run at a time in a folder
agreeing.py     several processes as one: errors and data
randomness.py   what is drawn at random
evaluate.py     validation loss, scores of generated texts
checkpoints.py  checkpoints that appear whole or not at all
averaging.py    one model of several checkpoints
resuming.py     going on from one
shrinking.py    a model with fewer of its decoder's layers
distilling.py   what such a one learns from: the texts of its teacher
interrupts.py   SIGTERM and Ctrl-C
reporter.py     the progress bar
report/         report.html: plots, examples
tracking.py     TensorBoard and other trackers
origin.py       the weights that a run began with, told again
start.py        cross-attention made ready to copy
loop.py         train; result.py: what it did
"""

from typing import TYPE_CHECKING, Any

from conjoin.training.arrays import array_batches
from conjoin.training.data import Pairs, read_pairs
from conjoin.training.recipe import Recipe
from conjoin.training.streaming import PairStream, stream_pairs

if TYPE_CHECKING:
    from conjoin.training.loop import train
    from conjoin.training.result import Result

__all__ = ["PairStream", "Pairs", "Recipe", "Result", "array_batches", "read_pairs", "stream_pairs", "train"]


def __getattr__(name: str) -> Any:
    # Reading pairs needs no framework, and evaluation reads pairs too; training needs torch and accelerate.
    if name not in ("Result", "train"):
        raise AttributeError(f'module "conjoin.training" has no attribute "{name}"')
    try:
        from conjoin.training import loop
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "accelerate"):
            raise
        raise ImportError(
            f'training needs {error.name}, which is not installed; run: pip install "conjoin[train]".'
        ) from None
    return getattr(loop, name)
