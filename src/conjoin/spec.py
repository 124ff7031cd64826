"""What one transformer stack is, as data, and the rows that name its weights in a file; it knows no framework.

Names used throughout conjoin, with Hugging Face's beside them: width (hidden_size, d_model, n_embd), layers
(num_hidden_layers), heads (num_attention_heads), ffn (intermediate_size), positions (max_position_embeddings), types
(type_vocab_size). Shapes: B batch, T target tokens, S source tokens, K beams, W width, H heads, D = W / H, V vocabulary.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

__all__ = ["Family", "Role", "RoleName", "Row", "StackSpec", "linear", "norm", "rooted", "row"]

RoleName = Literal["encoder", "decoder"]


@dataclass(frozen=True, kw_only=True)
class StackSpec:
    """One transformer stack. Every field is a fact read from a checkpoint's config.json."""

    vocab: int
    width: int
    layers: int
    heads: int
    ffn: int
    positions: int  # rows of the position table
    position_offset: int = 0  # the row of the first position
    position_pad: int | None = None  # RoBERTa: only tokens unlike this one are counted; it stands in its own row
    types: int = 0  # token-type embeddings, 0 for none
    activation: str
    norm_eps: float
    norm_first: bool = False  # pre-norm (GPT-2) rather than post-norm (BERT)
    embed_norm: bool = False
    final_norm: bool = False
    embed_scale: float = 1.0
    causal: bool = False
    cross: bool = False
    cross_gate: bool = False  # cross-attention behind a learned gate that starts at zero
    scale_scores: bool = True  # attention scores divided by sqrt(D)
    scale_scores_by_layer: bool = False  # and by the layer's number, counted from 1
    dropout: float = 0.0
    embed_dropout: float = 0.0
    attention_dropout: float = 0.0
    activation_dropout: float = 0.0
    head_activation: str = ""  # where it is not the activation of the stack
    head: Literal["none", "plain", "transform"] = "none"  # transform: BERT's dense, activation and norm before it
    head_bias: Literal["none", "trained", "fixed"] = "none"  # fixed: BART's final_logits_bias, a buffer
    tied: bool = True  # the output embedding is the token embedding
    initializer_range: float = 0.02
    scaled_residual_init: bool = False  # GPT-2: what writes into the residual starts smaller by sqrt(2 layers)

    @property
    def max_length(self) -> int:
        """The longest sequence that has a position for each token."""
        return self.positions - self.position_offset


@dataclass(frozen=True)
class Row:
    """One line of a weight map: our name(s) <-> the name in the file, and how the array is laid out there."""

    ours: tuple[str, ...]  # several: joined along the first axis of our layout, as GPT-2 joins q, k and v
    theirs: str
    flip: bool = False  # stored (in, out), as GPT-2's Conv1D does
    rooted: bool = False  # outside the checkpoint's prefix, as language-model heads are
    also: tuple[str, ...] = ()  # full names under which other files keep the same tensor
    untied: str = ""  # the full name that counts, and is written too, where the output embedding is a tensor of its own
    optional: bool = False  # zero where the file has none, and written only if not zero
    row_vector: bool = False  # stored (1, V), as BART's final_logits_bias is


@dataclass(frozen=True, kw_only=True)
class Role:
    """What a family is on one side of a join."""

    architecture: str  # transformers' class of this part, written into its config.json
    read: Callable[[Any], StackSpec]  # from the family's config
    rows: tuple[Row, ...]
    prefixes: tuple[str, ...]  # before the body's names; the first is what is written
    irrelevant: tuple[str, ...] = ()  # patterns of tensors that a file may have and this side has no use for


@dataclass(frozen=True, kw_only=True)
class Family:
    """One architecture: how its config.json is read, and what its tensors are called."""

    config: type[Any]
    encoder: Role | None = None
    decoder: Role | None = None
    old_names: Mapping[str, str] = field(default_factory=dict)  # pattern -> replacement, tried on each tensor's name

    @property
    def model_type(self) -> str:
        """The name in config.json."""
        name: str = self.config.model_type
        return name


def row(ours: str, theirs: str, **facts: Any) -> Row:
    """A row whose `ours` may be several names, parted by spaces."""
    return Row(tuple(ours.split()), theirs, **facts)


def linear(ours: str, theirs: str, flip: bool = False) -> tuple[Row, ...]:
    """The weight and the bias of one linear layer, or of several that the file keeps as one."""
    names = ours.split()
    return (
        Row(tuple(f"{name}.weight" for name in names), f"{theirs}.weight", flip=flip),
        Row(tuple(f"{name}.bias" for name in names), f"{theirs}.bias"),
    )


def norm(ours: str, theirs: str) -> tuple[Row, ...]:
    """The weight and the bias of a layer norm."""
    return linear(ours, theirs)


def rooted(rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """The same rows, outside the checkpoint's prefix."""
    return tuple(replace(one, rooted=True) for one in rows)
