"""What makes data say less than it seems to: pairs that are there twice, and validation pairs that are trained on."""

import logging
from collections.abc import Iterable

from conjoin.training.data import Pairs

__all__ = ["warn_of_overlap", "warn_of_repeats"]

logger = logging.getLogger("conjoin")


def warn_of_repeats(pairs: Pairs) -> None:
    """Says how many pairs are there more than once, if any are."""
    repeated = len(pairs) - len(set(zip(pairs.sources, pairs.targets, strict=True)))
    if repeated:
        logger.warning(
            "%s: %d of %d pairs repeat an earlier one; each counts as often as it is there.",
            pairs.name,
            repeated,
            len(pairs),
        )


def warn_of_overlap(sources: Iterable[str], name: str, held_out: Pairs) -> None:
    """Says how many validation pairs have a source that is among those of the training pairs, if any have."""
    known = set(sources)
    seen = sum(source in known for source in held_out.sources)
    if seen:
        logger.warning(
            "%s: %d of %d sources are also in %s; what is measured on them says little about new texts: take them out.",
            held_out.name,
            seen,
            len(held_out),
            name,
        )
