"""What cannot be is refused: one clear sentence, the right exception, nothing run, nothing changed, nothing left behind."""

import copy
import errno
import json
import math
import pickle
import shutil
from pathlib import Path

import numpy as np
import peers
import pytest
import torch
import transformers
from peers import Peer, far
from safetensors.torch import load_file, save_file

import conjoin
import conjoin.checkpoint as checkpoint
from conjoin import (
    AutoConfig,
    BertConfig,
    CheckpointError,
    ConfigError,
    EncoderDecoderConfig,
    EncoderDecoderModel,
    GenerationConfig,
    GPT2Config,
    InputError,
    RobertaConfig,
)
from conjoin.torch import Decoder, Encoder

SMALL = {
    "vocab_size": 61,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 37,
    "max_position_embeddings": 40,
}


@pytest.fixture
def pair(peer) -> Peer:
    return peer("bert", "gpt2")


@pytest.fixture
def folder(pair: Peer, tmp_path: Path) -> Path:
    """A copy of a saved model that may be broken."""
    return shutil.copytree(pair.folder, tmp_path / "broken")


def refused(error: type[Exception], *words: str):
    """A block that must raise this very error, in one line that has all these words."""

    class Refused:
        def __enter__(self):
            return self

        def __exit__(self, kind, value, trace):
            assert value is not None, f"nothing was refused; {words} was expected"
            if not isinstance(value, error):
                return False
            text = str(value)
            assert "\n" not in text
            assert len(text) < 600, text
            assert not [w for w in words if w not in text], text
            self.text = text
            return True

    return Refused()


def edit(path: Path, **changes) -> None:
    found = json.loads(path.read_text())
    for name, value in changes.items():
        inner = found
        *outer, last = name.split("__")
        for key in outer:
            inner = inner[key]
        inner[last] = value
    path.write_text(json.dumps(found))


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# Folders and configs.


@pytest.mark.parametrize("name", ["nowhere", "./nowhere/at/all"])
def test_a_missing_folder(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    for open_it in (EncoderDecoderModel.from_pretrained, EncoderDecoderConfig.from_pretrained, Encoder.from_pretrained):
        with refused(CheckpointError, name.lstrip("./"), "does not exist"):
            open_it(tmp_path / name)
    with refused(CheckpointError, "does not exist"):
        EncoderDecoderModel.from_encoder_decoder_pretrained(tmp_path / name, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_a_config(folder):
    (folder / "config.json").unlink()
    for open_it in (EncoderDecoderModel.from_pretrained, AutoConfig.from_pretrained, Decoder.from_pretrained):
        with refused(CheckpointError, "has no config.json", "broken"):
            open_it(folder)


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "nul", "\x00\xff"])
def test_a_config_that_is_no_json_object(folder, text):
    (folder / "config.json").write_text(text, encoding="latin-1")
    with refused(CheckpointError, "config.json"):
        EncoderDecoderModel.from_pretrained(folder)


def test_an_unknown_model_type_names_the_nearest(folder):
    edit(folder / "config.json", encoder__model_type="robberta")
    with refused(ConfigError, '"robberta" is not known', 'nearest known is "roberta"'):
        EncoderDecoderModel.from_pretrained(folder)


@pytest.mark.parametrize("kind", [None, 7, ["bert"], ""])
def test_a_model_type_that_is_no_name(folder, kind):
    edit(folder / "config.json", decoder__model_type=kind)
    with refused(ConfigError, "model_type", "has no" if kind is None else "is not known"):
        EncoderDecoderModel.from_pretrained(folder)


def test_a_single_model_where_a_joined_one_was_expected(pair, tmp_path):
    pair.ours.encoder.save_pretrained(tmp_path / "part")
    with refused(ConfigError, "from_encoder_decoder_pretrained"):
        EncoderDecoderModel.from_pretrained(tmp_path / "part")


def test_a_joined_model_where_a_single_one_was_expected(pair):
    with refused(ConfigError, "is a joined model"):
        EncoderDecoderModel.from_encoder_decoder_pretrained(pair.folder, pair.folder)


@pytest.mark.parametrize("side", [None, 3, "bert", []])
def test_a_joined_config_without_a_side(folder, side):
    edit(folder / "config.json", encoder=side)
    with refused(ConfigError, '"encoder"'):
        EncoderDecoderModel.from_pretrained(folder)


def test_an_unknown_config_key_names_the_nearest(folder):
    edit(folder / "config.json", encoder__hidden_sizes=24)
    with refused(ConfigError, '"hidden_sizes"', 'nearest known is "hidden_size"'):
        EncoderDecoderModel.from_pretrained(folder)
    edit(folder / "config.json", share_it="all")
    shutil.copy(folder / "config.json", folder / "other.json")
    found = json.loads((folder / "config.json").read_text())
    del found["encoder"]["hidden_sizes"]
    (folder / "config.json").write_text(json.dumps(found))
    with refused(ConfigError, '"share_it"', 'nearest known is "share"'):
        EncoderDecoderModel.from_pretrained(folder)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("encoder__hidden_size", 0),
        ("encoder__hidden_size", -24),
        ("encoder__hidden_size", "24"),
        ("encoder__hidden_size", 24.0),
        ("encoder__hidden_size", True),
        ("encoder__num_attention_heads", 5),
        ("encoder__layer_norm_eps", -1),
        ("encoder__layer_norm_eps", "small"),
        ("encoder__layer_norm_eps", math.inf),
        ("encoder__type_vocab_size", -1),
        ("encoder__hidden_act", "gelo"),
        ("encoder__position_embedding_type", "relative"),
        ("decoder__scale_attn_weights", "yes"),
        ("share", "some"),
    ],
)
def test_a_config_value_that_cannot_be(folder, field, value):
    edit(folder / "config.json", **{field: value})
    with refused(ConfigError, str(value)[:5]):
        EncoderDecoderModel.from_pretrained(folder)


def test_an_unknown_generation_setting_in_a_file(folder):
    edit(folder / "generation_config.json", num_beens=4)
    with refused(ConfigError, '"num_beens"', 'nearest known is "num_beams"'):
        EncoderDecoderModel.from_pretrained(folder)


# Weights.


def rewrite(folder: Path, change) -> None:
    tensors = {n: t.clone() for n, t in load_file(folder / "model.safetensors").items()}
    save_file(change(tensors), folder / "model.safetensors", metadata={"format": "pt"})


def test_a_tensor_of_a_wrong_shape_is_named_with_both_shapes(folder):
    name = "decoder.transformer.h.1.mlp.c_fc.weight"
    rewrite(folder, lambda t: t | {name: t[name].T.contiguous()})
    with refused(CheckpointError, name, "[96, 24]", "[24, 96]"):
        EncoderDecoderModel.from_pretrained(folder)


def test_missing_tensors_are_all_named(folder):
    gone = [
        "encoder.encoder.layer.0.attention.self.key.bias",
        "decoder.transformer.ln_f.weight",
        "enc_to_dec_proj.bias",
    ]
    rewrite(folder, lambda t: {n: v for n, v in t.items() if n not in gone})
    with refused(CheckpointError, "missing", *gone):
        EncoderDecoderModel.from_pretrained(folder)


def test_tensors_that_nobody_knows_are_named(folder):
    rewrite(folder, lambda t: t | {"encoder.adapter.weight": torch.zeros(2), "extra": torch.zeros(1)})
    with refused(CheckpointError, "unexpected", "encoder.adapter.weight", "extra"):
        EncoderDecoderModel.from_pretrained(folder)


def test_all_that_is_wrong_comes_in_one_report(folder):
    wrong = "decoder.transformer.wte.weight"
    rewrite(
        folder,
        lambda t: (
            {n: v for n, v in t.items() if n != "enc_to_dec_proj.weight"} | {wrong: t[wrong][:5], "odd": torch.ones(1)}
        ),
    )
    with refused(CheckpointError, "missing: enc_to_dec_proj.weight", "unexpected: odd", f"wrong shape: {wrong}"):
        EncoderDecoderModel.from_pretrained(folder)


def test_half_of_a_head_is_missing_not_new(tmp_path):
    bert = transformers.BertLMHeadModel(peers.config("bert", "decoder", width=24, heads=3, vocab=61))
    bert.save_pretrained(tmp_path)
    rewrite(tmp_path, lambda t: {n: v for n, v in t.items() if n != "cls.predictions.transform.dense.bias"})
    with refused(CheckpointError, "cls.predictions.transform.dense.bias"):
        Decoder.from_pretrained(tmp_path)


@pytest.mark.parametrize("keep", [0, 4, 100, 5000, -1])
def test_a_truncated_safetensors_file(folder, keep):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with refused(CheckpointError, "model.safetensors", "not a whole safetensors file"):
        EncoderDecoderModel.from_pretrained(folder)


@pytest.mark.parametrize(
    "head", [b"\xff" * 8, b"\x00" * 8, (10).to_bytes(8, "little") + b"notjson!!!", b"PK\x03\x04" + b"\x00" * 60]
)
def test_a_safetensors_file_with_a_broken_header(folder, head):
    (folder / "model.safetensors").write_bytes(head)
    with refused(CheckpointError, "not a whole safetensors file"):
        EncoderDecoderModel.from_pretrained(folder)


def test_a_folder_without_weights(folder):
    (folder / "model.safetensors").unlink()
    with refused(CheckpointError, "has no weights"):
        EncoderDecoderModel.from_pretrained(folder)


@pytest.mark.parametrize(
    "shard", ["../outside.safetensors", "sub/inside.safetensors", "..", "", "sub\\inside.safetensors"]
)
def test_a_shard_outside_the_folder_is_never_opened(folder, shard, tmp_path):
    shutil.copy(folder / "model.safetensors", tmp_path / "outside.safetensors")
    (folder / "sub").mkdir()
    shutil.copy(folder / "model.safetensors", folder / "sub" / "inside.safetensors")
    names = list(load_file(folder / "model.safetensors"))
    (folder / "model.safetensors").unlink()
    index = folder / "model.safetensors.index.json"
    for file in (shard, str(tmp_path / "outside.safetensors")):
        index.write_text(json.dumps({"metadata": {}, "weight_map": dict.fromkeys(names, file)}))
        with refused(CheckpointError, "shards must lie in the folder itself"):
            EncoderDecoderModel.from_pretrained(folder)


@pytest.mark.parametrize(
    "index", [{}, {"weight_map": []}, {"weight_map": {"a": 1}}, {"weight_map": {"a": "gone.safetensors"}}]
)
def test_a_shard_index_that_names_no_shards(folder, index):
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with refused(CheckpointError, "model.safetensors.index.json"):
        EncoderDecoderModel.from_pretrained(folder)


class Runs:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("old_format", [False, True], ids=["zip", "plain_pickle"])
def test_code_in_a_bin_file_is_not_run(folder, tmp_path, old_format):
    (folder / "model.safetensors").unlink()
    target = tmp_path / "it_ran"
    if old_format:
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"a": Runs(target)}, protocol=2))
    else:
        torch.save({"a": Runs(target)}, folder / "pytorch_model.bin")
    with refused(CheckpointError, "pytorch_model.bin"):
        EncoderDecoderModel.from_pretrained(folder)
    assert not target.exists()
    pickle.loads(pickle.dumps(Runs(target)))
    assert target.exists()  # it would have


@pytest.mark.parametrize("shards", [1, 2])
def test_a_bin_file_of_before_pytorch_1_6_is_read(folder, shards):
    """As hub checkpoints of 2020 are: no zip, which cannot be mapped into memory."""
    expected = EncoderDecoderModel.from_pretrained(folder).state_dict()
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    files = ["pytorch_model.bin"] if shards == 1 else [f"pytorch_model-{i}.bin" for i in range(shards)]
    weight_map = {name: files[i % shards] for i, name in enumerate(tensors)}
    for file in files:
        held = {name: tensors[name] for name, its in weight_map.items() if its == file}
        torch.save(held, folder / file, _use_new_zipfile_serialization=False)
    if shards > 1:
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
    torch.testing.assert_close(EncoderDecoderModel.from_pretrained(folder).state_dict(), expected, rtol=0, atol=0)


@pytest.mark.parametrize("content", [{"a": 1}, [torch.zeros(2)], torch.zeros(2), {"a": {"b": torch.zeros(1)}}])
def test_a_bin_file_that_is_not_plain_tensors(folder, content):
    (folder / "model.safetensors").unlink()
    torch.save(content, folder / "pytorch_model.bin")
    with refused(CheckpointError, "pytorch_model.bin", "tensors"):
        EncoderDecoderModel.from_pretrained(folder)


@pytest.mark.parametrize("content", [b"", b"not a file of tensors", b"PK\x03\x04" + b"\x00" * 100, b"0", b"J\x00"])
def test_a_bin_file_that_is_no_bin_file(folder, content):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(content)
    with refused(CheckpointError, "pytorch_model.bin"):
        EncoderDecoderModel.from_pretrained(folder)


def test_a_safetensors_file_is_preferred_to_a_bin_file(folder, pair, tmp_path):
    torch.save({"a": Runs(tmp_path / "it_ran")}, folder / "pytorch_model.bin")
    EncoderDecoderModel.from_pretrained(folder)
    assert not (tmp_path / "it_ran").exists()


def test_a_tokenizer_with_more_tokens_than_the_vocabulary(pair, tmp_path):
    """Its ids would be read from beyond the table."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(60))]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    tokenizer = transformers.BertTokenizer(vocab=str(tmp_path / "vocab.txt"))
    pair.ours.encoder.save_pretrained(tmp_path / "encoder")
    tokenizer.save_pretrained(tmp_path / "encoder")
    pair.ours.decoder.save_pretrained(tmp_path / "decoder")
    with refused(ConfigError, "65 tokens", "47"):
        EncoderDecoderModel.from_encoder_decoder_pretrained(tmp_path / "encoder", tmp_path / "decoder")


# Joining.


def test_an_encoder_as_decoder_and_a_decoder_as_encoder(pair, tmp_path):
    config = conjoin.DistilBertConfig(dim=8, n_layers=1, n_heads=2, hidden_dim=8, vocab_size=9)
    EncoderDecoderModel.encoder_class(config).save_pretrained(tmp_path)
    with refused(ConfigError, '"distilbert" cannot be the decoder', "conjoin inspect"):
        EncoderDecoderModel.from_encoder_decoder_pretrained(tmp_path, tmp_path)
    with refused(ConfigError, '"trocr" cannot be the encoder', "conjoin inspect"):
        EncoderDecoderConfig(encoder=conjoin.TrOCRConfig(), decoder=BertConfig())


def test_parts_in_each_others_place_or_of_another_library(pair):
    for encoder, decoder in (
        (pair.ours.decoder, pair.ours.encoder),
        (pair.theirs.encoder, pair.theirs.decoder),
        (pair.ours.encoder, "gpt2"),
    ):
        with refused(ConfigError, "was expected"):
            EncoderDecoderModel(encoder=encoder, decoder=decoder)
    for given in ({}, {"encoder": pair.ours.encoder}, {"decoder": pair.ours.decoder}):
        with refused(ConfigError, "an encoder and a decoder"):
            EncoderDecoderModel(**given)
    with refused(ConfigError, "EncoderDecoderConfig"):
        EncoderDecoderModel(config=BertConfig(**SMALL))
    with refused(ConfigError, "no decoder was given"):
        EncoderDecoderModel.from_encoder_decoder_pretrained(encoder_model=pair.ours.encoder)


@pytest.mark.parametrize(
    ("share", "encoder", "decoder", "reason"),
    [
        ("all", BertConfig(**SMALL), RobertaConfig(**SMALL), '"bert", the decoder "roberta"'),
        ("all", BertConfig(**SMALL), GPT2Config(n_embd=24, n_head=3, vocab_size=61), '"gpt2"'),
        ("all", BertConfig(**SMALL), BertConfig(**{**SMALL, "num_hidden_layers": 3}), "differ in layers"),
        ("all", BertConfig(**SMALL), BertConfig(**{**SMALL, "hidden_act": "relu"}), "differ in activation"),
        ("all", BertConfig(**SMALL), BertConfig(**{**SMALL, "vocab_size": 62}), "differ in vocab"),
        ("embeddings", BertConfig(**SMALL), RobertaConfig(**{**SMALL, "vocab_size": 62}), "(61, 24)"),
        ("embeddings", BertConfig(**SMALL), GPT2Config(n_embd=36, n_head=3, vocab_size=61), "(61, 36)"),
    ],
)
def test_sharing_what_does_not_match_says_why(share, encoder, decoder, reason):
    config = EncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder, share=share)
    with refused(ConfigError, f'share="{share}"', reason):
        EncoderDecoderModel(config=config)


def test_sharing_two_things_at_once():
    with refused(ConfigError, "tie_encoder_decoder"):
        EncoderDecoderConfig(tie_encoder_decoder=True, share="embeddings")


# Names.


@pytest.mark.parametrize(
    ("call", "wrong", "near"),
    [
        (lambda p: p.ours(input_idz=None), "input_idz", "input_ids"),
        (lambda p: p.ours(input_ids=None, decoder_labels=None), "decoder_labels", ""),
        (lambda p: p.ours.encoder(attention_mas=None), "attention_mas", "attention_mask"),
        (lambda p: p.ours.decoder(encoder_hidden_state=None), "encoder_hidden_state", "encoder_hidden_states"),
        (lambda p: p.ours.generate(num_beems=2), "num_beems", "num_beams"),
        (lambda p: p.ours.generate(attention_masks=None), "attention_masks", "attention_mask"),
        (lambda p: EncoderDecoderModel.from_pretrained(p.folder, dtyp="float32"), "dtyp", "dtype"),
        (lambda p: EncoderDecoderModel.from_pretrained(p.folder, num_beans=2), "num_beans", "num_beams"),
        (lambda p: BertConfig(hiden_size=3), "hiden_size", "hidden_size"),
        (lambda p: GPT2Config(n_layers=3), "n_layers", "n_layer"),
        (lambda p: EncoderDecoderConfig(encodr=None), "encodr", "encoder"),
        (lambda p: EncoderDecoderConfig(pad_token=0), "pad_token", "pad_token_id"),
        (lambda p: BertConfig.from_pretrained(p.folder / "part", hidden_sise=3), "hidden_sise", "hidden_size"),
    ],
)
def test_an_unknown_argument_names_the_nearest(pair, call, wrong, near):
    if not (pair.folder / "part").exists():
        pair.ours.encoder.save_pretrained(pair.folder / "part")
    with refused(TypeError, f'"{wrong}"', f'nearest known is "{near}"' if near else "has no argument"):
        call(pair)


@pytest.mark.parametrize(
    ("option", "near"),
    [
        ({"encoder_hidden_layers": 1}, "encoder_num_hidden_layers"),
        ({"decoder_n_layers": 1}, "decoder_n_layer"),
        ({"shared": "all"}, "share"),
        ({"cross_attention": "random"}, "cross_attention_init"),
    ],
)
def test_an_unknown_option_of_a_join_names_the_nearest(pair, tmp_path, option, near):
    pair.ours.encoder.save_pretrained(tmp_path / "e")
    pair.ours.decoder.save_pretrained(tmp_path / "d")
    with refused(TypeError, next(iter(option)), f'nearest known is "{near}"'):
        EncoderDecoderModel.from_encoder_decoder_pretrained(tmp_path / "e", tmp_path / "d", **option)


@pytest.mark.parametrize(
    ("make", "wrong", "near"),
    [
        (lambda: BertConfig(**SMALL), "hidden_sizes", "hidden_size"),
        (EncoderDecoderConfig, "decoder_start_token", "decoder_start_token_id"),
        (GenerationConfig, "num_beems", "num_beams"),
    ],
)
def test_an_unknown_field_cannot_be_set_or_read(make, wrong, near):
    with refused(AttributeError, f'"{wrong}"', f'nearest known is "{near}"'):
        setattr(make(), wrong, 3)
    with refused(AttributeError, wrong):
        getattr(make(), wrong)


def test_an_unknown_part_to_freeze(pair):
    with refused(InputError, '"encodr"', 'nearest known is "encoder"'):
        pair.ours.freeze("encodr")


# Inputs.


def test_a_source_longer_than_the_encoders_positions(peer):
    for encoder in peers.ENCODERS:
        ours = peer(encoder, "bert").ours
        fits, over = (torch.full((1, n), 7) for n in (peers.POSITIONS, peers.POSITIONS + 1))
        target = torch.full((1, 3), 7)
        assert ours(input_ids=fits, decoder_input_ids=target).logits.isfinite().all()
        with refused(InputError, "encoder", "41 tokens", "positions for 40", "max_length=40"):
            ours(input_ids=over, decoder_input_ids=target)
        with refused(InputError, "encoder", "41 tokens"):
            ours.generate(over)


@pytest.mark.parametrize("decoder", peers.DECODERS)
def test_a_target_longer_than_the_decoders_positions(peer, decoder):
    ours = peer("bert", decoder).ours
    source = torch.full((1, 4), 7)
    fits, over = (torch.full((1, n), 7) for n in (peers.POSITIONS, peers.POSITIONS + 1))
    assert ours(input_ids=source, labels=fits).loss.isfinite()
    with refused(InputError, "decoder", "41 tokens", "positions for 40"):
        ours(input_ids=source, labels=over)
    with refused(InputError, "decoder", "41 tokens"):
        ours(input_ids=source, decoder_input_ids=over)
    out = ours(input_ids=source, decoder_input_ids=fits, use_cache=True)
    with refused(InputError, "decoder", "41 tokens"):
        ours(
            encoder_outputs=(out.encoder_last_hidden_state,),
            decoder_input_ids=fits[:, :1],
            past_key_values=out.past_key_values,
        )
    for settings in ({"max_new_tokens": 41}, {"max_length": 42}):
        with refused(InputError, "positions for 40", "max_new_tokens to 40"):
            ours.generate(source, **settings)
    with refused(InputError, "40"):
        ours.generate(source, decoder_input_ids=over, max_new_tokens=1)


def test_an_empty_or_missing_input(pair):
    target = torch.full((1, 3), 7)
    for shape in ((0, 4), (1, 0), (0, 0)):
        with refused(InputError, "empty", str(shape)):
            pair.ours(input_ids=torch.zeros(shape, dtype=torch.long), decoder_input_ids=target)
        with refused(InputError, "empty"):
            pair.ours.generate(torch.zeros(shape, dtype=torch.long))
    with refused(InputError, "decoder", "empty"):
        pair.ours(input_ids=target, decoder_input_ids=target[:, :0])
    with refused(InputError, "input_ids and inputs_embeds"):
        pair.ours(decoder_input_ids=target)
    with refused(InputError, "pass labels, or decoder_input_ids"):
        pair.ours(input_ids=target)
    with refused(InputError, "input_ids"):
        pair.ours.generate()
    with refused(InputError, "(batch, tokens)"):
        pair.ours(input_ids=target[0], decoder_input_ids=target)


@pytest.mark.parametrize("wrong", [-1, 61, 1000])
def test_ids_outside_the_vocabulary(pair, wrong):
    good, bad = torch.full((2, 3), 7), torch.full((2, 3), 7)
    bad[1, 1] = wrong
    source = bad.clone()
    source[1, 1] = {61: 47}.get(wrong, wrong)
    with refused(InputError, "encoder", str(int(source[1, 1])), "0 to 46"):
        pair.ours(input_ids=source, decoder_input_ids=good)
    with refused(InputError, "encoder", "0 to 46"):
        pair.ours.generate(source)
    with refused(InputError, "decoder", str(wrong), "0 to 60"):
        pair.ours(input_ids=good, decoder_input_ids=bad)
    for place in (1, -1):
        labels = good.clone()
        labels[0, place] = wrong
        for keep in (True, False):
            with refused(InputError, str(wrong), "0 to 60"):
                pair.ours(input_ids=good, labels=labels, return_logits=keep)


def test_a_mask_of_a_wrong_shape(pair):
    ids, target = torch.full((2, 4), 7), torch.full((2, 3), 7)
    for shape in ((2, 5), (1, 4), (2, 1, 1, 4), (4,)):
        mask = torch.ones(shape)
        with refused(InputError, "attention_mask", str(shape), "(2, 4)"):
            pair.ours(input_ids=ids, attention_mask=mask, decoder_input_ids=target)
        with refused(InputError, "attention_mask", str(shape)):
            pair.ours.generate(ids, attention_mask=mask)
    for shape in ((2, 4), (1, 3)):
        with refused(InputError, "decoder_attention_mask", str(shape), "(2, 3)"):
            pair.ours(input_ids=ids, decoder_input_ids=target, decoder_attention_mask=torch.ones(shape))
    states = pair.ours.encoder(ids)
    with refused(InputError, "attention_mask", "(2, 5)"):
        pair.ours(encoder_outputs=states, attention_mask=torch.ones(2, 5), decoder_input_ids=target)
    with refused(InputError, "attention_mask", "(2, 5)"):
        pair.ours.generate(encoder_outputs=states, attention_mask=torch.ones(2, 5))
    for shape in ((2, 4), (1, 3), (2, 1)):
        with refused(InputError, "decoder_attention_mask", str(shape), "(2, 3)"):
            pair.ours.generate(ids, decoder_input_ids=torch.full((2, 3), 5), decoder_attention_mask=torch.ones(shape))


def test_token_types_that_do_not_exist(peer, pair):
    ids, types = torch.full((2, 4), 7), torch.tensor([[0, 0, 1, 2]] * 2)
    with refused(InputError, "token_type_ids", "2", "0 to 1"):
        pair.ours(input_ids=ids, decoder_input_ids=ids, token_type_ids=types)
    with refused(InputError, "token_type_ids", "2", "0 to 1"):
        pair.ours.generate(ids, token_type_ids=types)
    with refused(InputError, "decoder_token_type_ids", "2", "0 to 1"):
        peer("bert", "bert").ours(input_ids=ids, decoder_input_ids=ids, decoder_token_type_ids=types)
    with refused(InputError, "decoder_token_type_ids", "no token types"):
        pair.ours(input_ids=ids, decoder_input_ids=ids, decoder_token_type_ids=types * 0)


def test_labels_that_do_not_fit(pair):
    ids = torch.full((2, 4), 7)
    with refused(InputError, "labels", "(2, 3)", "(2, 5)"):
        pair.ours(input_ids=ids, decoder_input_ids=torch.full((2, 5), 7), labels=torch.full((2, 3), 7))
    with refused(InputError, "labels"):
        pair.ours(input_ids=ids, decoder_input_ids=torch.full((2, 5), 7), return_logits=False)


def test_rows_that_do_not_match(pair):
    ids, target = torch.full((2, 4), 7), torch.full((3, 3), 7)
    with refused(InputError, "3", "2"):
        pair.ours(input_ids=ids, decoder_input_ids=target)
    with refused(InputError, "3", "2"):
        pair.ours.generate(ids, decoder_input_ids=target)
    with refused(InputError, "decoder_start_token_id", "3 tokens for 2 rows"):
        pair.ours.generate(ids, decoder_start_token_id=[5, 6, 7])


def test_no_start_or_padding_token(pair):
    bare = copy.deepcopy(pair.ours)
    ids = torch.full((2, 4), 7)
    bare.config.pad_token_id = None
    with refused(InputError, "model.config.pad_token_id"):
        bare(input_ids=ids, labels=ids)
    bare.config.pad_token_id, bare.config.decoder_start_token_id, bare.config.bos_token_id = 0, None, None
    with refused(InputError, "model.config.decoder_start_token_id"):
        bare(input_ids=ids, labels=ids)
    with refused(InputError, "model.config.decoder_start_token_id"):
        bare.generate(ids)


# Settings of generate.


@pytest.mark.parametrize(
    "settings",
    [
        {"num_beams": 0},
        {"num_beams": -1},
        {"num_beams": 1.5},
        {"num_beams": "4"},
        {"num_beams": True},
        {"num_beams": 2, "eos_token_id": list(range(61))},
        {"temperature": math.nan, "do_sample": True},
        {"temperature": 0.0, "do_sample": True},
        {"temperature": -1.0, "do_sample": True},
        {"temperature": math.inf, "do_sample": True},
        {"temperature": "hot", "do_sample": True},
        {"top_p": 2, "do_sample": True},
        {"top_p": -0.1, "do_sample": True},
        {"top_p": math.nan, "do_sample": True},
        {"top_k": -1, "do_sample": True},
        {"top_k": 2.5, "do_sample": True},
        {"min_p": 1.5, "do_sample": True},
        {"min_p": -0.1, "do_sample": True},
        {"repetition_penalty": 0.0},
        {"repetition_penalty": -2},
        {"repetition_penalty": math.nan},
        {"encoder_repetition_penalty": 0},
        {"length_penalty": math.nan, "num_beams": 2},
        {"length_penalty": math.inf, "num_beams": 2},
        {"length_penalty": 1e6, "num_beams": 2},
        {"no_repeat_ngram_size": -1},
        {"no_repeat_ngram_size": 1.5},
        {"encoder_no_repeat_ngram_size": -2},
        {"num_return_sequences": 0},
        {"num_return_sequences": 2},
        {"num_return_sequences": 3, "num_beams": 2},
        {"early_stopping": "sometimes", "num_beams": 2},
        {"max_new_tokens": 0},
        {"max_new_tokens": -3},
        {"max_new_tokens": 2.5},
        {"max_length": 1},
        {"max_length": 0},
        {"min_length": 9, "max_length": 5},
        {"min_length": -1},
        {"min_length": 2.5},
        {"min_new_tokens": -2},
        {"min_new_tokens": 30, "max_new_tokens": 5},
        {"eos_token_id": 61},
        {"eos_token_id": [4, -1]},
        {"eos_token_id": "four"},
        {"pad_token_id": 99},
        {"pad_token_id": 1.5},
        {"decoder_start_token_id": 61},
        {"decoder_start_token_id": -1},
        {"forced_bos_token_id": 61},
        {"forced_eos_token_id": [61]},
        {"suppress_tokens": [3, 61]},
        {"begin_suppress_tokens": [-1]},
        {"suppress_tokens": "three"},
        {"early_stopping": 1, "num_beams": 2},
        {"forced_bos_token_id": 9, "suppress_tokens": [8, 9]},
        {"forced_eos_token_id": [9, 10], "suppress_tokens": [9, 10]},
        {"do_sample": "yes"},
        {"seed": "one", "do_sample": True},
        {"seed": 1.5, "do_sample": True},
        {"num_beam_groups": 2, "num_beams": 4},
        {"bad_words_ids": [[61]]},
        {"bad_words_ids": []},
        {"bad_words_ids": [[]]},
        {"bad_words_ids": [3]},
        {"sequence_bias": {(3, 61): 1.0}},
        {"sequence_bias": {(3,): "much"}},
        {"sequence_bias": {(3,): math.nan}},
        {"sequence_bias": {}},
        {"exponential_decay_length_penalty": 1.2},
        {"exponential_decay_length_penalty": (-1, 1.2)},
        {"exponential_decay_length_penalty": (3, 0.0)},
        {"exponential_decay_length_penalty": (3, 1.2), "eos_token_id": None},
        {"typical_p": 0.0, "do_sample": True},
        {"typical_p": 1.5, "do_sample": True},
        {"epsilon_cutoff": 1.0, "do_sample": True},
        {"eta_cutoff": -0.1, "do_sample": True},
        {"top_h": 0.0, "do_sample": True},
        {"top_h": 1.1, "do_sample": True},
        {"remove_invalid_values": 1},
        {"renormalize_logits": "yes"},
        {"output_scores": 1},
        {"output_attentions": "all"},
        {"max_time": math.inf},
        {"stop_strings": 3},
        {"guidance_scale": "much"},
        {"decoder_start_token_id": [5, 5.5]},
        {"num_assistant_tokens_schedule": "fast"},
        {"watermarking_config": {"bias": "much"}},
        {"watermarking_config": {"hashing_key": 1.5}},
        {"vocabulary": 5},
    ],
    ids=lambda s: "-".join(f"{k}={v}" for k, v in s.items()),
)
def test_a_setting_of_generate_that_cannot_be(pair, settings):
    name = next(iter(settings))
    with refused(InputError) as found:
        pair.ours.generate(torch.full((2, 4), 7), **settings)
    said = [name, str(settings[name]), *(settings[name] if isinstance(settings[name], dict) else [])]
    assert any(word in found.text for word in said), found.text


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"encoder_outputs": 5}, ["encoder_outputs is a int"]),
        ({"encoder_outputs": (torch.zeros(3, 4, 32),)}, ["encoder_outputs has 3 rows", "input_ids 2"]),
        ({"encoder_outputs": (torch.zeros(2, 4, 31),)}, ["(2, 4, 31)", "(batch, tokens, 32)"]),
        ({"encoder_outputs": (torch.zeros(2, 4),)}, ["encoder_outputs", "(2, 4)"]),
        ({"decoder_input_ids": torch.full((2, 41), 7)}, ["prompt has 42 tokens", "positions for 40"]),
        ({"decoder_input_ids": torch.full((2,), 7)}, ["decoder_input_ids", "(2,)"]),
        ({"decoder_input_ids": torch.full((2, 3), 7.0)}, ["decoder: token ids are torch.float32"]),
        ({"inputs_embeds": torch.zeros(2, 4, 31), "input_ids": None}, ["encoder: embeddings", "(2, 4, 31)"]),
        ({"encoder_outputs": (torch.zeros(2, 0, 32),)}, ["encoder_outputs", "(2, 0, 32)"]),
        ({"input_ids": torch.full((4,), 7)}, ["input_ids has shape (4,)"]),
        ({"input_ids": torch.full((2, 4), 7, dtype=torch.uint8)}, ["encoder: token ids are torch.uint8"]),
        ({"position_ids": torch.full((2, 4), 99)}, ["position_ids ask for row 99", "0 to 39"]),
    ],
    ids=range(12),
)
def test_inputs_of_generate_that_cannot_be(pair, given, words):
    with refused(InputError, *words):
        pair.ours.generate(**{"input_ids": torch.full((2, 4), 7), **given})


@pytest.mark.parametrize("given", [[61], [-1], ["a"], 5, None])
def test_what_no_prefix_can_allow(pair, given):
    with refused(InputError, "prefix_allowed_tokens_fn gave"):
        pair.ours.generate(torch.full((2, 4), 7), prefix_allowed_tokens_fn=lambda number, ids: given)


def test_whole_numbers_of_numpy_are_whole_numbers(pair):
    ids = torch.full((2, 4), 7)
    asked = {"num_beams": 2, "max_new_tokens": 5, "length_penalty": 0.5, "suppress_tokens": [9, 10]}
    numpys = {"num_beams": np.int64(2), "max_new_tokens": np.int32(5), "length_penalty": np.float32(0.5)}
    found = pair.ours.generate(ids, **numpys, suppress_tokens=[np.int64(9), np.int64(10)])
    assert found.tolist() == pair.ours.generate(ids, **asked).tolist()


def test_a_prompt_that_fills_every_position_has_one_more_token(pair):
    found = pair.ours.generate(torch.full((2, 4), 7), decoder_input_ids=torch.full((2, 39), 7))
    assert found.shape == (2, 41)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"token_healing": True}, ["token_healing", "start token"]),
        ({"dola_layers": "high"}, ["dola_layers", "refuses encoder-decoders"]),
        ({"low_memory": True}, ["low_memory", "share their memory"]),
        ({"watermarking_config": {"bias": 1.0, "ratio": 2}}, ["watermarking_config", "greenlist_ratio"]),
        ({"watermarking_config": {"greenlist_ratio": 1.0}}, ["greenlist_ratio is 1.0"]),
        ({"watermarking_config": {"seeding_scheme": "both"}}, ["seeding_scheme is 'both'"]),
        ({"watermarking_config": {"ngram_len": 5, "keys": [3]}}, ["SynthID", "logits_processor"]),
        ({"sequence_bias": 3}, ["sequence_bias is 3"]),
        ({"sequence_bias": [[3, 1.0]]}, ["sequence_bias", "a tuple or a list of ids"]),
    ],
    ids=str,
)
def test_a_setting_that_has_no_meaning_is_refused_when_it_is_set(pair, settings, words):
    with refused(InputError, *words):
        GenerationConfig().updated(settings)
    with refused(InputError, *words):
        pair.ours.generate(torch.full((2, 4), 7), **settings)


def test_a_config_of_further_rules_travels(tmp_path):
    made = GenerationConfig(
        watermarking_config={"bias": 1.5}, sequence_bias={(3, 4): 1.0}, bad_words_ids=[[3]], stop_strings="a"
    )
    made.save_pretrained(tmp_path)
    assert GenerationConfig.from_pretrained(tmp_path) == made
    theirs = transformers.GenerationConfig.from_pretrained(tmp_path)
    assert theirs.sequence_bias == [[[3, 4], 1.0]]
    assert theirs.watermarking_config.bias == 1.5


# Loading options.


@pytest.mark.parametrize("dtype", ["int4", "float31", torch.int64, 32, "cuda"])
def test_a_dtype_that_is_none(pair, dtype):
    with refused(InputError, "dtype", "float32"):
        EncoderDecoderModel.from_pretrained(pair.folder, dtype=dtype)


def test_options_that_cannot_be(pair, tmp_path):
    with refused(InputError, "attn_implementation"):
        EncoderDecoderModel.from_pretrained(pair.folder, attn_implementation="flash")
    with refused(InputError, "device_map"):
        EncoderDecoderModel.from_pretrained(pair.folder, device_map={"encoder": 0, "decoder": 1})
    pair.ours.encoder.save_pretrained(tmp_path)
    with refused(ConfigError, "cross_attention_init"):
        EncoderDecoderModel.from_encoder_decoder_pretrained(tmp_path, tmp_path, cross_attention_init="zeros")
    with refused(ConfigError, "pooler"):
        EncoderDecoderModel.from_encoder_decoder_pretrained(tmp_path, tmp_path, encoder_add_pooling_layer=True)


# Saving.


def test_a_full_disk_is_seen_before_anything_is_written(pair, tmp_path, monkeypatch):
    used = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(checkpoint.shutil, "disk_usage", lambda path: used._replace(free=1000))
    for save in (pair.ours.save_pretrained, pair.ours.encoder.save_pretrained, pair.ours.decoder.save_pretrained):
        with refused(CheckpointError, "MB", "nothing was written"):
            save(tmp_path / "deep" / "new")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(
    params=[OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), RuntimeError("odd")], ids=repr
)
def fails_halfway(request, monkeypatch):
    """Writing weights stops after the first bytes; returns what is raised."""
    import safetensors.torch

    def broken(tensors, path, metadata=None):
        Path(path).write_bytes(b"half")
        raise request.param

    monkeypatch.setattr(safetensors.torch, "save_file", broken)
    return CheckpointError if isinstance(request.param, OSError) else type(request.param)


def test_a_write_that_fails_leaves_nothing(pair, tmp_path, fails_halfway):
    for save in (pair.ours.save_pretrained, pair.ours.encoder.save_pretrained):
        with pytest.raises(fails_halfway):
            save(tmp_path / "new")
        assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_an_existing_folder_as_it_was(peer, pair, folder, fails_halfway):
    before = snapshot(folder)
    with pytest.raises(fails_halfway):
        pair.ours.save_pretrained(folder)
    assert snapshot(folder) == before
    assert [p.name for p in folder.parent.iterdir()] == ["broken"]


def test_a_failed_write_says_so(pair, tmp_path, monkeypatch):
    import safetensors.torch

    def broken(tensors, path, metadata=None):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(safetensors.torch, "save_file", broken)
    with refused(CheckpointError, "No space left on device", "unchanged"):
        pair.ours.save_pretrained(tmp_path / "new")


def test_saving_onto_a_file(pair, tmp_path):
    (tmp_path / "taken").write_text("mine")
    with refused(CheckpointError, "is a file"):
        pair.ours.save_pretrained(tmp_path / "taken")
    assert snapshot(tmp_path) == {"taken": b"mine"}


def test_saving_over_a_model_leaves_no_stale_weights(peer, tmp_path):
    first, second = peer("bert", "gpt2").ours, peer("roberta", "bart").ours
    target = peers.target(peer("roberta", "bart"))
    source = peers.source(peer("roberta", "bart"))
    first.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 3
    (tmp_path / "notes.txt").write_text("mine")
    torch.save({"a": torch.zeros(1)}, tmp_path / "pytorch_model.bin")
    with torch.no_grad():
        expected = second(**source, decoder_input_ids=target).logits
        for size, files in (("5GB", 1), ("20KB", 4), ("5GB", 1)):
            second.save_pretrained(tmp_path, max_shard_size=size)
            weights = [p.name for p in tmp_path.iterdir() if p.suffix in (".safetensors", ".bin")]
            assert len(weights) == 1 if files == 1 else len(weights) >= files
            assert (tmp_path / "model.safetensors.index.json").exists() is (files > 1)
            assert not (tmp_path / "pytorch_model.bin").exists()
            again = EncoderDecoderModel.from_pretrained(tmp_path)
            assert far(expected, again(**source, decoder_input_ids=target).logits) == 0
    assert (tmp_path / "notes.txt").read_text() == "mine"


# What is passed in stays as it was.


def test_configs_passed_in_are_never_changed(pair, tmp_path):
    encoder, decoder = BertConfig(**SMALL), GPT2Config(vocab_size=61, n_embd=36, n_head=3, n_layer=1, n_positions=20)
    before = encoder.to_dict(), decoder.to_dict()
    config = EncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder, pad_token_id=0)
    stated = config.to_dict()
    model = EncoderDecoderModel(config=config)
    assert config.to_dict() == stated
    model.save_pretrained(tmp_path / "m")
    opened = EncoderDecoderConfig.from_pretrained(tmp_path / "m")
    stated = opened.to_dict(), opened.generation.to_dict()
    EncoderDecoderModel.from_pretrained(tmp_path / "m", config=opened, num_beams=3)
    assert (opened.to_dict(), opened.generation.to_dict()) == stated
    model.encoder.save_pretrained(tmp_path / "e")
    model.decoder.save_pretrained(tmp_path / "d")
    joined = EncoderDecoderModel.from_encoder_decoder_pretrained(
        tmp_path / "e", tmp_path / "d", encoder_config=encoder, decoder_config=decoder, decoder_n_layer=1
    )
    joined.decoder.resize_token_embeddings(70)
    assert (encoder.to_dict(), decoder.to_dict()) == before
    assert joined.config.decoder.vocab_size == 70


def test_dictionaries_and_settings_passed_in_are_never_changed(pair):
    stored = json.loads((pair.folder / "config.json").read_text())
    kept = copy.deepcopy(stored)
    EncoderDecoderConfig.from_dict(stored)
    EncoderDecoderConfig(encoder=stored["encoder"], decoder=stored["decoder"])
    assert stored == kept
    settings = GenerationConfig(num_beams=3, eos_token_id=[4, 7])
    own = pair.ours.config.generation.to_dict()
    pair.ours.generate(torch.full((1, 4), 7), generation_config=settings, max_new_tokens=3)
    assert settings == GenerationConfig(num_beams=3, eos_token_id=[4, 7])
    assert pair.ours.config.generation.to_dict() == own


def test_tensors_passed_in_are_never_changed(pair):
    given = {**peers.source(pair), "labels": peers.labels(pair)}
    kept = {name: tensor.clone() for name, tensor in given.items()}
    pair.ours(**given)
    prompt = torch.full((4, 2), 7)
    pair.ours.generate(**peers.source(pair), decoder_input_ids=prompt, num_beams=2, max_new_tokens=3)
    assert all(torch.equal(given[name], kept[name]) for name in given)
    assert prompt.tolist() == [[7, 7]] * 4


def test_no_real_label_makes_a_finite_loss(pair):
    labels = torch.full((2, 5), -100)
    for extra in ({}, {"return_logits": False}, {"num_items_in_batch": torch.tensor(4)}):
        pair.ours.zero_grad(set_to_none=True)
        loss = pair.ours(input_ids=torch.full((2, 4), 7), labels=labels, **extra).loss
        assert loss.item() == 0
        loss.backward()
        gradients = [p.grad for p in pair.ours.parameters() if p.grad is not None]
        assert all(not gradient.any() for gradient in gradients)
