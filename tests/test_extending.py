"""Learned positions, made more: at a join and afterwards, for BERT and for RoBERTa, whose first rows are no positions."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tiny import bert

from conjoin import EncoderDecoderModel
from conjoin.errors import ConfigError, InputError
from conjoin.torch import Encoder

SIZES: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
PEERS = {
    "bert": (transformers.BertConfig(vocab_size=40, max_position_embeddings=12, **SIZES), transformers.BertModel, 0),
    "roberta": (
        transformers.RobertaConfig(vocab_size=40, max_position_embeddings=14, pad_token_id=1, **SIZES),
        transformers.RobertaModel,
        2,
    ),
}


def saved(folder: Path, name: str) -> Any:
    """A tiny model of transformers with 12 positions, saved."""
    config, kind, _ = PEERS[name]
    model = kind(config, add_pooling_layer=False).eval()
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize("name", PEERS)
def test_more_positions_at_a_join(tmp_path: Path, name: str) -> None:
    offset = PEERS[name][2]
    old = saved(tmp_path / "old", name).embeddings.position_embeddings.weight
    model = EncoderDecoderModel.from_encoder_decoder_pretrained(
        tmp_path / "old", bert(tmp_path / "bert"), encoder_max_position_embeddings=30 + offset
    )
    table = model.encoder.embed.position.weight
    assert model.encoder.spec.max_length == 30
    torch.testing.assert_close(table[: 12 + offset], old)
    torch.testing.assert_close(table[12 + offset : 24 + offset], old[offset:])
    torch.testing.assert_close(table[24 + offset :], old[offset : offset + 6])

    # A source as long as the longer table is read, and transformers computes the same of what was saved.
    ids = torch.randint(5, 40, (2, 30))
    model.encoder.save_pretrained(tmp_path / "new")
    peer = PEERS[name][1].from_pretrained(tmp_path / "new", add_pooling_layer=False).eval()
    torch.testing.assert_close(model.encoder(ids).last_hidden_state, peer(ids).last_hidden_state, rtol=0, atol=1e-5)
    model.save_pretrained(tmp_path / "joined")
    again = EncoderDecoderModel.from_pretrained(tmp_path / "joined")
    torch.testing.assert_close(again.encoder.embed.position.weight, table)


@pytest.mark.parametrize("name", PEERS)
def test_positions_of_a_part_are_resized(tmp_path: Path, name: str) -> None:
    offset = PEERS[name][2]
    saved(tmp_path / "old", name)
    encoder = Encoder.from_pretrained(tmp_path / "old")
    ids = torch.randint(5, 40, (2, 9))
    before, old = encoder(ids).last_hidden_state, encoder.embed.position.weight.detach().clone()
    encoder.resize_position_embeddings(20 + offset, init="random")
    table = encoder.embed.position.weight
    assert (len(table), encoder.config.max_position_embeddings, encoder.spec.max_length) == (
        20 + offset,
        20 + offset,
        20,
    )
    assert table.requires_grad
    torch.testing.assert_close(table[: len(old)], old)
    assert 0.005 < float(table[len(old) :].detach().std()) < 0.05  # of the config's initializer_range, 0.02
    torch.testing.assert_close(encoder(ids).last_hidden_state, before)  # short sources are read as before
    encoder.resize_position_embeddings(9 + offset)
    torch.testing.assert_close(encoder(ids).last_hidden_state, before)
    with pytest.raises(InputError, match="positions for 9"):
        encoder(torch.randint(5, 40, (1, 10)))


def test_both_sides_of_a_shared_model_are_resized(tmp_path: Path) -> None:
    folder = bert(tmp_path / "bert")
    model = EncoderDecoderModel.from_encoder_decoder_pretrained(folder, folder, share="all")
    with pytest.raises(InputError, match=r"model\.resize_position_embeddings"):
        model.encoder.resize_position_embeddings(30)
    model.resize_position_embeddings(30)
    assert model.encoder.embed.position.weight is model.decoder.embed.position.weight
    model.save_pretrained(tmp_path / "joined")
    assert EncoderDecoderModel.from_pretrained(tmp_path / "joined").decoder.spec.max_length == 30


def test_what_cannot_be_resized_is_refused(tmp_path: Path) -> None:
    folder = bert(tmp_path / "bert")
    model = EncoderDecoderModel.from_encoder_decoder_pretrained(folder, folder)
    with pytest.raises(ConfigError, match='"tile" or "random" was expected'):
        model.resize_position_embeddings(30, init="copy")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match='"tile" or "random" was expected'):
        EncoderDecoderModel.from_encoder_decoder_pretrained(folder, folder, encoder_new_positions="copy")
    with pytest.raises(ConfigError, match="above 0"):
        model.resize_position_embeddings(0)
    with pytest.raises(InputError, match='"encoder" or "decoder"'):
        model.resize_position_embeddings(30, side="both")  # type: ignore[arg-type]
    t5 = transformers.T5Config(vocab_size=40, d_model=16, d_kv=8, num_heads=2, d_ff=24, num_layers=1)
    transformers.T5EncoderModel(t5).save_pretrained(tmp_path / "t5")
    with pytest.raises(InputError, match="no learned positions"):
        Encoder.from_pretrained(tmp_path / "t5").resize_position_embeddings(30)
