"""Encoders whose attention is of another kind: by places apart, in windows, in blocks, by convolution."""

from typing import Any

import torch
import transformers
from torch import Tensor
from transformers.models.led.modeling_led import LEDEncoder

from families.case import FFN, HEADS, POSITIONS, SIZES, TOKENS, VOCAB, WIDTH, Case


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


def given_globals(ids: Tensor) -> Tensor:
    """Some tokens that all see: one or two a row, and none in the third; one of them is padding in the fourth."""
    chosen = torch.zeros_like(ids)
    chosen[0, 0] = chosen[0, 7] = chosen[1, 3] = chosen[3, 1] = chosen[3, 6] = 1
    return chosen


def with_globals(model: Any, ids: Tensor, mask: Tensor) -> Tensor:
    """An encoder's last hidden states where some tokens are global."""
    found: Tensor = model(
        input_ids=ids, attention_mask=mask, global_attention_mask=given_globals(ids)
    ).last_hidden_state
    return found


def longformer(name: str, window: Any, **options: Any) -> Case:
    """As longformer-base-4096 is, but for sizes."""
    config = transformers.LongformerConfig(
        **{**SIZES, **TOKENS, "pad_token_id": 1, "type_vocab_size": 1, "attention_window": window}
    )
    return Case(f"longformer{name}", config, transformers.LongformerModel, **options)


def led(name: str, window: Any, **options: Any) -> Case:
    """As led-base-16384 is, but for sizes."""
    sizes = {
        f"{side}_{size}": count
        for side in ("encoder", "decoder")
        for size, count in (("layers", 2), ("ffn_dim", FFN), ("attention_heads", HEADS))
    }
    config = transformers.LEDConfig(
        **TOKENS,
        **sizes,
        vocab_size=VOCAB,
        d_model=WIDTH,
        max_encoder_position_embeddings=POSITIONS,
        attention_window=window,
    )
    return Case(f"led{name}", config, LEDEncoder, **options)


GLOBAL: dict[str, Any] = {"states": with_globals, "more": lambda ids: {"global_attention_mask": given_globals(ids)}}


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


def convbert(name: str, **more: Any) -> Case:
    """As conv-bert-base is, but for sizes."""
    config = transformers.ConvBertConfig(**{**SIZES, **TOKENS, "embedding_size": WIDTH, "conv_kernel_size": 5, **more})
    return Case(f"convbert{name}", config, transformers.ConvBertModel)


def big_bird(name: str, **more: Any) -> Case:
    """As bigbird-roberta-base is, but for sizes."""
    sparse = {"block_size": 1, "num_random_blocks": 1}  # blocks so small that nine tokens are many
    config = transformers.BigBirdConfig(**{**SIZES, **TOKENS, **sparse, **more})
    return Case(f"big-bird{name}", config, transformers.BigBirdModel)


CASES = [
    convbert(""),
    convbert("-grouped", num_groups=2, embedding_size=24, intermediate_size=38),
    convbert("-one-head", head_ratio=8, conv_kernel_size=3),
    big_bird(""),
    big_bird("-full", attention_type="original_full", use_bias=False),
    big_bird("-short", block_size=2, rescale_embeddings=True),
    longformer("", 4),
    longformer("-globals", [4, 6], **GLOBAL),
    longformer("-wide", 64, **GLOBAL),
    led("", [6, 4]),
    led("-globals", 6, **GLOBAL),
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
