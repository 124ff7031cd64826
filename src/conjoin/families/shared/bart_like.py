"""How families whose files are laid out as BART's are made: each half of an encoder-decoder."""

from collections.abc import Callable
from functools import partial
from typing import Any

from conjoin.families.shared.bart_rows import BODY, CROSS, HEAD, OTHERS
from conjoin.spec import Family, Role, Row, StackSpec

__all__ = ["sided_family"]


def sided_family(
    config: type[Any],
    name: str,
    read: Callable[..., StackSpec],
    body: tuple[Row, ...] = BODY,
    *,
    alone: str = "ForCausalLM",
    head: tuple[Row, ...] = HEAD,
    buffers: tuple[str, ...] = (),
) -> Family:
    """BART or a relative, transformers' classes of which begin with `name`; `read` makes a spec of a config and a role."""
    return Family(
        config=config,
        encoder=Role(
            f"{name}Encoder",
            partial(read, role="encoder"),
            body,
            ("", "model.encoder.", "encoder."),
            (*OTHERS, *buffers, r"^(model\.)?decoder\.", r"^lm_head\.", r"^final_logits_bias$"),
        ),
        decoder=Role(
            f"{name}{alone}",
            partial(read, role="decoder"),
            (*body, *CROSS, *head),
            ("model.decoder.", "decoder.", ""),
            (*OTHERS, *buffers, r"^(model\.)?encoder\.", r"^lm_head\.weight$"),
            "trained",
        ),
    )
