"""The files of an exported folder, and the names of what its graphs read and give; transformers' names where it has one.

encoder.onnx  input_ids and attention_mask (B, S), and token_type_ids where the encoder has types -> encoder_hidden_states
              (B, S, W), in the decoder's width
memory.onnx   encoder_hidden_states -> past_key_values.N.encoder.key and .value (B, H, S, D) of each layer N that reads them
decoder.onnx  input_ids and position_ids (B, T), attention_mask (B, T, P + T) of which earlier and new tokens each new one may
              see, encoder_attention_mask (B, S), past_key_values.N.encoder.*, past_key_values.N.decoder.key and .value
              (B, H, P, D), and key_position_ids (1, P + T) where scores depend on distance -> logits (B, T, V), and
              present.N.decoder.* (B, H, P + T, D)

All whole numbers, masks included, are int64; masks are 1 where a token may be seen. P may be 0.
"""

from pathlib import Path

from conjoin.spec import StackSpec

__all__ = ["DECODER", "ENCODER", "GRAPHS", "MEMORY", "is_exported", "memory_names", "past_names", "present_names"]

ENCODER, MEMORY, DECODER = GRAPHS = ("encoder.onnx", "memory.onnx", "decoder.onnx")


def is_exported(folder: Path) -> bool:
    """Whether a folder holds graphs, as `conjoin export --to onnx` writes them."""
    return all((folder / name).is_file() for name in GRAPHS)


def memory_names(spec: StackSpec) -> list[str]:
    """Of the source's keys and values, by layer that has cross-attention."""
    return [f"past_key_values.{i}.encoder.{kind}" for i in crossing(spec) for kind in ("key", "value")]


def past_names(spec: StackSpec) -> list[str]:
    """Of the decoder's own keys and values that go in, by layer."""
    return [f"past_key_values.{i}.decoder.{kind}" for i in range(spec.layers) for kind in ("key", "value")]


def present_names(spec: StackSpec) -> list[str]:
    """Of those that come out."""
    return [f"present.{i}.decoder.{kind}" for i in range(spec.layers) for kind in ("key", "value")]


def crossing(spec: StackSpec) -> list[int]:
    """The layers that have cross-attention."""
    return [i for i in range(spec.layers) if spec.has_cross(i)]
