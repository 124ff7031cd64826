"""Which parameters of a joined model belong to which of its parts, by their names; for freezing and learning rates."""

from collections.abc import Iterable, Sequence
from typing import Literal, get_args

from conjoin.errors import InputError, nearest

__all__ = ["PartName", "members"]

CUSTOM = "encoder.module."  # an encoder of the user's own, of whose parts only the user knows
PartName = Literal[
    "encoder", "decoder", "embeddings", "token_embeddings", "cross_attention", "projection", "head", "new"
]


def belongs(name: str, part: str, new: Sequence[str]) -> bool:
    """Whether a parameter of this name is in a part. Parts overlap: an encoder's embedding is in two."""
    if part == "new":
        return name in new
    if name.startswith(CUSTOM):
        return part == "encoder"
    if part == "embeddings":
        return ".embed." in name
    if part == "token_embeddings":
        return name.endswith(".embed.token.weight")
    if part == "cross_attention":
        return ".cross" in name
    if part == "projection":
        return name.startswith("enc_to_dec_proj.")
    if part == "head":
        return name.startswith(("decoder.head.", "decoder.output."))
    return name.startswith(f"{part}.")


def members(parts: Iterable[PartName], names: Sequence[str], new: Sequence[str]) -> list[str]:
    """The parameters that are in any of the parts. Raises InputError for a part that is not known."""
    wanted = list(parts)
    for part in wanted:
        if part not in get_args(PartName):
            raise InputError(
                f'there is no part "{part}"{nearest(part, get_args(PartName))}; one of {", ".join(get_args(PartName))}.'
            )
    return [name for name in names if any(belongs(name, part, new) for part in wanted)]
