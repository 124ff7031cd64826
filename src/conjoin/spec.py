"""What one transformer stack is, as data, and the rows that name its weights in a file; it knows no framework.

Names used throughout conjoin, with Hugging Face's beside them: width (hidden_size, d_model, n_embd), layers
(num_hidden_layers), heads (num_attention_heads), ffn (intermediate_size), positions (max_position_embeddings), types
(type_vocab_size). Shapes: B batch, T target tokens, S source tokens, K beams, W width, H heads, D = W / H, V vocabulary.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Union

from conjoin.senses import Adapter, Front, Waves, Window

__all__ = [
    "BIASES",
    "NO_LIMIT",
    "BlockSparse",
    "Convolution",
    "CrossPlace",
    "Disentangled",
    "Family",
    "KeyDistances",
    "Local",
    "NGram",
    "Relative",
    "Role",
    "RoleName",
    "Rotary",
    "Row",
    "Sliding",
    "SpanConvolution",
    "StackSpec",
    "row",
    "stack",
    "table",
]

RoleName = Literal["encoder", "decoder"]
CrossPlace = Literal["after_self_attention", "after_feed_forward", "before_self_attention"]
BIASES = frozenset("q k v o up gate down embed head c2p p2c".split())
NO_LIMIT = 1 << 30  # tokens
AttentionKind = Union["Disentangled", "KeyDistances", "Sliding", "Local", "SpanConvolution", "BlockSparse", "NGram"]


@dataclass(frozen=True)
class Rotary:
    """Rotary positions (https://arxiv.org/abs/2104.09864): what turns, how fast, and which numbers are a pair."""

    frequencies: tuple[float, ...]  # radians a position, of each pair; twice as many numbers of each head turn
    interleaved: bool = False  # neighbours are a pair, rather than a number and that half the width on
    scale: float = 1.0  # of sines and cosines (YaRN's attention factor)


@dataclass(frozen=True)
class Relative:
    """A learned bias of attention scores by bucketed distance (T5, https://arxiv.org/abs/1910.10683)."""

    buckets: int
    farthest: int  # where the last bucket begins
    each_layer: bool = False  # a table of its own in every layer, rather than the first one's in all


@dataclass(frozen=True)
class Disentangled:
    """Attention whose scores are of content and of places apart (DeBERTa, https://arxiv.org/abs/2006.03654)."""

    rows: int  # of the table of relative places, half of them for places before
    farthest: int  # the distance from which on all are alike
    buckets: bool = False  # far distances share rows on a logarithmic scale (section 3.1 of 2111.09543)
    c2p: bool = True  # content of the query with the place of the key
    p2c: bool = True  # place of the query with the content of the key
    shared: bool = False  # places go through the projections of content
    norm: bool = False  # a layer norm over the table


@dataclass(frozen=True)
class KeyDistances:
    """Attention whose scores have learned vectors of distances (https://arxiv.org/abs/1803.02155)."""

    positions: int  # tokens; each distance that is shorter, either way, has a vector in every layer
    keys: bool = False  # which keys meet too, not queries alone (https://arxiv.org/abs/2009.13658)


@dataclass(frozen=True)
class Sliding:
    """Attention to near tokens, and to and from a few that all see (Longformer, https://arxiv.org/abs/2004.05150)."""

    reaches: tuple[int, ...]  # by layer, how many tokens away one is still seen


@dataclass(frozen=True)
class Local:
    """Attention to near tokens, and to what blocks of tokens sum up to (LongT5, https://arxiv.org/abs/2112.07916)."""

    reach: int  # how many tokens away one is still seen
    distances: Relative  # in the buckets of which tokens, and blocks by a table of their own, have a learned bias
    block: int = 0  # tokens that are summed, 0 for no sums


@dataclass(frozen=True)
class SpanConvolution:
    """Attention beside a convolution whose kernel each token makes (ConvBERT, https://arxiv.org/abs/2008.02496)."""

    kernel: int  # tokens, an odd number


@dataclass(frozen=True)
class BlockSparse:
    """Attention to neighbouring blocks, to the first and to the last (BigBird, https://arxiv.org/abs/2007.14062)."""

    size: int  # tokens of a block
    more: int  # how many times more the first block counts, in the place of blocks at random


@dataclass(frozen=True)
class NGram:
    """Attention of a main stream and of one that predicts from it (ProphetNet, https://arxiv.org/abs/2001.04063)."""

    grams: int  # how many streams were trained to predict, the rows of their table; the first has the last row
    distances: Relative  # in the buckets of which each query adds to scores


@dataclass(frozen=True)
class Convolution:
    """A convolution of the embeddings, added to what the first layer makes (DeBERTa-v2)."""

    kernel: int  # tokens, an odd number
    activation: str


@dataclass(frozen=True, kw_only=True)
class StackSpec:
    """One transformer stack. Every field is a fact read from a checkpoint's config.json."""

    vocab: int
    width: int
    layers: int
    heads: int
    ffn: int
    ffn_groups: int = 1  # in which the feed-forward's products are made apart (ConvBERT)
    # Embeddings.
    positions: int = 0  # rows of the position table, 0 for none
    position_offset: int = 0  # the row of the first position
    position_pad: int | None = None  # RoBERTa: only tokens unlike this one are counted; it stands in its own row
    position_seen: bool = False  # OPT: only what a token may see is counted, not padding before it
    sinusoidal: Literal["", "halves", "fairseq"] = ""  # a computed position table: sines then cosines (Marian, XGLM)
    limit: int = 0  # the longest sequence of a stack without a position table, 0 for any
    types: int = 0  # token-type embeddings, 0 for none
    task_types: int = 0  # rows of a table of tasks, the first of which is added to all tokens (ERNIE), 0 for none
    embed_width: int = 0  # of the embeddings where it is not the stack's: a projection follows
    embed_project: Literal["last", "tokens", "sum"] = (
        "last"  # what: the normed sum, tokens alone (OPT), the sum (DeBERTa)
    )
    embed_norm: bool = False
    embed_norm_first: bool = False  # before positions are added (Blenderbot small's decoder)
    embed_scale: float = 1.0
    embed_scales_ready: bool = False  # also embeddings that a caller gives (the decoders of Marian and Pegasus)
    embed_dropout: float = 0.0
    front: Front | None = None  # what makes tokens of images or sounds; None where ids of a vocabulary are read
    # Attention.
    attention: AttentionKind | None = None  # self-attention of another kind than scaled products of content
    kv_heads: int = 0  # of keys and values where they are fewer (grouped-query attention)
    head_size: int = 0  # D where it is not W / H
    score_scale: float | None = None  # what scores are multiplied by where it is not 1 / sqrt(D)
    scale_scores_by_layer: bool = False  # and divided by the layer's number, counted from 1
    score_cap: float = 0.0  # scores are squeezed by tanh to lie within it (Gemma 2), 0 for not
    query_key_norm: bool = False  # a norm over each head's queries and keys
    query_key_norm_wide: bool = False  # over those of all heads at once (OLMo 2)
    reaches: tuple[int | None, ...] = ()  # by layer, how many tokens away one is still seen; () and None for any
    rotary: tuple[Rotary | None, ...] = ()  # by layer
    rotary_values: bool = False  # values turn too, not queries and keys alone (RoFormer)
    relative: Relative | None = None
    window: Window | None = None  # a learned bias by how far two patches of an image lie apart
    alibi: bool = False  # scores fall with distance, by a slope a head (https://arxiv.org/abs/2108.12409)
    attention_dropout: float = 0.0
    causal: bool = False
    # Cross-attention.
    cross: bool = False
    cross_layers: tuple[int, ...] | None = None  # which layers have it, None for all
    cross_place: CrossPlace = "after_self_attention"
    cross_gate: bool = False  # behind a learned gate that starts at zero
    memory_width: int = 0  # of what it reads, where it is not W
    # The block.
    activation: str
    gated: bool = False  # a second product, by which the activated one is multiplied
    norm: Literal["layer", "rms"] = "layer"
    norm_eps: float
    norm_bias: bool = True
    norm_offset: float = 0.0  # Gemma: norm weights are kept less this
    # BERT; GPT-2; before and after each sublayer (Gemma 2); after each sublayer, within the residual (OLMo 2)
    norms: Literal["post", "pre", "sandwich", "out"] = "post"
    first_norm: bool = True  # whether the first layer's attention has a norm (ModernBERT: none)
    parallel: Literal["", "two_norms", "one_norm"] = ""  # attention and feed-forward read the same (GPT-NeoX; Phi)
    biases: frozenset[str] = BIASES  # of the linear layers, by their names
    layer_scale: float | None = None  # where what a sublayer adds is multiplied by a learned vector: its first values
    residual_scale: float = 1.0  # of what a sublayer adds (Granite)
    dropout: float = 0.0
    ffn_dropout: float | None = None  # of what the feed-forward adds, where it is not that of attention
    activation_dropout: float = 0.0
    convolution: Convolution | None = None
    blocks: tuple[int, ...] = ()  # by layer, the number of the block that it is, where layers share one (ALBERT)
    final_norm: bool = False
    # The head.
    # transform: BERT's dense, activation and norm before it; project: a product alone, to head_width (OPT)
    head: Literal["none", "plain", "transform", "project"] = "none"
    head_activation: str = ""  # where it is not the activation of the stack
    head_bias: Literal["none", "trained", "fixed"] = "none"  # fixed: BART's final_logits_bias, a buffer
    head_width: int = 0  # of the output embedding where it is not W
    logit_scale: float = 1.0
    logit_cap: float = 0.0  # logits are squeezed by tanh to lie within it, 0 for not
    tied: bool = True  # the output embedding is the token embedding
    # First values.
    initializer_range: float = 0.02
    scaled_residual_init: bool = False  # GPT-2: what writes into the residual starts smaller by sqrt(2 layers)

    @property
    def max_length(self) -> int:
        """The longest sequence that it takes."""
        reserved = self.position_offset + self.streams - 1  # a predicting stream stands one place on
        return self.positions - reserved if self.positions else self.limit or NO_LIMIT

    @property
    def key_heads(self) -> int:
        """Heads of keys and values."""
        return self.kv_heads or self.heads

    @property
    def head_dim(self) -> int:
        """D, the width of a head."""
        return self.head_size or self.width // self.heads

    @property
    def token_width(self) -> int:
        """Of the token embeddings."""
        return self.embed_width or self.width

    @property
    def output_width(self) -> int:
        """Of the output embedding."""
        return self.head_width or self.width

    @property
    def adapter(self) -> Adapter | None:
        """What shortens the states of an encoder at its end."""
        return self.front.adapter if isinstance(self.front, Waves) else None

    @property
    def states_width(self) -> int:
        """Of what an encoder gives."""
        return self.width if self.adapter is None else self.adapter.width

    @property
    def ordered(self) -> bool:
        """Whether attention scores or masks depend on how far two tokens are apart."""
        near = any(reach is not None for reach in self.reaches)
        return self.relative is not None or self.alibi or near or isinstance(self.attention, NGram | KeyDistances)

    @property
    def streams(self) -> int:
        """How many states a token has side by side, the last of which makes logits."""
        return 2 if isinstance(self.attention, NGram) else 1

    @property
    def by_token(self) -> bool:
        """Whether tokens meet in products of queries and keys alone, so that all else may be computed without padding."""
        kinds = Disentangled | KeyDistances | None
        return isinstance(self.attention, kinds) and self.convolution is None and self.front is None

    @property
    def padding_counts(self) -> bool:
        """Whether hidden tokens, or how many there are, change what others become."""
        return isinstance(self.attention, SpanConvolution | BlockSparse)

    def has_cross(self, layer: int) -> bool:
        """Whether a layer has cross-attention."""
        return self.cross and (self.cross_layers is None or layer in self.cross_layers)


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
    by_head: bool = False  # several, joined head by head rather than one after another (GPT-NeoX, BLOOM)
    beside: str = ""  # counts only in stacks that have this layer too, beside ours (T5's wi_1, beside a gate)
    without: str = ""  # counts only in stacks that do not have this layer


@dataclass(frozen=True)
class Role:
    """What a family is on one side of a join."""

    architecture: str  # transformers' class of this part, written into its config.json
    read: Callable[[Any], StackSpec]  # from the family's config
    rows: tuple[Row, ...]
    prefixes: tuple[str, ...]  # before the body's names; the first is what is written
    irrelevant: tuple[str, ...] = ()  # patterns of tensors that a file may have and this side has no use for
    crosses: Literal["trained", "known", "new"] = "known"  # a decoder's cross-attention: in its own checkpoints, with
    # transformers' names where it was trained later, or under names of our own


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


COMMON = {
    "vocab": "vocab_size",
    "width": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "ffn": "intermediate_size",
    "initializer_range": "initializer_range",
    "tied": "tie_word_embeddings",
}


def stack(config: Any, **facts: Any) -> StackSpec:
    """A spec whose sizes are those that every config has by the same names, but for those among the facts."""
    common = {name: getattr(config, theirs) for name, theirs in COMMON.items() if name not in facts}
    return StackSpec(**common, **facts)


def row(ours: str, theirs: str, **facts: Any) -> Row:
    """A row whose `ours` may be several names, parted by spaces."""
    return Row(tuple(ours.split()), theirs, **facts)


def table(ours: str, theirs: str, pairs: str, **facts: Any) -> tuple[Row, ...]:
    """The rows of layers' weights and biases: pairs "our name=the file's" behind the two prefixes.

    "attention.q+k+v=c_attn" is three layers that the file keeps as one; ":=" is for a parameter that is no layer's.
    """
    rows: list[Row] = []
    for pair in pairs.split():
        mine, _, name = pair.partition("=")
        if mine.endswith(":"):
            rows.append(Row((ours + mine[:-1],), theirs + name, **facts))
            continue
        parent, dot, last = (ours + mine).rpartition(".")
        names = [parent + dot + one for one in last.split("+")]
        rows += [Row(tuple(f"{n}.{k}" for n in names), f"{theirs}{name}.{k}", **facts) for k in ("weight", "bias")]
    return tuple(rows)
