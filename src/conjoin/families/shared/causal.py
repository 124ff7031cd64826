"""What language models without cross-attention have in common: facts, the names of what a join adds, their two roles."""

from collections.abc import Callable, Sequence
from typing import Any

from conjoin.spec import Family, Role, Row, StackSpec, row, stack, table

__all__ = ["BUFFERS", "HEAD", "TASKS", "causal_family", "causal_stack", "cross_rows"]

HEAD = (row("output.weight", "lm_head.weight", rooted=True),)
BUFFERS = (r"rotary_emb\.inv_freq$",)
TASKS = r"^(score|classifier|qa_outputs)\."  # heads of other tasks that transformers puts on a language model


def causal_stack(config: Any, **facts: Any) -> StackSpec:
    """A stack that is causal on either side, with norms first and a last one, unless further facts say otherwise."""
    head = "plain" if config.is_decoder else "none"
    return stack(config, **{"norms": "pre", "final_norm": True, "causal": True, "head": head, **facts})


def cross_rows(layer: str = "layers.{}.") -> tuple[Row, ...]:
    """Cross-attention, behind the names of a layer; names of our own, since nobody else gives these models any."""
    return table(
        "layers.{}.cross",
        layer + "cross_attn",
        ".q=.q_proj .k=.k_proj .v=.v_proj .o=.o_proj .q_norm=.q_norm .k_norm=.k_norm "
        "_norm=_layernorm _out_norm=_out_layernorm _gate:=.gate",
    )


def causal_family(
    config: type[Any],
    name: str,
    read: Callable[[Any], StackSpec],
    body: Sequence[Row],
    *,
    cross: Sequence[Row],
    head: Sequence[Row] = HEAD,
    prefix: str = "model.",
    buffers: Sequence[str] = (),
) -> Family:
    """A family transformers' classes of which begin with `name`; `prefix` is what a language model's body stands behind."""
    unused = (*BUFFERS, *buffers, TASKS)
    heads = tuple(rf"^{one.theirs.partition('.')[0]}\." for one in head)
    encoder = Role(f"{name}Model", read, tuple(body), ("", prefix), (*unused, *heads, r"\.cross_attn"))
    # A tied head's file may have the output embedding, too.
    repeated = tuple(f"^{one.theirs}$" for one in head if one.theirs.endswith(".weight"))
    rows = (*body, *cross, *head)
    decoder = Role(f"{name}ForCausalLM", read, rows, (prefix, ""), (*unused, *repeated), "new")
    return Family(config=config, encoder=encoder, decoder=decoder)
