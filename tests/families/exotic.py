"""Encoders whose attention is of another kind: by places apart, in windows, in blocks, by convolution."""

from typing import Any

import transformers

from families.case import SIZES, TOKENS, Case


def deberta_v2(name: str, **more: Any) -> Case:
    """As v3-base is, but for sizes."""
    v3 = {
        "relative_attention": True,
        "position_buckets": 6,
        "max_relative_positions": -1,
        "pos_att_type": "p2c|c2p",
        "share_att_key": True,
        "norm_rel_ebd": "layer_norm",
        "position_biased_input": False,
        "type_vocab_size": 0,
        "max_position_embeddings": 8,  # so that distances share rows, and some are farther than all rows
    }
    config = transformers.DebertaV2Config(**{**SIZES, **TOKENS, **v3, **more})
    return Case(f"deberta-v2{name}", config, transformers.DebertaV2Model)


def deberta(name: str, **more: Any) -> Case:
    """As deberta-base is, but for sizes."""
    v1 = {
        "relative_attention": True,
        "max_relative_positions": 5,
        "pos_att_type": "c2p|p2c",
        "position_biased_input": False,
        "type_vocab_size": 0,
    }
    config = transformers.DebertaConfig(**{**SIZES, **TOKENS, **v1, **more})
    return Case(f"deberta{name}", config, transformers.DebertaModel)


CASES = [
    deberta(""),
    deberta("-c2p", pos_att_type=["c2p"], max_relative_positions=-1, position_biased_input=True, type_vocab_size=2),
    deberta("-p2c", pos_att_type=["p2c"], embedding_size=24),
    deberta("-absolute", relative_attention=False, position_biased_input=True),
    deberta_v2(""),
    deberta_v2("-convolution", conv_kernel_size=3, conv_act="gelu", attention_head_size=8, embedding_size=24),
    deberta_v2(
        "-own",
        share_att_key=False,
        norm_rel_ebd="none",
        position_buckets=-1,
        position_biased_input=True,
        max_position_embeddings=40,
        max_relative_positions=5,
        type_vocab_size=2,
    ),
    deberta_v2("-c2p", share_att_key=False, pos_att_type=["c2p"]),
    deberta_v2("-p2c", pos_att_type="p2c"),
    deberta_v2(
        "-absolute",
        relative_attention=False,
        norm_rel_ebd="none",
        position_biased_input=True,
        max_position_embeddings=40,
    ),
]
