"""How families whose files are laid out as BERT's are made: for either side, or as encoders alone."""

from collections.abc import Callable
from typing import Any

from conjoin.families.shared.bert_rows import BODY, BUFFERS, CROSS, HEAD, OLD_NAMES, TASKS
from conjoin.spec import Family, Role, Row, StackSpec

__all__ = ["bert_encoder", "bert_family"]


def bert_family(
    config: type[Any],
    encoder: str,
    decoder: str,
    prefix: str,
    read: Callable[[Any], StackSpec],
    *,
    body: tuple[Row, ...] = BODY,
    cross: tuple[Row, ...] = CROSS,
    head: tuple[Row, ...] = HEAD,
    irrelevant: tuple[str, ...] = (),
) -> Family:
    """A family whose files are laid out as BERT's: transformers' classes of either side, and its prefix of the body."""
    others = (*BUFFERS, TASKS, *irrelevant)
    heads, tied = (r"^cls\.", r"^lm_head\."), (r"^cls\.seq_relationship\.", r"^(cls\.predictions|lm_head)\.decoder\.")
    return Family(
        config=config,
        old_names=OLD_NAMES,
        encoder=Role(encoder, read, body, ("", prefix), (*others, *heads, r"\.crossattention\.")),
        decoder=Role(decoder, read, (*body, *cross, *head), (prefix, ""), (*others, *tied)),
    )


def bert_encoder(
    config: type[Any],
    name: str,
    prefix: str,
    read: Callable[[Any], StackSpec],
    body: tuple[Row, ...] = BODY,
    irrelevant: tuple[str, ...] = (),
) -> Family:
    """A family that is an encoder alone: transformers' class, its prefix of the body, and what else its files may have."""
    encoder = Role(name, read, body, ("", prefix), (*BUFFERS, *irrelevant))
    return Family(config=config, old_names=OLD_NAMES, encoder=encoder)
