"""BERT's relatives: other sizes of embeddings, other places of norms, other positions, shared layers."""

from typing import Any

import torch
import transformers
from torch import Tensor
from transformers.models.bert_generation import BertGenerationDecoder, BertGenerationEncoder

from families.case import HEADS, POSITIONS, SIZES, TOKENS, Case, logits_of

SEED = 2  # with the first, PyTorch itself is nearly 1e-5 away from what it computes in float64; with this, 4e-6
ROBERTA_TOKENS = {**TOKENS, "pad_token_id": 1}


def padded_logits(model: Any, ids: Tensor, states: Tensor, mask: Tensor) -> Tensor:
    """Logits of ids with as many more tokens after them as make them as long as the source.

    transformers 5's cross-attention of some families takes no other length; later tokens change nothing before them.
    """
    more = states.shape[1] - ids.shape[1]
    return logits_of(model, torch.nn.functional.pad(ids, (0, more), value=7), states, mask)[:, : ids.shape[1]]


def pair(name: str, kind: str, config: str, **facts: Any) -> Case:
    """A family of both sides, whose classes have the usual names."""
    given = {"tokens": TOKENS, "case": {}, **facts}
    tokens, case = given.pop("tokens"), given.pop("case")
    made = getattr(transformers, f"{config}Config")(**{**SIZES, **tokens, **given})
    encoder, decoder = (getattr(transformers, kind + end) for end in ("Model", "ForCausalLM"))
    return Case(name, made, encoder, decoder, crosses=True, **case)


def roberta(name: str, kind: str, seed: int = 0) -> Case:
    return pair(name, kind, kind, tokens=ROBERTA_TOKENS, case={"pad": 1, "seed": seed})


def sinusoids_restored(model: Any) -> None:
    """RoFormer's table is no weight, though a file has it."""
    with torch.no_grad():
        table = model.base_model.encoder.embed_positions
        table.weight.copy_(table.create_weight())


def roformer(name: str, **facts: Any) -> Case:
    case = {"prepare": sinusoids_restored, "lacks": "pooler|embed_positions"}
    return pair(name, "RoFormer", "RoFormer", case=case, **facts)


def albert(name: str, **facts: Any) -> Case:
    config = transformers.AlbertConfig(**{**SIZES, **TOKENS, "num_hidden_layers": 4, "embedding_size": 16, **facts})
    return Case(name, config, transformers.AlbertModel)


DISTILBERT = transformers.DistilBertConfig(
    vocab_size=SIZES["vocab_size"],
    dim=SIZES["hidden_size"],
    n_layers=SIZES["num_hidden_layers"],
    n_heads=HEADS,
    hidden_dim=SIZES["intermediate_size"],
    max_position_embeddings=POSITIONS,
    **TOKENS,
)
GENERATION = transformers.BertGenerationConfig(**SIZES, **TOKENS)

CASES = [
    pair("electra", "Electra", "Electra", embedding_size=16, hidden_act="relu", case={"seed": SEED}),
    pair("electra-one-width-untied", "Electra", "Electra", embedding_size=32, tie_word_embeddings=False),
    roberta("xlm-roberta", "XLMRoberta"),
    roberta("camembert", "Camembert"),
    roberta("data2vec-text", "Data2VecText", 1),  # the first greedily writes padding, which no position counts
    Case("distilbert", DISTILBERT, transformers.DistilBertModel),
    albert("albert"),
    albert("albert-groups", num_hidden_groups=2, embedding_size=32),
    Case(
        "mpnet",
        transformers.MPNetConfig(**{**SIZES, **ROBERTA_TOKENS, "max_position_embeddings": 300}),
        transformers.MPNetModel,
        pad=1,
    ),
    Case("bert-generation", GENERATION, BertGenerationEncoder, BertGenerationDecoder, crosses=True, seed=SEED),
    roberta("roberta-prelayernorm", "RobertaPreLayerNorm"),
    roberta("xlm-roberta-xl", "XLMRobertaXL"),
    pair("megatron-bert", "MegatronBert", "MegatronBert", case={"logits": padded_logits}),
    pair("ernie", "Ernie", "Ernie"),
    pair("ernie-tasks", "Ernie", "Ernie", use_task_id=True),
    pair("rembert", "RemBert", "RemBert", input_embedding_size=16, output_embedding_size=48),
    roformer("roformer"),
    roformer("roformer-values", rotary_value=True, embedding_size=16),
]
