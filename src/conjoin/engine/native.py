"""A stack's twin that runs as programs of the engine's kernels: the same numbers, with nothing else in between."""

import copy
import threading
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from conjoin import blocks
from conjoin.attention import Kinds
from conjoin.blocks import Cache, Inputs, Sight
from conjoin.engine import recording
from conjoin.engine.int8 import Int8, Int8Linear
from conjoin.engine.kernels.layout import LAYER, LAYERS, PANEL, Code, Fact, Mode, PerLayer
from conjoin.engine.kernels.team import Team, team_of
from conjoin.engine.program import Closed, Place, Program
from conjoin.engine.recording import Cached, Module, Products, Remembered, Rows, UnsupportedError
from conjoin.engine.threads import kernel_threads
from conjoin.engine.unpadded import Real, real_tokens
from conjoin.engine.weights import Panels, empty_panels, filled, panels_of, plain, rejoined, with_bias

__all__ = ["Native", "native_twin", "one_product", "team"]

MOST = 2048  # tokens that a stack reads at once: more do not make it faster, and its buffers larger

ATTENTION: Any = blocks.attention.define(recording)
BLOCK: Any = blocks.block.define(recording, ATTENTION, Kinds({}, {}), None, None)[1]
HEAD: Any = blocks.ends.define(recording)[1]


def native_twin(stack: Any, mode: Mode) -> Any:
    """A copy of a stack that shares its parameters and runs on the engine. Raises UnsupportedError where it cannot."""
    twin = copy.copy(stack)
    native = Native(twin, mode)
    twin.is_native = True
    twin.hidden, twin.remember, twin.logits = native.hidden, native.remember, native.logits
    twin.hidden_of_runs = native.hidden_of_runs
    return twin


class Native:
    """The programs of one stack, and its weights in panels."""

    def __init__(self, stack: Any, mode: Mode) -> None:
        spec = stack.spec
        if spec.attention is not None or spec.ffn_groups > 1 or spec.convolution is not None or spec.window is not None:
            raise UnsupportedError("attention of another kind")
        if spec.front is not None or spec.embed_width or spec.rotary_values:
            raise UnsupportedError("a front, or embeddings of another width")
        self.stack, self.spec, self.mode = stack, spec, mode
        self.lock = threading.Lock()
        self.packed: dict[tuple[int, ...], Panels] = {}
        self.blocks = [self.block(i, theirs) for i, theirs in enumerate(stack.blocks())]
        self.norm = None
        if stack.norm is not None:
            self.norm = recording.Norm(spec.norm_eps, spec.norm == "rms", spec.norm_offset)
            recording.bind(Holder(self.norm), Holder(stack.norm), self.panels)
        self.programs: dict[str, Closed] = {}

    def panels(self, layers: list[Any]) -> Panels:
        """The panels of linear layers over one input; made once for layers that several blocks share."""
        key = tuple(id(layer) for layer in layers)
        if key not in self.packed:
            self.packed[key] = self.packed_now(layers)
        return self.packed[key]

    def packed_now(self, layers: list[Any]) -> Panels:
        """The same, made."""
        biases, sizes = [layer.bias for layer in layers], [layer.out_features for layer in layers]
        if all(isinstance(layer, Int8Linear) for layer in layers):
            parts = [layer.panels for layer in layers]
            whole = parts[0] if len(parts) == 1 else rejoined(parts)
            return joined(parts, biases) if whole is None else with_bias(whole, biases, sizes)
        if any(type(layer) is not torch.nn.Linear or hooked(layer) for layer in layers):
            raise UnsupportedError("a layer that is not an ordinary linear one")
        if self.mode is Mode.FLOAT16 and layers[0].in_features % 2:
            raise UnsupportedError("an odd number of inputs, of which float16 weights stand two by two")
        return panels_of([layer.weight for layer in layers], biases, self.mode)

    def block(self, number: int, theirs: Any) -> Any:
        """One layer, recorded, its products of queries, keys and values made as one."""
        mine = BLOCK(self.spec, number)
        attention, source = mine.attention, theirs.attention
        parts = [source.q, source.k, source.v]
        attention.fused = Products(self.panels(parts), [part.out_features for part in parts])
        attention.q = attention.k = attention.v = None
        recording.bind(mine, theirs, self.panels)
        return mine

    # What a twin does.

    def hidden(self, given: Inputs) -> tuple[Tensor, list[Cache] | None]:
        """As Stack.hidden."""
        if given.trace is not None:
            return type(self.stack).hidden(self.stack, given)  # type: ignore[no-any-return]
        x, cache = given.embeddings.float().contiguous(), given.cache
        batch, length, width = x.shape
        if cache is None and batch > 1 and batch * length > MOST:
            return torch.cat([self.hidden(some(given, rows, batch))[0] for rows in pieces(batch, length)]), None
        crossed = given.memory is not None
        program = self.program("steps" if cache is not None else "long", crossed)
        seen = length if cache is None else given.at + length
        sights = self.stack.sights(given)
        real = real_tokens(given)
        if real is not None:
            return self.unpadded(program, given, sights, real), None
        out = torch.empty_like(x)
        with self.lock:
            kept = self.tell(program.facts, given, sights, seen)
            scratch = self.scratch(length, max(seen, int(program.facts[Fact.SOURCE])))
            program.run(x.view(-1, width), out.view(-1, width), batch, scratch, team())
            del kept
        return out.to(given.embeddings.dtype), None if cache is None else list(cache)

    def hidden_of_runs(self, x: Tensor, place: blocks.Place, runs: list[Inputs]) -> Tensor:
        """As `hidden` of several runs side by side, each over a cache and a memory of its own: x (N, W) -> (N, W).

        `place` says where the rows of x stand, one after another (1, N); of a run's embeddings only the shape is read, (B, T, W).
        """
        program = self.program("steps", True)
        out, kept, seen, longest, first = torch.empty_like(x), [], 0, 0, 0
        facts = np.zeros((len(runs), len(program.facts)), np.int64)
        for own, given in zip(facts, runs, strict=True):
            batch, length = given.embeddings.shape[:2]
            kept.append(self.tell(own, given, self.stack.sights(given), given.at + length))
            own[Fact.FIRST], own[Fact.BATCH], own[Fact.LENGTH] = first, batch, length
            first, longest = first + batch * length, max(longest, length)
            seen = max(seen, int(own[Fact.SEEN]), int(own[Fact.SOURCE]))
        with self.lock:
            kept.append(self.tell(program.facts, Inputs(x[None], place), self.stack.sights(Inputs(x[None], place)), 0))
            program.facts[[Fact.RUNS, Fact.RUN_FACTS, Fact.RUN_STRIDE]] = len(runs), facts.ctypes.data, facts.shape[1]
            program.run(x, out, 1, self.scratch(longest, seen), team())
            program.facts[Fact.RUNS] = 0
        return out

    def unpadded(self, program: Closed, given: Inputs, sights: list[Sight], real: Real) -> Tensor:
        """As `hidden` without a cache, of the tokens alone, one sequence after another; zeros where there is padding."""
        x, length = given.embeddings[real.seen].float().contiguous(), given.embeddings.shape[1]
        made = torch.empty_like(x)
        with self.lock:
            kept = self.tell(program.facts, given, real.sights(sights), length)
            program.facts[Fact.SEQUENCES], program.facts[Fact.STARTS] = len(real.seen), real.starts.data_ptr()
            program.run(x, made, 1, self.scratch(length, length), team())
            program.facts[Fact.SEQUENCES] = 0
            del kept
        out: Tensor = given.embeddings.new_zeros(given.embeddings.shape)
        out[real.seen] = made.to(out.dtype)
        return out

    def remember(self, memory: Tensor) -> list[Cache]:
        """As Stack.remember, in panels."""
        spec, (batch, tokens, width) = self.spec, memory.shape
        program = self.program("remember", True)
        size, heads = spec.head_dim, spec.key_heads
        full, wide = -(-tokens // PANEL), -(-size // PANEL)
        crossing = [i for i in range(spec.layers) if spec.has_cross(i)]
        made = [
            (torch.empty(batch, heads, full, size, PANEL), torch.empty(batch, heads, wide, tokens, PANEL))
            for _ in crossing
        ]
        memory = memory.float().contiguous()
        with self.lock:
            for rows in pieces(batch, tokens):
                for i, (keys, values) in zip(crossing, made, strict=True):
                    at = LAYERS + LAYER * i + PerLayer.MEMORY_KEYS
                    program.facts[at : at + 2] = keys[rows].data_ptr(), values[rows].data_ptr()
                x = memory[rows].view(-1, width)
                program.run(x, x, len(x) // tokens, 0, team())
        return made

    def logits(self, x: Tensor) -> Tensor:
        """As Stack.logits."""
        program = self.program("logits", False)
        rows = x.reshape(-1, x.shape[-1]).float().contiguous()
        out = torch.empty(len(rows), self.spec.vocab)
        with self.lock:
            program.run(rows, out, len(rows), 0, team())
        if self.spec.logit_cap:
            out = self.spec.logit_cap * torch.tanh(out / self.spec.logit_cap)
        return out.view(*x.shape[:-1], -1)

    # What a run is told.

    def tell(self, facts: Any, given: Inputs, sights: list[Sight], seen: int) -> list[Any]:
        """Writes a run's facts; what is returned must live as long as the run."""
        kept: list[Any] = []
        read = 0
        facts[Fact.AT], facts[Fact.SEEN] = given.at, seen
        memory = given.memory
        if memory is not None:
            facts[Fact.SOURCE] = memory[0][1].shape[3]  # type: ignore[union-attr]
            mask = given.memory_mask
            facts[Fact.SOURCE_MASK] = 0
            if mask is not None:
                mask = mask.contiguous()
                kept.append(mask)
                facts[Fact.SOURCE_MASK], facts[Fact.SOURCE_MASK + 1] = mask.data_ptr(), step(mask, 0)
        for i, sight in enumerate(sights):
            at = LAYERS + LAYER * i
            if given.cache is not None:
                keys, values = given.cache[i]
                facts[at : at + 3] = keys.data_ptr(), values.data_ptr(), keys.shape[2]
            if memory is not None and self.spec.has_cross(i):
                keys, values = memory[read]  # type: ignore[misc]
                facts[at + PerLayer.MEMORY_KEYS : at + PerLayer.MEMORY_KEYS + 2] = keys.data_ptr(), values.data_ptr()
                read += 1
            kept += see(facts, at, sight)
        return kept

    def scratch(self, length: int, seen: int) -> int:
        """Bytes that attention over so many tokens needs for each thread."""
        size = self.spec.head_dim
        most = seen + PANEL
        packed = 2 * (size + PANEL) * (length + PANEL)
        return int(4 * (packed + 13 * (most + PANEL)))

    # Recording.

    def program(self, name: str, crossed: bool) -> Closed:
        """The program of a name, recorded when it is first run."""
        key = f"{name} {crossed}"
        if key not in self.programs:
            program = Program(self.spec.layers)
            if name == "logits":
                self.programs[key] = program.close(self.record_logits(program))
            elif name == "remember":
                self.programs[key] = program.close(self.record_memory(program))
            else:
                self.programs[key] = program.close(self.record_layers(program, name == "steps", crossed))
        return self.programs[key]

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

    def record_logits(self, program: Program) -> Place:
        """The head."""
        stack, spec = self.stack, self.spec
        x = Rows(program, program.buffer(spec.width))
        bias = None
        if stack.head is not None:
            head = HEAD(spec)
            recording.bind(head, stack.head, self.panels)
            x, bias = head(x), stack.head.bias
        x = recording.scaled(x, spec.logit_scale)
        table = stack.embed.token if stack.output is None else stack.output
        last = recording.Linear(spec.output_width, spec.vocab)
        if isinstance(table, Int8):
            last.panels = with_bias(table.panels, [bias], [spec.vocab])
        else:
            last.panels = panels_of([table.weight], [bias], self.mode)
        return last(x).place  # type: ignore[no-any-return]


def team() -> Team:
    """The threads that kernels run on."""
    return team_of(kernel_threads())


def one_product(panels: Panels) -> Closed:
    """A program of one linear layer."""
    program = Program(0)
    layer = recording.Linear(panels.inputs, panels.outputs)
    layer.panels = panels
    return program.close(layer(Rows(program, program.buffer(panels.inputs))).place)


def hooked(layer: torch.nn.Module) -> bool:
    """Whether somebody looks at what a layer does."""
    return bool(layer._forward_hooks or layer._forward_pre_hooks)


def joined(parts: list[Panels], biases: list[Any]) -> Panels:
    """Panels of int8 parts whose channels do not fill theirs, as one."""
    numbers, scales = zip(*(plain(part) for part in parts), strict=True)
    made = empty_panels(sum(part.outputs for part in parts), parts[0].inputs)
    filled(made, torch.cat(numbers), torch.cat(scales))
    return with_bias(made, biases, [part.outputs for part in parts])


class Holder(Module):
    """One leaf by a name, so that it can be bound."""

    def __init__(self, leaf: Any) -> None:
        self.leaf = leaf


def pieces(batch: int, length: int) -> list[slice]:
    """Rows of a batch by so many at a time that buffers stay small."""
    size = max(1, MOST // length)
    return [slice(start, min(batch, start + size)) for start in range(0, batch, size)]


def some(given: Inputs, rows: slice, batch: int) -> Inputs:
    """What a stack without a cache reads of some rows."""

    def cut(x: Any) -> Any:
        return x[rows] if isinstance(x, Tensor) and x.shape[0] == batch else x

    place = given.place._replace(rows=cut(given.place.rows), positions=cut(given.place.positions))
    parts = {name: cut(getattr(given, name)) for name in ("embeddings", "mask", "global_tokens")}
    return replace(given, place=place, **parts)


def step(x: Tensor, axis: int) -> int:
    """Numbers from one to the next along an axis; 0 where one serves all."""
    return 0 if x.shape[axis] == 1 else x.stride(axis)


def see(facts: Any, at: int, sight: Sight) -> list[Any]:
    """Writes what a layer's self-attention sees."""
    kept: list[Any] = []
    mask, bias, turn = sight.mask, sight.bias, sight.turn
    facts[at + PerLayer.MASK] = facts[at + PerLayer.BIAS] = 0
    if mask is not None:
        mask = mask if mask.stride(-1) == 1 else mask.contiguous()
        facts[at + PerLayer.MASK : at + PerLayer.MASK + 3] = mask.data_ptr(), step(mask, 0), step(mask, 2)
    if bias is not None:
        bias = bias.float().contiguous()
        facts[at + PerLayer.BIAS : at + PerLayer.BIAS + 3] = bias.data_ptr(), step(bias, 1), step(bias, 2)
    if turn is not None:
        turn = (turn[0].float().contiguous(), turn[1].float().contiguous())
        facts[at + PerLayer.COSINES : at + PerLayer.COSINES + 2] = turn[0].data_ptr(), turn[1].data_ptr()
        strides = step(turn[0], 0), step(turn[0], 2)
        facts[at + PerLayer.TURN_STRIDES : at + PerLayer.TURN_STRIDES + 2] = strides
    kept += [mask, bias, turn]
    return kept
