"""What language models made after BART's decoder have in common: OPT, BioGPT and XGLM.

Positions count from the first token of what comes. transformers counts OPT's (and its version 4 BioGPT's) from the first
token that the mask shows, which differs where a text is padded on the left; a join pads targets on the right, which is the
same in both.
"""

from typing import Any

from conjoin.families.shared.causal import causal_stack
from conjoin.spec import StackSpec

__all__ = ["bart_decoder_stack"]


def bart_decoder_stack(config: Any, **facts: Any) -> StackSpec:
    """The facts in common, with further ones; of positions the first two rows are not used."""
    positions = config.max_position_embeddings + 2
    return causal_stack(config, positions=positions, position_offset=2, norm_eps=1e-5, **facts)
