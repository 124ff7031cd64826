"""A stack as programs of the engine's kernels: the same numbers, with nothing else in between. Arrays are NumPy's."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from conjoin import blocks
from conjoin.attention import Kinds
from conjoin.blocks import Cache, Sight
from conjoin.engine import recording
from conjoin.engine.arrays import Array, Reused, address, contiguous, empty
from conjoin.engine.kept import Kept
from conjoin.engine.kernels.layout import LAYER, LAYERS, PANEL, Code, Fact, PerLayer
from conjoin.engine.kernels.team import Team, team_of
from conjoin.engine.pool import Pool
from conjoin.engine.program import Closed, Place, Program
from conjoin.engine.recording import Cached, Leaves, Module, Products, Remembered, Rows, UnsupportedError
from conjoin.engine.rows import scratch_for, values_and_places
from conjoin.engine.sights import see, some, step
from conjoin.engine.unpadded import Real, real_tokens
from conjoin.engine.weights import Panels, some_channels
from conjoin.spec import StackSpec

__all__ = ["Native", "Run", "check_supported", "one_product"]

MOST = 2048  # tokens that a stack reads at once: more do not make it faster, and its buffers larger
FEW = 48  # rows whose logits are looked at before the next ones are made in their place: docs/decisions.md
CLOSE = 512  # tokens whose numbers stay in a core's cache from one product to the next

ATTENTION: Any = blocks.attention.define(recording)
BLOCK: Any = blocks.block.define(recording, ATTENTION, Kinds({}, {}), None, None)[1]
HEAD: Any = blocks.ends.define(recording)[1]


def check_supported(spec: StackSpec) -> None:
    """Raises UnsupportedError for a stack that has what programs do not hold."""
    if spec.attention is not None or spec.ffn_groups > 1 or spec.convolution is not None or spec.window is not None:
        raise UnsupportedError("attention of another kind")
    if spec.front is not None or spec.embed_width or spec.rotary_values:
        raise UnsupportedError("a front, or embeddings of another width")


class Native:
    """The programs of one stack, and its weights in panels; `leaves` reads what the stack holds."""

    def __init__(self, stack: Any, leaves: Leaves, threads: Callable[[], int]) -> None:
        spec = stack.spec
        check_supported(spec)
        self.stack, self.spec, self.threads = stack, spec, threads
        self.lock = threading.Lock()
        self.leaves = Kept(leaves)
        self.blocks = [self.block(i, theirs) for i, theirs in enumerate(stack.blocks())]
        self.norm = None
        if stack.norm is not None:
            self.norm = recording.Norm(spec.norm_eps, spec.norm == "rms", spec.norm_offset)
            recording.bind(Holder(self.norm), Holder(stack.norm), self.leaves)
        self.programs: dict[str, Pool] = {}
        self.finds_best = not spec.logit_cap
        self.room = Reused()

    def block(self, number: int, theirs: Any) -> Any:
        """One layer, recorded, its products of queries, keys and values made as one."""
        mine = BLOCK(self.spec, number)
        attention, source = mine.attention, theirs.attention
        parts = [source.q, source.k, source.v]
        sizes = [attention.q.outputs, attention.k.outputs, attention.v.outputs]
        attention.fused = Products(self.leaves.panels(parts), sizes)
        attention.q = attention.k = attention.v = None
        recording.bind(mine, theirs, self.leaves)
        return mine

    def team(self) -> Team:
        """The threads that kernels run on."""
        return team_of(self.threads())

    # What a stack does.

    def hidden(
        self,
        x: Array,
        sights: Sequence[Sight],
        memory: Sequence[Cache] | None = None,
        memory_mask: Array | None = None,
        cache: Sequence[Cache] | None = None,
        at: int = 0,
        mask: Array | None = None,
        stands: Array | None = None,
    ) -> Array:
        """Embeddings x (B, T, W) -> the last hidden states, in float32; `cache` is written in place.

        `stands` (B,) says which row of cache and memory is each row's, where they are not one by one.
        Without cache and memory, what a `mask` (B, 1, 1, T) hides at the end of a row is not read, and becomes zeros.
        """
        batch, length, width = x.shape
        if cache is None and memory is None and batch > 1 and batch * length > MOST:
            parts = []
            for rows in pieces(batch, length):
                own = some(sights, rows, batch)
                parts.append(self.hidden(x[rows], own, mask=mask if mask is None or len(mask) != batch else mask[rows]))
            return np.concatenate(parts, 0)
        real = real_tokens(x.shape, mask) if cache is None and memory is None else None
        if real is not None:
            return self.unpadded(x, sights, real)
        x = contiguous(x)
        pool = self.program("steps" if cache is not None else "long", memory is not None)
        seen = length if cache is None else at + length
        out = empty(x.shape)
        with pool.borrowed(once=cache is None) as program:
            kept = self.tell(program.facts, Run(x.shape, sights, memory, memory_mask, cache, at, stands))
            scratch = self.scratch(length, max(seen, int(program.facts[Fact.SOURCE])))
            program.run(x.reshape(-1, width), out.reshape(-1, width), batch, scratch, self.team())
            del kept
        return out

    def unpadded(self, x: Array, sights: Sequence[Sight], real: Real) -> Array:
        """As `hidden` without a cache, of the tokens alone, one sequence after another."""
        pool, length = self.program("long", False), x.shape[1]
        tokens, out = contiguous(x[real.seen]), np.zeros(x.shape, np.float32)
        made = empty(tokens.shape)
        with pool.borrowed(once=True) as program:
            for rows, part in real.parts(CLOSE):
                kept = self.tell(program.facts, Run(x.shape, part.sights(some(sights, rows, len(real.seen)))))
                program.facts[Fact.SEQUENCES], program.facts[Fact.STARTS] = len(part.seen), address(part.starts)
                here = slice(real.starts[rows.start], real.starts[rows.stop])
                program.run(tokens[here], made[here], 1, self.scratch(length, length), self.team())
                del kept
            program.facts[Fact.SEQUENCES] = 0
        out[real.seen] = made
        return out

    def told(self, run: "Run") -> tuple[Array, Any]:
        """The facts of a run, for `hidden_of_runs`, and what must live as long as they are used."""
        facts = np.zeros(LAYERS + LAYER * self.spec.layers, np.int64)
        kept = self.tell(facts, run)
        facts[Fact.BATCH], facts[Fact.LENGTH] = run.shape[:2]
        return facts, kept

    def move(self, facts: Array, at: Array, mask: Array | None) -> None:
        """Tells runs of one source each (N, n), which see the slots before and among their new ones, where they are now.

        `at` (N,) are their next slots; `mask` (N, T, slots) what each token sees, None where that is all.
        """
        facts[:, Fact.AT], facts[:, Fact.SEEN] = at, at + facts[:, Fact.LENGTH]
        if mask is not None:
            layers = facts[:, LAYERS:].reshape(len(facts), -1, LAYER)
            layers[:, :, PerLayer.MASK] = (address(mask) + mask.strides[0] * np.arange(len(mask)))[:, None]
            layers[:, :, PerLayer.MASK + 2] = mask.strides[1]

    def hidden_of_runs(self, x: Array, sights: Sequence[Sight], facts: Array) -> Array:
        """As `hidden` of several runs side by side, each over a cache and a memory of its own: x (N, W) -> (N, W).

        `sights` say where the rows of x stand, one after another; `facts` (runs, n) are as `told` gives them.
        """
        x, out = contiguous(x), empty(x.shape)
        rows = facts[:, Fact.BATCH] * facts[:, Fact.LENGTH]
        facts[:, Fact.FIRST] = rows.cumsum() - rows
        longest, seen = facts[:, Fact.LENGTH].max(), facts[:, [Fact.SEEN, Fact.SOURCE]].max()
        with self.program("steps", True).borrowed() as program:
            kept = self.tell(program.facts, Run((1, *x.shape), sights))
            program.facts[[Fact.RUNS, Fact.RUN_FACTS, Fact.RUN_STRIDE]] = len(facts), address(facts), facts.shape[1]
            program.run(x, out, 1, self.scratch(int(longest), int(seen)), self.team())
            program.facts[Fact.RUNS] = 0
            del kept
        return out

    def remember(self, memory: Array) -> list[Cache]:
        """Each cross-attention's keys and values of memory (B, S, W), in panels."""
        spec, (batch, tokens, width) = self.spec, memory.shape
        size, heads = spec.head_dim, spec.key_heads
        full, deep = -(-tokens // PANEL), -(-size // PANEL)
        crossing = [i for i in range(spec.layers) if spec.has_cross(i)]
        made = [
            (empty((batch, heads, full, size, PANEL)), empty((batch, heads, deep, tokens, PANEL))) for _ in crossing
        ]
        memory = contiguous(memory)
        with self.program("remember", True).borrowed(once=True) as program:
            for rows in pieces(batch, tokens):
                for i, (keys, values) in zip(crossing, made, strict=True):
                    at = LAYERS + LAYER * i + PerLayer.MEMORY_KEYS
                    program.facts[at : at + 2] = address(keys[rows]), address(values[rows])
                x = memory[rows].reshape(-1, width)
                program.run(x, x, len(x) // tokens, 0, self.team())
        return made

    def logits(self, x: Array, shortlist: Pool | None = None) -> Array:
        """Hidden states (..., W) -> logits (..., V), or those of a shortlist, in float32."""
        head = self.program("logits", False) if shortlist is None else shortlist
        rows = contiguous(x).reshape(-1, x.shape[-1])
        out = self.room.empty((len(rows), head.program.widths[head.program.result]))
        with head.borrowed() as program:
            program.run(rows, out, len(rows), 0, self.team())
        if self.spec.logit_cap:
            out = np.float32(self.spec.logit_cap) * np.tanh(out / np.float32(self.spec.logit_cap))
        return out.reshape(*x.shape[:-1], -1)

    def best(self, x: Array, forbidden: Array, k: int) -> tuple[Array, Array]:
        """Hidden states (..., W) -> the k largest log-probabilities, in order, and whose they are (..., k).

        Without those of forbidden tokens (..., N), -1 for none, which are probabilities all the same. Logits are made of a few
        rows at a time, and not kept.
        """
        rows = contiguous(x).reshape(-1, x.shape[-1])
        banned = np.ascontiguousarray(forbidden, np.int32).reshape(len(rows), -1)
        forbids, out = banned.shape[1], empty((len(rows), 2 * k))
        with self.program("best", False, k).borrowed() as program:
            for first in range(0, len(rows), FEW):
                here = slice(first, first + FEW)
                program.facts[[Fact.FORBIDDEN, Fact.FORBIDDEN + 1]] = address(banned[here]), forbids
                scratch = scratch_for(self.spec.vocab, forbids)
                program.run(rows[here], out[here], len(rows[here]), scratch, self.team())
        return values_and_places(out, k, x.shape[:-1])

    def shortlist(self, ids: Array) -> Pool:
        """The head over some tokens alone, for `logits`."""
        program = Program(self.spec.layers)
        return Pool(program.close(self.record_logits(program, ids)))

    # What a run is told; what is returned must live as long as the run.

    def tell(self, facts: Array, run: "Run") -> list[Any]:
        """All facts of a run."""
        length = run.shape[1]
        facts[Fact.AT], facts[Fact.SEEN] = run.at, length if run.cache is None else run.at + length
        facts[Fact.STANDS] = 0 if run.stands is None else address(run.stands)
        return [self.tell_memory(facts, run.memory, run.memory_mask), self.tell_layers(facts, run.sights, run.cache)]

    def tell_memory(self, facts: Array, memory: Sequence[Cache] | None, mask: Array | None) -> Any:
        """Where the source's keys, values and mask are."""
        facts[Fact.SOURCE_MASK] = 0
        if memory is None:
            return None
        facts[Fact.SOURCE] = memory[0][1].shape[3]
        if mask is not None:
            mask = np.ascontiguousarray(mask)
            facts[Fact.SOURCE_MASK], facts[Fact.SOURCE_MASK + 1] = address(mask), step(mask, 0)
        crossing = (i for i in range(self.spec.layers) if self.spec.has_cross(i))
        for i, (keys, values) in zip(crossing, memory, strict=True):
            at = LAYERS + LAYER * i + PerLayer.MEMORY_KEYS
            facts[at : at + 2] = address(keys), address(values)
        return mask

    def tell_layers(self, facts: Array, sights: Sequence[Sight], cache: Sequence[Cache] | None) -> Any:
        """Where each layer's own keys and values are, and what it sees."""
        kept, told = [], (Sight(None), 0)
        for i, sight in enumerate(sights):
            at = LAYERS + LAYER * i
            if cache is not None:
                keys, values = cache[i]
                facts[at : at + 3] = address(keys), address(values), keys.shape[2]
            if i and all(a is b for a, b in zip(sight, told[0], strict=True)):  # as the layer before
                first = PerLayer.MASK
                facts[at + first : at + LAYER] = facts[told[1] + first : told[1] + LAYER]
                continue
            kept.append(see(facts, at, sight))
            told = sight, at
        return kept

    def scratch(self, length: int, seen: int) -> int:
        """Bytes that attention over so many tokens needs for each thread."""
        size = self.spec.head_dim
        most = seen + PANEL
        packed = 2 * (size + PANEL) * (length + PANEL)
        return int(4 * (packed + 13 * (most + PANEL)))

    # Recording.

    def program(self, name: str, crossed: bool, k: int = 0) -> Pool:
        """The program of a name, recorded when it is first run; one that finds the best finds `k`."""
        key = f"{name} {crossed} {k}"
        with self.lock:
            if key not in self.programs:
                self.programs[key] = Pool(self.recorded(name, crossed, k))
            return self.programs[key]

    def recorded(self, name: str, crossed: bool, k: int) -> Closed:
        """A new one."""
        program = Program(self.spec.layers)
        if name == "logits":
            return program.close(self.record_logits(program))
        if name == "best":
            logits, best = self.record_logits(program), program.buffer(2 * k)
            program.add(Code.CHOOSE, [logits, best], [self.spec.vocab, k])
            return program.close(best)
        if name == "remember":
            return program.close(self.record_memory(program))
        return program.close(self.record_layers(program, name == "steps", crossed))

    def record_layers(self, program: Program, cached: bool, crossed: bool) -> Place:
        """All layers and the last norm."""
        spec = self.spec
        x = Rows(program, program.buffer(spec.width))
        for i, block in enumerate(self.blocks):
            program.layer = i
            rotary = spec.rotary[i] if spec.rotary else None
            sight = Sight(None, None, None if rotary is None else (len(rotary.frequencies), None))
            memory = (Remembered(spec.key_heads),) * 2 if crossed and block.has_cross else None
            x, _ = block(x, sight, memory, None, (Cached(), Cached()) if cached else None, 0)
        return (x if self.norm is None else self.norm(x)).place  # type: ignore[union-attr]

    def record_memory(self, program: Program) -> Place:
        """Keys and values of every cross-attention."""
        spec = self.spec
        memory = Rows(program, program.buffer(spec.memory_width or spec.width))
        for i, block in enumerate(self.blocks):
            if not block.has_cross:
                continue
            program.layer = i
            keys, values = block.cross.keys_values(memory)
            program.add(Code.PACK, [keys.rows.place, values.rows.place], [spec.key_heads, keys.size, i])
        return memory.place

    @cached_property
    def ends(self) -> tuple[Any, Panels]:
        """What stands before the last product, or None, and its weight: made once for all programs that have it."""
        stack, head = self.stack, None
        if stack.head is not None:
            head = HEAD(self.spec)
            recording.bind(head, stack.head, self.leaves)
        table = stack.embed.token if stack.output is None else stack.output
        return head, self.leaves.table(table, None if head is None else stack.head.bias)

    def record_logits(self, program: Program, ids: Array | None = None) -> Place:
        """The head, of some tokens or of all."""
        spec, (head, panels) = self.spec, self.ends
        x = Rows(program, program.buffer(spec.width))
        x = recording.scaled(x if head is None else head(x), spec.logit_scale)
        last = recording.Linear(spec.output_width, spec.vocab if ids is None else len(ids))
        last.panels = panels if ids is None else some_channels(panels, ids)
        return last(x).place  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Run:
    """What a stack reads beside embeddings of a `shape` (B, T, W)."""

    shape: tuple[int, ...]
    sights: Sequence[Sight]
    memory: Sequence[Cache] | None = None
    memory_mask: Array | None = None
    cache: Sequence[Cache] | None = None
    at: int = 0
    stands: Array | None = None  # (B,), int64


def one_product(panels: Panels) -> Closed:
    """A program of one linear layer."""
    program = Program(0)
    layer = recording.Linear(panels.inputs, panels.outputs)
    layer.panels = panels
    return program.close(layer(Rows(program, program.buffer(panels.inputs))).place)


class Holder(Module):
    """One leaf by a name, so that it can be bound."""

    def __init__(self, leaf: Any) -> None:
        self.leaf = leaf


def pieces(batch: int, length: int) -> list[slice]:
    """Rows of a batch by so many at a time that buffers stay small."""
    size = max(1, MOST // length)
    return [slice(start, min(batch, start + size)) for start in range(0, batch, size)]
