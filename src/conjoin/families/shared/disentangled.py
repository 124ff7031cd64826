"""What DeBERTa and its later versions have in common: attention that scores content and places apart, and other facts."""

from typing import Any

from conjoin.errors import ConfigError
from conjoin.spec import BIASES, Disentangled, StackSpec, stack

__all__ = ["disentangled", "disentangled_stack"]


def scored(config: Any) -> frozenset[str]:
    """Which scores of places there are. Raises ConfigError for those that are not known."""
    given = config.pos_att_type or ()
    kinds = frozenset(k.strip().lower() for k in (given.split("|") if isinstance(given, str) else given))
    if not kinds <= {"c2p", "p2c"}:
        raise ConfigError(f'{config.model_type}: "pos_att_type" is {given!r}; only "c2p" and "p2c" are implemented.')
    return kinds


def disentangled(config: Any, buckets: int, **facts: bool) -> Disentangled | None:
    """How places count in attention, where they do."""
    if not config.relative_attention:
        return None
    given, kinds = config.max_relative_positions or -1, scored(config)
    farthest = given if given > 0 else config.max_position_embeddings
    rows = 2 * (buckets if buckets > 0 else farthest)
    return Disentangled(rows, farthest, buckets > 0, "c2p" in kinds, "p2c" in kinds, **facts)


def disentangled_stack(config: Any, **facts: Any) -> StackSpec:
    """The facts of an encoder, with further ones."""
    size = config.hidden_size // config.num_attention_heads
    embedding = config.embedding_size or config.hidden_size
    common: dict[str, Any] = {
        "positions": config.max_position_embeddings if config.position_biased_input else 0,
        "limit": 0 if config.relative_attention else config.max_position_embeddings,
        "types": config.type_vocab_size,
        "embed_width": 0 if embedding == config.hidden_size else embedding,
        "embed_project": "sum",
        "embed_norm": True,
        "score_scale": (size * (1 + len(scored(config)))) ** -0.5,
        "activation": config.hidden_act,
        "norm_eps": config.layer_norm_eps,
        "dropout": config.hidden_dropout_prob,
        "embed_dropout": config.hidden_dropout_prob,
        "attention_dropout": config.attention_probs_dropout_prob,
        "biases": BIASES - {"embed"},
    }
    return stack(config, **{**common, **facts})
