"""The architectures that are read from GGUF, as data: llama.cpp's keys and tensors, and transformers' names for them."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from conjoin.errors import ConfigError, nearest
from conjoin.gguf.header import Header

__all__ = ["ARCHITECTURES", "Architecture", "Change", "architecture_of", "renamed"]

# What llama.cpp did to a tensor, and what is undone: rotary, each head's two halves of rows were interleaved;
# plus_one, a one was added; transposed, a Conv1D's (in, out) was turned.
Change = Literal["none", "rotary", "plus_one", "transposed"]
LAYER = re.compile(r"^blk\.(\d{1,6})\.(.+)$")
SUFFIXES = (".weight", ".bias")


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """One architecture. `keys`, `ignored` and `only` are without its prefix, tensors without `blk.N.` and suffix."""

    model_type: str
    keys: Mapping[str, str]  # GGUF's -> the config's
    tensors: Mapping[str, str]  # of the whole model
    layer: Mapping[str, str]  # of each layer, {} being its number
    changes: Mapping[str, Change] = field(default_factory=dict)  # by GGUF's name, where a tensor was changed
    only: Mapping[str, tuple[object, ...]] = field(default_factory=dict)  # keys with the values that are implemented
    ignored: frozenset[str] = frozenset()  # keys that say nothing about the computation, or that shapes say too
    rotary: bool = True  # whether positions are rotary, with heads of a size of their own
    has_head_dim: bool = True  # whether transformers' config has a field for that size
    more: Callable[[Header, Mapping[str, Any]], dict[str, Any]] = lambda header, config: {}  # what no single key says


SIZES = {
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
}
GROUPED = {
    **SIZES,
    "attention.head_count_kv": "num_key_value_heads",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
}
WINDOWED = {**GROUPED, "attention.sliding_window": "sliding_window"}
CAPPED = {
    **WINDOWED,
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
}
IGNORED = frozenset({"vocab_size", "tensor_data_layout"})
EXPERTS = {"expert_count": (0,), "expert_used_count": (0,)}
WHOLE = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
L = "model.layers.{}."
ATTENTION = {
    "attn_q": L + "self_attn.q_proj",
    "attn_k": L + "self_attn.k_proj",
    "attn_v": L + "self_attn.v_proj",
    "attn_output": L + "self_attn.o_proj",
}
GATED = {"ffn_gate": L + "mlp.gate_proj", "ffn_up": L + "mlp.up_proj", "ffn_down": L + "mlp.down_proj"}
TWO_NORMS = {"attn_norm": L + "input_layernorm", "ffn_norm": L + "post_attention_layernorm"}
FOUR_NORMS = {
    "attn_norm": L + "input_layernorm",
    "post_attention_norm": L + "post_attention_layernorm",
    "ffn_norm": L + "pre_feedforward_layernorm",
    "post_ffw_norm": L + "post_feedforward_layernorm",
}
HEAD_NORMS = {"attn_q_norm": L + "self_attn.q_norm", "attn_k_norm": L + "self_attn.k_norm"}
DENSE: dict[str, Any] = {"keys": GROUPED, "ignored": IGNORED, "tensors": WHOLE}


def plus_one(*names: Mapping[str, str]) -> dict[str, Change]:
    """Norms whose weights llama.cpp stores with a one added, which Gemma's layers add themselves."""
    return {name: "plus_one" for some in names for name in some if name.endswith("norm")}


def llama(header: Header, config: Mapping[str, Any]) -> dict[str, Any]:
    """Biases, where the file has them; a Mistral with a window is told by it, and one without is a Llama."""
    found: dict[str, Any] = {}
    if "blk.0.attn_q.bias" in header.tensors:
        found["attention_bias"] = True
    if "sliding_window" in config:
        found["model_type"] = "mistral"
    return found


def gemma2(header: Header, config: Mapping[str, Any]) -> dict[str, Any]:
    """Every other layer has a window. Only the 27B, of 46 layers, scales scores by its width a head."""
    wide = config["num_hidden_layers"] == 46
    scalar = config["hidden_size"] // config["num_attention_heads"] if wide else config["head_dim"]
    return {"query_pre_attn_scalar": scalar, "layer_types": windowed(config["num_hidden_layers"], 2)}


def gemma3(header: Header, config: Mapping[str, Any]) -> dict[str, Any]:
    """Five of six layers have a window, and slower positions. Only the 27B, of 62 layers, scales by its width a head."""
    wide = config["num_hidden_layers"] == 62
    scalar = config["hidden_size"] // config["num_attention_heads"] if wide else config["head_dim"]
    local = {"rope_type": "default", "rope_theta": header.optional("gemma3.rope.freq_base_swa", float) or 10000.0}
    return {
        "query_pre_attn_scalar": scalar,
        "layer_types": windowed(config["num_hidden_layers"], 6),
        "rope_parameters": {"sliding_attention": local, "full_attention": config["rope_parameters"]},
    }


def windowed(layers: int, period: int) -> list[str]:
    """The type of each layer, where the last of every `period` sees all."""
    return ["sliding_attention" if (i + 1) % period else "full_attention" for i in range(layers)]


def phi3(header: Header, config: Mapping[str, Any]) -> dict[str, Any]:
    """All of a head is rotated, which a Phi-3 says in so many words."""
    return {"rope_parameters": {**config["rope_parameters"], "partial_rotary_factor": 1.0}}


def gpt2(header: Header, config: Mapping[str, Any]) -> dict[str, Any]:
    """The usual width of the feed-forward layer goes without saying."""
    usual = config["n_inner"] == 4 * config["n_embd"]
    return {"n_inner": None if usual else config["n_inner"]}


def bert(header: Header, config: Mapping[str, Any]) -> dict[str, Any]:
    """How many segments there are is said by their embeddings."""
    types = header.tensors.get("token_types.weight")
    return {"type_vocab_size": types.shape[0] if types is not None else 0}


G, B = "transformer.h.{}.", "encoder.layer.{}."

ARCHITECTURES: dict[str, Architecture] = {
    "llama": Architecture(
        model_type="llama",
        **(DENSE | {"keys": WINDOWED}),
        only=EXPERTS,
        layer=ATTENTION | GATED | TWO_NORMS,
        changes={"attn_q": "rotary", "attn_k": "rotary"},
        more=llama,
    ),
    "qwen2": Architecture(model_type="qwen2", **DENSE, layer=ATTENTION | GATED | TWO_NORMS, has_head_dim=False),
    "qwen3": Architecture(model_type="qwen3", **DENSE, layer=ATTENTION | GATED | TWO_NORMS | HEAD_NORMS),
    "gemma": Architecture(
        model_type="gemma",
        **DENSE,
        layer=ATTENTION | GATED | TWO_NORMS,
        changes=plus_one(WHOLE, TWO_NORMS),
    ),
    "gemma2": Architecture(
        model_type="gemma2",
        **(DENSE | {"keys": CAPPED}),
        layer=ATTENTION | GATED | FOUR_NORMS,
        changes=plus_one(WHOLE, FOUR_NORMS),
        more=gemma2,
    ),
    "gemma3": Architecture(
        model_type="gemma3_text",
        **(DENSE | {"keys": CAPPED}),
        layer=ATTENTION | GATED | FOUR_NORMS | HEAD_NORMS,
        changes=plus_one(WHOLE, FOUR_NORMS, HEAD_NORMS),
        more=gemma3,
    ),
    "phi3": Architecture(
        model_type="phi3",
        **(DENSE | {"keys": WINDOWED}),
        layer={
            "attn_qkv": L + "self_attn.qkv_proj",
            "attn_output": L + "self_attn.o_proj",
            "ffn_up": L + "mlp.gate_up_proj",
            "ffn_down": L + "mlp.down_proj",
            **TWO_NORMS,
        },
        more=phi3,
        has_head_dim=False,
    ),
    "gpt2": Architecture(
        model_type="gpt2",
        keys={
            "context_length": "n_positions",
            "embedding_length": "n_embd",
            "block_count": "n_layer",
            "feed_forward_length": "n_inner",
            "attention.head_count": "n_head",
            "attention.layer_norm_epsilon": "layer_norm_epsilon",
        },
        ignored=IGNORED,
        tensors={
            "token_embd": "transformer.wte",
            "position_embd": "transformer.wpe",
            "output_norm": "transformer.ln_f",
            "output": "lm_head",
        },
        layer={
            "attn_norm": G + "ln_1",
            "attn_qkv": G + "attn.c_attn",
            "attn_output": G + "attn.c_proj",
            "ffn_norm": G + "ln_2",
            "ffn_up": G + "mlp.c_fc",
            "ffn_down": G + "mlp.c_proj",
        },
        changes=dict.fromkeys(("attn_qkv", "attn_output", "ffn_up", "ffn_down"), "transposed"),
        rotary=False,
        more=gpt2,
    ),
    "bert": Architecture(
        model_type="bert",
        keys={**SIZES, "attention.layer_norm_epsilon": "layer_norm_eps"},
        only={"attention.causal": (False,)},
        ignored=IGNORED | {"pooling_type"},
        tensors={
            "token_embd": "embeddings.word_embeddings",
            "position_embd": "embeddings.position_embeddings",
            "token_types": "embeddings.token_type_embeddings",
            "token_embd_norm": "embeddings.LayerNorm",
        },
        layer={
            "attn_q": B + "attention.self.query",
            "attn_k": B + "attention.self.key",
            "attn_v": B + "attention.self.value",
            "attn_output": B + "attention.output.dense",
            "attn_output_norm": B + "attention.output.LayerNorm",
            "ffn_up": B + "intermediate.dense",
            "ffn_down": B + "output.dense",
            "layer_output_norm": B + "output.LayerNorm",
        },
        rotary=False,
        more=bert,
    ),
}


def architecture_of(header: Header) -> Architecture:
    """The table for a file. Raises ConfigError with the nearest known architecture."""
    name = header.architecture
    if name not in ARCHITECTURES:
        raise ConfigError(
            f'"{header.path}" is of the GGUF architecture "{name}"{nearest(name, ARCHITECTURES)}. '
            f"conjoin reads {', '.join(sorted(ARCHITECTURES))}."
        )
    return ARCHITECTURES[name]


def renamed(architecture: Architecture, name: str, layers: int) -> tuple[str, Change] | None:
    """transformers' name for a tensor of GGUF's, and what was done to it; None where the table has no such tensor."""
    suffix = next((s for s in SUFFIXES if name.endswith(s)), "")
    stem = name.removesuffix(suffix)
    of_layer = LAYER.match(stem)
    if of_layer is None:
        theirs = architecture.tensors.get(stem)
    else:
        stem = of_layer[2]
        theirs = architecture.layer.get(stem) if int(of_layer[1]) < layers else None
    if theirs is None or not suffix:
        return None
    change = architecture.changes.get(stem, "none")
    number = of_layer[1] if of_layer is not None else ""
    return theirs.format(number) + suffix, "none" if change == "transposed" and suffix == ".bias" else change
