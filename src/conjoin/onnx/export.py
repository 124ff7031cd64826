"""Writing a joined model of PyTorch as three ONNX graphs, in float32 or with weights of int8."""

import contextlib
import copy
import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from conjoin.checkpoint import NARROW, atomic_folder, require_space
from conjoin.errors import ConfigError, InputError
from conjoin.families.custom import is_custom
from conjoin.onnx.graphs import DecoderGraph, EncoderGraph, MemoryGraph
from conjoin.onnx.layout import DECODER, ENCODER, MEMORY, memory_names, past_names, present_names
from conjoin.spec import BlockSparse, Local, Sliding, StackSpec

__all__ = ["OnnxType", "export_onnx"]

OnnxType = Literal["float32", "int8"]
LARGEST = 1_800_000_000  # bytes of weights that one file of protobuf holds; beyond, they lie beside it
BATCH, SOURCE, TARGET, PAST = 2, 5, 3, 4  # sizes of the example that is traced, each unlike the others


@dataclass(frozen=True)
class Traced:
    """What is traced for a file: a module, its example, and the names and changing axes of what goes in and out."""

    file: str
    graph: torch.nn.Module
    example: tuple[Any, ...]
    axes: tuple[Any, ...]  # as the example is nested: for each array {axis: name}
    inputs: Sequence[str]
    outputs: Sequence[str]


def export_onnx(model: Any, folder: str | Path, *, dtype: OnnxType = "float32") -> None:
    """Writes a folder with encoder.onnx, memory.onnx and decoder.onnx (layout.py says what they read), config and tokenizers.

    With dtype "int8" weights of linear layers are int8, and their products are made in whole numbers, with a scale for each
    column of weights and one for each array that comes (onnxruntime's dynamic quantisation). The model stays as it is. The
    folder appears whole or not at all.

    Raises ConfigError for a model that does not read texts, InputError for another dtype or what is no model of PyTorch,
    CheckpointError where the disk has no room, and ImportError where onnx is missing.
    """
    check(model, dtype)
    target = Path(folder)
    size = sum(p.numel() * 4 for p in model.parameters())
    require_space(target, 2 * size)
    with atomic_folder(target) as made, traceable(model) as ready:
        for one in traced(ready):
            write(one, made, size)
            if dtype == "int8":
                quantise(made / one.file, size)
        model.save_settings(made)


def check(model: Any, dtype: str) -> None:
    """Raises where a model cannot be exported, or onnx is missing."""
    from conjoin.torch import EncoderDecoderModel

    if not isinstance(model, EncoderDecoderModel):
        raise InputError(f"a {type(model).__name__} came; export_onnx() takes an EncoderDecoderModel of PyTorch.")
    kind = model.ops.dtype_name(model)
    if kind in NARROW:
        raise InputError(
            f'the model has weights of {kind} already; export the one that it came from, with dtype="int8".'
        )
    if dtype not in get_args(OnnxType):
        raise InputError(f'dtype is {dtype!r}; "float32" or "int8" was expected.')
    if is_custom(model.config.encoder):
        raise ConfigError("the encoder is a module of your own; export_onnx() takes models whose encoder conjoin has.")
    if model.encoder.spec.front is not None:
        raise ConfigError(
            f"the encoder reads {model.encoder.spec.front.argument}; export_onnx() takes models that read texts."
        )
    if isinstance(model.encoder.spec.attention, BlockSparse):
        raise ConfigError(
            "the encoder's attention is block-sparse for long texts and full for short ones, which no one graph is; set "
            'attention_type="original_full" to export a BigBird, with memory that grows with the square of the length.'
        )
    for name in ("onnx", "onnxscript", "onnxruntime"):
        try:
            __import__(name)
        except ModuleNotFoundError:
            raise ImportError(
                f'exporting to ONNX needs {name}, which is not installed; run: pip install "conjoin[onnx]".'
            ) from None


@contextlib.contextmanager
def traceable(model: Any) -> Iterator[Any]:
    """The model in float32 on the CPU, without dropout; the model itself where it is that, and afterwards as it was."""
    plain = model.device.type == "cpu" and model.dtype == torch.float32
    ready = model if plain else copy.deepcopy(model).to("cpu", torch.float32)
    with ready.ops.at_rest(ready), torch.no_grad():
        yield ready


def traced(model: Any) -> Iterator[Traced]:
    """The three graphs."""
    yield traced_encoder(model)
    states = torch.zeros(BATCH, SOURCE, model.decoder.spec.memory_width or model.decoder.spec.width)
    keys = memory_names(model.decoder.spec)
    yield Traced(MEMORY, MemoryGraph(model), (states,), ({0: "batch", 1: "source"},), ["encoder_hidden_states"], keys)
    yield traced_decoder(model)


def traced_encoder(model: Any) -> Traced:
    """The encoder's graph, with the projection."""
    names = ["input_ids", "attention_mask", *(["token_type_ids"] if model.encoder.spec.types else [])]
    example = tuple(ones(BATCH, example_length(model.encoder.spec)) for _ in names)
    axes = ({0: "batch", 1: "source"},) * len(names)
    return Traced(ENCODER, EncoderGraph(model), example, axes, names, ["encoder_hidden_states"])


def example_length(spec: StackSpec) -> int:
    """How many tokens an encoder's example has: several blocks, where it reads blocks, since one is traced as always one."""
    kind = spec.attention
    if isinstance(kind, Sliding):
        return 2 * max(kind.reaches) + SOURCE
    return 2 * max(kind.reach + 1, kind.block) + SOURCE if isinstance(kind, Local) else SOURCE


def traced_decoder(model: Any) -> Traced:
    """The decoder's graph."""
    spec, total = model.decoder.spec, PAST + TARGET
    keys, own = memory_names(spec), past_names(spec)
    memory, past = pairs(len(keys) // 2, SOURCE, spec), pairs(spec.layers, PAST, spec)
    new = {0: "batch", 1: "target"}
    example: tuple[Any, ...] = (
        ones(BATCH, TARGET),
        ones(BATCH, TARGET),
        ones(BATCH, TARGET, total),
        ones(BATCH, SOURCE),
    )
    axes: tuple[Any, ...] = new, new, {**new, 2: "total"}, {0: "batch", 1: "source"}
    names = ["input_ids", "position_ids", "attention_mask", "encoder_attention_mask", *keys, *own]
    example, axes = (*example, memory, past), (*axes, cache_axes(memory, "source"), cache_axes(past, "past"))
    if spec.ordered:
        example, axes, names = (*example, ones(1, total)), (*axes, {1: "total"}), [*names, "key_position_ids"]
    return Traced(DECODER, DecoderGraph(model), example, axes, names, ["logits", *present_names(spec)])


def ones(*shape: int) -> torch.Tensor:
    """Ids or a mask of an example; each an array of its own, since what is one array is traced as one."""
    return torch.ones(shape, dtype=torch.int64)


def pairs(layers: int, length: int, spec: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Keys and values of an example."""
    shape = BATCH, spec.key_heads, length, spec.head_dim
    return [(torch.zeros(shape), torch.zeros(shape)) for _ in range(layers)]


def cache_axes(cache: Sequence[Any], length: str) -> list[Any]:
    """Which axes of keys and values change."""
    axes = {0: "batch", 2: length}
    return [(axes, axes) for _ in cache]


def write(one: Traced, folder: Path, size: int) -> None:
    """Traces one graph and writes it."""
    with quiet():
        torch.onnx.export(
            one.graph,
            one.example,
            str(folder / one.file),
            dynamo=True,
            input_names=list(one.inputs),
            output_names=list(one.outputs),
            dynamic_shapes=one.axes,
            external_data=size > LARGEST,
            verbose=False,
        )


def quantise(path: Path, size: int) -> None:
    """Makes the weights of a graph's products int8."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    full = path.with_suffix(".float.onnx")
    turn_weights(path, full, size)
    with quiet():
        quantize_dynamic(
            str(full),
            str(path),
            op_types_to_quantize=["MatMul", "Gather"],
            weight_type=QuantType.QInt8,
            per_channel=True,
            use_external_data_format=size > LARGEST,
            extra_options={"MatMulConstBOnly": True},
        )
    for one in (full, Path(f"{full}.data")):
        one.unlink(missing_ok=True)


def turn_weights(path: Path, target: Path, size: int) -> None:
    """Moves a graph, its weights stored as they are multiplied: what is turned when it runs is no weight to a quantiser."""
    import onnx

    model = onnx.load(path)
    weights = {one.name: one for one in model.graph.initializer}
    for node in [one for one in model.graph.node if one.op_type == "Transpose" and one.input[0] in weights]:
        turned = onnx.numpy_helper.to_array(weights[node.input[0]]).transpose(node.attribute[0].ints)
        model.graph.initializer.append(onnx.numpy_helper.from_array(turned.copy(), node.output[0]))
        model.graph.node.remove(node)
    data = f"{target.name}.data"
    onnx.save(model, target, save_as_external_data=size > LARGEST, location=data if size > LARGEST else None)
    for one in (path, Path(f"{path}.data")):
        one.unlink(missing_ok=True)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what the exporter and the quantiser say of themselves; their errors are exceptions."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(None):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
