"""Encoders with rotary positions, and ModernBERT's decoder."""

from typing import Any

import transformers

from families.case import SIZES, TOKENS, Case

# Seeds are those with which PyTorch, JAX and TensorFlow are each within 5e-6 of what PyTorch computes in float64.
# A window of 6 is smaller than the tests' sequences.
WINDOWED = {**SIZES, **TOKENS, "num_hidden_layers": 4, "local_attention": 6}
BIASED = {"attention_bias": True, "mlp_bias": True, "norm_bias": True, "classifier_bias": True}
TURNS = {
    "full_attention": {"rope_type": "default", "rope_theta": 500.0},
    "sliding_attention": {"rope_type": "linear", "rope_theta": 50.0, "factor": 2.0},
}
FULL, SLIDING = TURNS


def encoder(name: str, seed: int, **facts: Any) -> Case:
    return Case(name, transformers.ModernBertConfig(**WINDOWED, **facts), transformers.ModernBertModel, seed=seed)


def decoder(name: str, seed: int, **facts: Any) -> Case:
    config = transformers.ModernBertDecoderConfig(**WINDOWED, **facts)
    kinds = transformers.ModernBertDecoderModel, transformers.ModernBertDecoderForCausalLM
    return Case(name, config, *kinds, states=states, seed=seed)


def states(model: Any, ids: Any, mask: Any) -> Any:
    """A decoder's states, which would be cached."""
    return model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state


def nomic(name: str, **facts: Any) -> Case:
    config = transformers.NomicBertConfig(**SIZES, **TOKENS, **facts)
    return Case(name, config, transformers.NomicBertModel)


def eurobert(name: str, **facts: Any) -> Case:
    config = transformers.EuroBertConfig(**SIZES, **TOKENS, num_key_value_heads=2, **facts)
    return Case(name, config, transformers.EuroBertModel)


CASES = [
    encoder("modernbert", 4),
    encoder("modernbert-biased", 0, rope_parameters=TURNS, layer_types=[SLIDING, SLIDING, FULL, FULL], **BIASED),
    decoder("modernbert-decoder", 2),
    decoder(
        "modernbert-decoder-biased",
        0,
        rope_parameters=TURNS,
        layer_types=[FULL, SLIDING, SLIDING, FULL],
        tie_word_embeddings=False,
        classifier_activation="relu",
        **BIASED,
    ),
    decoder("modernbert-decoder-no-bias", 2, decoder_bias=False),
    nomic("nomic-bert"),
    nomic("nomic-bert-linear", rope_parameters={"rope_type": "linear", "rope_theta": 50.0, "factor": 2.0}, head_dim=12),
    eurobert("eurobert"),
    eurobert("eurobert-biased", attention_bias=True, mlp_bias=True, head_dim=16),
]
