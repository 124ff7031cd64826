"""A stack, written once over the backend `nn`: embeddings, layers and, for a decoder, a head."""

from collections.abc import Mapping
from typing import Any

from conjoin import fronts
from conjoin.blocks.inputs import Cache, Inputs, Place, Sight, packed, padded
from conjoin.blocks.leaves import norm_of
from conjoin.grids import stretched_window, window_places
from conjoin.positions import distance_buckets, slopes
from conjoin.spec import StackSpec

__all__ = ["define"]

Array = Any


def define(nn: Any, embed: Any, block: Any, head: Any, kinds: Any, senses: Mapping[str, Any]) -> Any:
    """The class Stack. `kinds` has what attention of other kinds makes for all layers, `senses` what reads no text."""

    class Stack(nn.Module):
        """Embeddings, blocks and, for a decoder, a head."""

        finds_best = False  # whether `best` finds the best tokens without writing logits down
        finds_rows = False  # whether rows of cache and memory may stand elsewhere (`Inputs.stands`)

        def __init__(self, spec: StackSpec) -> None:
            super().__init__()
            self.spec = spec
            self.recompute = False  # gradient checkpointing
            self.embed = embed(spec) if spec.front is None else senses[fronts.EMBEDS[type(spec.front)]](spec)
            blocks = max(spec.blocks) + 1 if spec.blocks else spec.layers
            self.layers = nn.ModuleList([block(spec, i) for i in range(blocks)])
            self.relative = nn.ModuleList(relative_tables(spec))
            # Made once: on an accelerator a table of the host's must not be sent to it at each step.
            self.distances = (
                None if spec.relative is None else nn.Constant(distance_buckets(spec.relative, spec.causal))
            )
            self.slopes = nn.Constant(slopes(spec.heads)) if spec.alibi else None
            shared = kinds.shared(spec.attention)
            self.shared = None if shared is None else shared(spec)
            window = spec.window
            self.window = nn.Embedding(window.rows, spec.heads) if window is not None and window.shared else None
            self.norm = norm_of(nn, spec, spec.width) if spec.final_norm else None
            self.adapter = None if spec.adapter is None else senses["Shortener"](spec)
            self.head = head(spec) if spec.head not in ("none", "plain") or spec.head_bias != "none" else None
            untied = spec.head != "none" and not spec.tied
            self.output = nn.OutputEmbedding(spec.output_width, spec.vocab) if untied else None

        def blocks(self) -> list[Any]:
            """The block of each layer."""
            return [self.layers[i] for i in self.spec.blocks] if self.spec.blocks else list(self.layers)

        def sights(self, given: Inputs) -> list[Sight]:
            """What each layer's self-attention sees; what several have in common is computed once."""
            spec, place, like = self.spec, given.place, given.embeddings
            masks: dict[Any, Array | None] = {}
            turns: dict[Any, Any] = {id(None): None}
            for reach in set(spec.reaches or (None,)):
                masks[reach] = within(given.mask, place.order, reach, spec.causal)
            for rotary in {id(one): one for one in spec.rotary if one is not None}.values():
                turns[id(rotary)] = nn.turns(place.positions, rotary.frequencies, rotary.scale, like)
            biases = self.biases(place, like)
            own = None if self.shared is None else self.shared(given)
            return [
                Sight(
                    masks[spec.reaches[i] if spec.reaches else None],
                    biases[i % len(biases)],
                    turns[id(spec.rotary[i] if spec.rotary else None)],
                    own,
                    given.packing,
                    given.memory_packing,
                )
                for i in range(spec.layers)
            ]

        def biases(self, place: Place, like: Array) -> list[Array | None]:
            """What distance adds to attention scores (1 or B, H, T, S): one for all layers, or one a layer."""
            if place.grid is not None and self.spec.window is not None:
                return self.windowed(place.grid, like)
            if place.order is None:
                return [None]
            if self.spec.alibi:
                return [nn.sloped(self.slopes, place.order[1], like)]
            if self.spec.relative is None:
                return [None]
            farthest = self.spec.relative.farthest
            far = nn.clipped(distances(place.order), -farthest, farthest) + farthest
            buckets = nn.looked_up(self.distances, far, far)
            return [nn.heads_first(table(buckets)) for table in self.relative]

        def windowed(self, grid: tuple[int, int], like: Array) -> list[Array | None]:
            """The same of patches: what all layers share, and what each has of its own."""
            window: Any = self.spec.window

            def bias(table: Any) -> Array:
                rows = table(nn.arange(window.rows, like))
                if grid != window.size:
                    rows = nn.mixed(stretched_window(window.size, grid), rows)
                return nn.heads_first(nn.gathered(rows, window_places(grid))[None])

            shared = None if self.window is None else bias(self.window)
            if not window.own:
                return [shared]
            own = [bias(block.window) for block in self.blocks()]
            return own if shared is None else [one + shared for one in own]

        def hidden(self, given: Inputs) -> tuple[Array, list[Cache] | None]:
            """The last hidden states (B, T, W), and the new cache where one was given."""
            written, trace = [], given.trace
            x, whole = packed(given.packing, given.embeddings), packed(given.memory_packing, given.memory)
            keep = None if trace is None else trace.hidden_states
            sights, read = self.sights(given), 0
            for i, block in enumerate(self.blocks()):
                if keep is not None:
                    keep.append(self.stream(x, 0))
                memory = whole
                if isinstance(memory, list):
                    memory, read = memory[read] if block.has_cross else None, read + block.has_cross
                if self.recompute and given.cache is None and trace is None:
                    x = nn.recomputed(block, x, sights[i], memory, given.memory_mask)
                    continue
                cache = None if given.cache is None else given.cache[i]
                x, cache = block(x, sights[i], memory, given.memory_mask, cache, given.at, trace)
                written.append(cache)
            if self.norm is not None:
                x = self.norm(x)
            x = padded(given.packing, x)
            if keep is not None:
                keep.append(self.stream(x, 0))
            return self.stream(x, self.spec.streams - 1), None if given.cache is None else written

        def stream(self, x: Array, number: int) -> Array:
            """One of the streams that stand side by side in x (B, streams * T, W): (B, T, W)."""
            if self.spec.streams == 1:
                return x
            length = nn.size(x, 1) // self.spec.streams
            return x[:, number * length : (number + 1) * length]

        def remember(self, memory: Array) -> list[Cache]:
            """Each cross-attention's keys and values of memory (B, S, W): computed once per source."""
            return [block.cross.keys_values(memory) for block in self.blocks() if block.has_cross]

        def logits(self, x: Array) -> Array:
            """Hidden states (..., W) -> logits (..., V)."""
            logits = nn.unembed(*self.read_out(x))
            return nn.capped(logits, self.spec.logit_cap) if self.spec.logit_cap else logits

        def read_out(self, x: Array) -> tuple[Any, Array, Array | None]:
            """What logits are made of: the vocabulary's table, what it multiplies (..., W), and what is added."""
            bias = None
            if self.head is not None:
                x, bias = self.head(x), self.head.bias
            return self.embed.token if self.output is None else self.output, nn.scaled(x, self.spec.logit_scale), bias

        def loss(self, x: Array, labels: Array, ignored: int, count: Any, smoothing: float) -> Array:
            """Hidden states (B, T, W) and labels (B, T) -> the loss of their logits, as `cross_entropy` says."""
            x, labels = nn.selected(x, labels, labels != ignored)
            return nn.vocabulary_loss(*self.read_out(x), self.spec.logit_cap, labels, ignored, count, smoothing)

    def relative_tables(spec: StackSpec) -> list[Any]:
        if spec.relative is None:
            return []
        return [
            nn.Embedding(spec.relative.buckets, spec.heads)
            for _ in range(spec.layers if spec.relative.each_layer else 1)
        ]

    def within(mask: Array | None, order: tuple[Array, Array] | None, reach: int | None, causal: bool) -> Array | None:
        """A mask that hides, too, what is more than `reach` tokens away."""
        if reach is None or order is None:
            return mask
        away = -distances(order) if causal else nn.absolute(distances(order))
        near = (away <= reach)[:, None]
        return near if mask is None else mask & near

    return Stack


def distances(order: tuple[Array, Array]) -> Array:
    """How many tokens each key (1, S) is after each query (1, T): (1, T, S)."""
    queries, keys = order
    return keys[:, None, :] - queries[:, :, None]
