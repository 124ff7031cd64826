"""Llama and its relatives."""

from typing import Any

import transformers

from families.case import SIZES, TOKENS, Case


def llama(**more: Any) -> Any:
    return transformers.LlamaConfig(**{**SIZES, **TOKENS, "num_key_value_heads": 2, **more})


def scaled(kind: str, **more: Any) -> Any:
    return llama(rope_parameters={"rope_type": kind, "rope_theta": 5000.0, "factor": 4.0, **more})


def case(name: str, config: Any) -> Case:
    return Case(name, config, transformers.LlamaModel, transformers.LlamaForCausalLM)


CASES = [
    case("llama", llama()),
    case("llama-biased-tied", llama(attention_bias=True, mlp_bias=True, tie_word_embeddings=True, head_dim=16)),
    case("llama-linear", scaled("linear")),
    case(
        "llama-llama3",
        scaled("llama3", low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16),
    ),
    case("llama-yarn", scaled("yarn", original_max_position_embeddings=16)),
]
