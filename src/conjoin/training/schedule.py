"""Learning rates over a run: warm-up, decay, and until when some parts wait."""

import math
from dataclasses import dataclass

from conjoin.training.recipe import Recipe
from conjoin.training.tables import Group, GroupName

__all__ = ["Moment", "factor", "progress", "waits"]

# A noam schedule whose warm-up was shrunk to a short run would begin its decay from a higher rate; from at most this one,
# or from the rate that it has in a run of the reference's length where that is higher (docs/decisions.md).
HIGHEST = 1e-3


@dataclass(frozen=True)
class Moment:
    """Where in a run a step is: after `steps` others; it begins and ends with the progress `before` and `after`, 0 to 1."""

    steps: int
    before: float
    after: float

    @property
    def whole(self) -> float:
        """How many steps the run will have, by what is known now."""
        return (self.steps + 1) / max(self.after, 1e-12)


def progress(recipe: Recipe, epochs: float, steps: float, seconds: float) -> float:
    """How much of the run is over, 0 to 1: by whichever limit comes first."""
    limits = ((epochs, recipe.epochs), (steps, recipe.max_steps), (seconds / 60, recipe.minutes))
    return min(1.0, max(done / limit for done, limit in limits if limit is not None))


def factor(recipe: Recipe, name: GroupName, waited: bool, moment: Moment) -> float:
    """What a group's learning rate is multiplied by in a step; a group that has waited warms up when it begins.

    "noam" is the rate times min(step ** -0.5, step * warm-up ** -1.5) (https://arxiv.org/abs/1706.03762), without its
    factor for the width.
    """
    group = recipe.group(name)
    step = moment.steps + 1 - (waiting(recipe, moment) if waited else 0.0)
    warm = warmup(recipe, group, moment)
    rise = min(1.0, step / warm) if warm > 0 else 1.0
    if recipe.schedule == "noam":
        return noam_peak(recipe, group, warm) * min(rise, math.sqrt(max(warm, 1.0) / max(step, 1.0)))
    if recipe.schedule == "constant":
        return rise
    begin = 0.0 if is_literal(recipe, group) else warm / moment.whole
    left = 1.0 if begin >= 1 else min(1.0, (1.0 - moment.before) / (1.0 - begin))
    return rise * (left if recipe.schedule == "linear" else (1 - math.cos(math.pi * left)) / 2)


def is_literal(recipe: Recipe, group: Group) -> bool:
    """Whether a group's warm-up is a number of steps, however long the run is."""
    return group.warmup_steps is not None and recipe.reference_steps is None


def warmup(recipe: Recipe, group: Group, moment: Moment) -> float:
    """How many steps a group's warm-up takes."""
    return in_steps(recipe, group.warmup_steps, group.warmup_ratio or 0.0, moment)


def waiting(recipe: Recipe, moment: Moment) -> float:
    """For how many steps only the parts of train_first are trained."""
    return in_steps(recipe, recipe.train_first_steps, recipe.train_first_ratio, moment)


def in_steps(recipe: Recipe, steps: int | None, ratio: float, moment: Moment) -> float:
    """A length that is given in steps, of a run of the reference's length where there is one, or as a share of the run."""
    if steps is not None and recipe.reference_steps is None:
        return float(steps)
    share = ratio if steps is None or recipe.reference_steps is None else steps / recipe.reference_steps
    return share * moment.whole


def noam_peak(recipe: Recipe, group: Group, warm: float) -> float:
    """warm-up ** -0.5, held so that the rate is not above what is said at HIGHEST."""
    rate, peak = group.learning_rate or 0.0, 1 / math.sqrt(max(warm, 1.0))
    if recipe.reference_steps is None or rate == 0:
        return peak
    told = recipe.reference_steps * (group.warmup_ratio or 0.0) if group.warmup_steps is None else group.warmup_steps
    return min(peak, max(HIGHEST / rate, 1 / math.sqrt(max(told, 1.0))))


def waits(recipe: Recipe, moment: Moment) -> bool:
    """Whether, in a step, only the parts of train_first are trained."""
    if not recipe.train_first:
        return False
    if recipe.train_first_steps is not None and recipe.reference_steps is None:
        return moment.steps < recipe.train_first_steps
    return moment.before < waiting(recipe, moment) / moment.whole
