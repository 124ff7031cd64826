"""The metadata of a GGUF file as what a config.json would hold, under transformers' names."""

from typing import Any

from conjoin.errors import CheckpointError, ConfigError
from conjoin.gguf.architectures import Architecture, architecture_of
from conjoin.gguf.header import Header
from conjoin.gguf.rope import ROPE_KEYS, rope_parameters

__all__ = ["config_of"]

EMBEDDING, OUTPUT = "token_embd.weight", "output.weight"
HEAD_SIZES = ("attention.key_length", "attention.value_length")
OPTIONAL = ("attention.head_count_kv", "attention.sliding_window", "attn_logit_softcapping", "final_logit_softcapping")
TOKENS = {"bos_token_id": "bos_token_id", "eos_token_id": "eos_token_id", "padding_token_id": "pad_token_id"}


def config_of(header: Header) -> dict[str, Any]:
    """What a config.json would hold: transformers 5's names and forms.

    Raises ConfigError for an architecture, a key or a scaling of positions that is not known, CheckpointError where
    something is missing.
    """
    architecture = architecture_of(header)
    prefix = f"{header.architecture}."
    found: dict[str, Any] = {"model_type": architecture.model_type, "tie_word_embeddings": OUTPUT not in header.tensors}
    for key, value in header.metadata.items():
        if key.startswith(prefix):
            found |= field_of(header, architecture, key.removeprefix(prefix), value)
    tokens = {ours: header.optional(f"tokenizer.ggml.{key}", int) for key, ours in TOKENS.items()}
    found |= {ours: token for ours, token in tokens.items() if token is not None}
    if EMBEDDING not in header.tensors:
        raise CheckpointError(f'"{header.path}" has no tensor "{EMBEDDING}"; a whole model was expected.')
    found["vocab_size"] = header.tensors[EMBEDDING].shape[0]
    for key, name in architecture.keys.items():
        if name not in found and key not in OPTIONAL:
            raise CheckpointError(f'"{header.path}" has no "{prefix}{key}" in its metadata, and needs one.')
    if header.get(f"{prefix}block_count", int) > len(header.tensors):
        raise CheckpointError(f'"{header.path}" has {len(header.tensors)} tensors, and too few for its layers.')
    if architecture.rotary:
        found.setdefault("num_key_value_heads", found["num_attention_heads"])
        size = head_dim(header, found)
        if architecture.has_head_dim or size * found["num_attention_heads"] != found["hidden_size"]:
            found["head_dim"] = size
        found["rope_parameters"] = rope_parameters(header, size)
    return found | architecture.more(header, found)


def field_of(header: Header, architecture: Architecture, key: str, value: Any) -> dict[str, Any]:
    """The config's field for one key of the architecture. Raises ConfigError for one that is not known."""
    if key in architecture.keys:
        if key in OPTIONAL and value == 0:  # none, as a window of 0
            return {}
        if type(value) not in (int, float) or not 0 < value < float("inf"):
            raise ConfigError(
                f'"{header.path}": "{header.architecture}.{key}" is {value!r:.60}; a number above 0 was expected.'
            )
        return {architecture.keys[key]: value}
    if key in architecture.only:
        if value not in architecture.only[key]:
            allowed = " or ".join(map(repr, architecture.only[key]))
            raise ConfigError(
                f'"{header.path}": "{header.architecture}.{key}" is {value!r:.60}; only {allowed} is implemented.'
            )
    elif not (key in architecture.ignored or (architecture.rotary and key in {*ROPE_KEYS, *HEAD_SIZES})):
        raise ConfigError(
            f'"{header.path}": the key "{header.architecture}.{key}" (value {value!r:.60}) is not known. It may change the '
            f"computation, so it is not ignored."
        )
    return {}


def head_dim(header: Header, config: dict[str, Any]) -> int:
    """How wide a head is: by its own key, or by the width and the number of heads.

    Raises ConfigError where keys and values differ, or not all of a head is rotated.
    """
    name = header.architecture
    rotated = header.optional(f"{name}.rope.dimension_count", int)
    of_keys, of_values = (header.optional(f"{name}.{key}", int) for key in HEAD_SIZES)
    found: int = of_keys or config["hidden_size"] // config["num_attention_heads"]
    if found < 1 or found % 2 or (rotated or found) != found or (of_values or found) != found:
        raise ConfigError(
            f'"{header.path}": heads of {found} dimensions with {rotated or "all"} of them rotated and values of '
            f"{of_values or found} are not implemented; one size for all, and an even one, was expected."
        )
    return found
