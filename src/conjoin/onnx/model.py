"""OnnxEncoderDecoderModel: an exported model, run by ONNX Runtime; checks, masks and searches are those of all frameworks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from conjoin.backends import onnx as backend
from conjoin.backends.onnx import Graph, Held, Module
from conjoin.blocks import Cache, Inputs, ends
from conjoin.composite import EncoderDecoderConfig
from conjoin.config import CONFIG_FILE
from conjoin.errors import CheckpointError, InputError
from conjoin.generating import GeneratingModel
from conjoin.generation import GENERATION_FILE
from conjoin.hub import resolve
from conjoin.onnx.layout import DECODER, ENCODER, GRAPHS, MEMORY, is_exported, memory_names, past_names
from conjoin.seq2seq import DecoderCache, decoder, encoder, joined
from conjoin.spec import StackSpec
from conjoin.tokens.finding import TOKENIZER_FILES, find_pair
from conjoin.tokens.pair import TokenizerLike

__all__ = ["OnnxEncoderDecoderModel"]

Array = np.ndarray[Any, Any]
FILES = (CONFIG_FILE, GENERATION_FILE, *GRAPHS, *(f"{name}.data" for name in GRAPHS), *TOKENIZER_FILES)
Embed, _ = ends.define(backend)


class Read(NamedTuple):
    """What a graph reads of tokens."""

    ids: Array  # (B, T)
    rows: Array | None  # of the position table
    types: Array | None


class Reader(Embed):  # type: ignore[misc, valid-type]
    """Embeddings that a graph looks up: what it looks them up by."""

    def forward(self, ids: Array | None, rows: Array | None, types: Any = None, embeddings: Any = None) -> Read:
        """ids (B, T), and the rows of their positions. Raises InputError for ready embeddings."""
        if ids is None:
            raise InputError("an exported model reads input_ids; inputs_embeds were given.")
        return Read(ids, rows, types)


class GraphStack(Module):
    """A stack that a graph is."""

    adapter = None
    finds_best = finds_rows = False
    tokenizer: TokenizerLike | None = None

    def __init__(self, spec: StackSpec) -> None:
        self.spec = spec
        self.embed = Reader(spec)


class Encoder(encoder.define(backend, GraphStack)):  # type: ignore[misc]
    """A source (B, S) -> states (B, S, W) in the decoder's width."""

    graph: Graph

    def text_inputs(self, text: Any, read: Array | None) -> Inputs:
        """A text in the graph's terms. Raises InputError for what no graph reads."""
        if text.position_ids is not None:
            raise InputError("an exported encoder reads no position_ids; leave them out.")
        given: Inputs = super().text_inputs(text, read)
        given.mask = self.source_mask(text.input_ids, text.attention_mask)
        return given

    def global_places(self, mask: Array | None, seen: Array | None, like: Array) -> None:
        """No tokens that all see. Raises InputError where some are asked for."""
        if mask is not None:
            raise InputError("an exported encoder reads no global_attention_mask; leave it out.")

    def hidden(self, given: Inputs) -> tuple[Array, None]:
        """The states that a decoder reads."""
        refuse_trace(given)
        ids, _, types = given.embeddings
        feeds = {"input_ids": ids, "attention_mask": numbers(given.mask, ids.shape)}
        feeds["token_type_ids"] = np.zeros_like(ids) if types is None else types
        return self.graph(feeds)[0].numpy(), None


class Decoder(decoder.define(backend, GraphStack)):  # type: ignore[misc]
    """Target ids (B, T) after a source -> logits (B, T, V), in a cache that grows."""

    graph: Graph
    memory: Graph

    def empty_cache(self, batch: int, slots: int, like: Any) -> list[Cache]:
        """Keys and values (B, H, 0, D), for each layer."""
        empty = Held.of(np.zeros((batch, self.spec.key_heads, 0, self.spec.head_dim), np.float32))
        return [(empty, empty)] * self.spec.layers

    def extended(self, past: DecoderCache | None, batch: int, slots: int, like: Any) -> DecoderCache:
        """The cache itself: it grows."""
        return DecoderCache(self.empty_cache(batch, slots, like), 0) if past is None else past

    def remember(self, memory: Any) -> list[Cache]:
        """Each cross-attention's keys and values of memory (B, S, W): computed once per source."""
        return pairs(self.memory({"encoder_hidden_states": memory}))

    def hidden(self, given: Inputs) -> tuple[Array, list[Cache]]:
        """Logits in the place of states, and the cache with the new tokens behind it."""
        refuse_trace(given)
        if given.memory is None:
            raise InputError("an exported decoder reads a source; encoder_outputs are missing.")
        memory = given.memory if isinstance(given.memory, list) else self.remember(given.memory)
        ids, rows, _ = given.embeddings
        past = self.empty_cache(len(ids), 0, ids) if given.cache is None else given.cache
        total = past[0][0].shape[2] + ids.shape[1]
        place = given.place.positions if rows is None else rows - self.embed.offset
        feeds = {
            "input_ids": ids,
            "position_ids": np.broadcast_to(place, ids.shape),
            "attention_mask": numbers(None if given.mask is None else given.mask[:, 0], (*ids.shape, total)),
            "encoder_attention_mask": numbers(
                None if given.memory_mask is None else given.memory_mask[:, 0, 0], (len(ids), memory[0][0].shape[2])
            ),
            **dict(zip(memory_names(self.spec), (one for pair in memory for one in pair), strict=True)),
            **dict(zip(past_names(self.spec), (one for pair in past for one in pair), strict=True)),
        }
        if given.place.order is not None:
            feeds["key_position_ids"] = given.place.order[1]
        logits, *present = self.graph(feeds)
        return logits.numpy(), pairs(present)

    def logits(self, x: Array) -> Array:
        """What `hidden` gave."""
        return x

    def loss(self, x: Array, labels: Array, ignored: int, count: Any, smoothing: float) -> Array:
        """Of what `hidden` gave."""
        return backend.cross_entropy(x, labels, ignored, count, smoothing)


class OnnxEncoderDecoderModel(GeneratingModel, joined.define(backend)):  # type: ignore[misc]
    """A model that `conjoin export --to onnx` wrote, run on the CPU; arrays in and out are NumPy's.

    `encode`, `decode`, `init_cache`, `generate` and a call are those of EncoderDecoderModel, but for what a graph does not
    have: hidden states, attentions, gradients, and inputs other than ids, masks and token types. The states of its
    encoder are in the decoder's width.
    """

    ops: ClassVar[Any] = backend
    encoder: Encoder
    decoder: Decoder

    def __init__(self, config: EncoderDecoderConfig, folder: Path) -> None:
        self.join(config, Encoder(config.encoder), Decoder(config.decoder))
        self.encoder.graph, self.decoder.memory, self.decoder.graph = (
            Graph(folder / name) for name in (ENCODER, MEMORY, DECODER)
        )

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        device: Any = None,
        dtype: Any = None,
        revision: str | None = None,
        token: str | None = None,
        local_files_only: bool = False,
        cache_dir: str | Path | None = None,
    ) -> Self:
        """A model from an exported folder, or a hub id of one, with its tokenizers.

        Raises CheckpointError where there are no graphs, ConfigError for another kind of model, InputError for a device
        other than the CPU and for a dtype, which the export decided.
        """
        backend.moved(None, device, dtype)
        hub = {"revision": revision, "token": token, "local_files_only": local_files_only, "cache_dir": cache_dir}
        folder = resolve(name, files=FILES, **hub)  # type: ignore[arg-type]
        if not is_exported(folder):
            raise CheckpointError(
                f'"{name}" has not all of {", ".join(GRAPHS)}; write them with: conjoin export DIR --to onnx --output OUT.'
            )
        model = cls(EncoderDecoderConfig.from_folder(folder), folder)
        pair = find_pair(folder)
        if pair is not None:
            model.encoder.tokenizer, model.decoder.tokenizer = pair.source, pair.target
        return model


def refuse_trace(given: Inputs) -> None:
    """Raises InputError where hidden states or attentions are asked for."""
    if given.trace is not None:
        raise InputError(
            "an exported model gives no hidden states and no attentions; leave output_hidden_states and "
            "output_attentions away, or use the model that it was exported from."
        )


def numbers(mask: Array | None, shape: Sequence[int]) -> Array:
    """A mask as a graph reads it; None hides nothing."""
    return np.ones(shape, np.int64) if mask is None else np.broadcast_to(mask, tuple(shape)).astype(np.int64)


def pairs(arrays: Sequence[Held]) -> list[Cache]:
    """Keys and values in turn as pairs."""
    return list(zip(arrays[::2], arrays[1::2], strict=True))
