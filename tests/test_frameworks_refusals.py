"""JAX and TensorFlow refuse what PyTorch refuses: the same error, in the same sentence; and arrays that are not theirs."""

import errno
import functools
import json
import math
import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import peers
import pytest
import torch
from frameworks import ALL, COMPILED, Framework, compiled_frameworks, every_framework
from peers import Peer
from safetensors.numpy import load_file, save_file

import conjoin
import conjoin.checkpoint as checkpoint
from conjoin import (
    BertConfig,
    CheckpointError,
    ConfigError,
    EncoderDecoderConfig,
    GenerationConfig,
    GPT2Config,
    InputError,
    RobertaConfig,
)
from conjoin.backends.torch.store import NARROW_TYPES
from conjoin.errors import no_dtype

SMALL = {
    "vocab_size": 61,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 37,
    "max_position_embeddings": 40,
}
TORCH = ALL["torch"]


@functools.cache
def loaded(name: str, folder: Path):
    """The model of a folder in a framework, each once."""
    return ALL[name].load(folder)


@pytest.fixture
def pair(peer) -> Peer:
    return peer("bert", "gpt2")


@pytest.fixture
def folder(pair: Peer, tmp_path: Path) -> Path:
    """A copy of a saved model that may be broken."""
    return shutil.copytree(pair.folder, tmp_path / "broken")


def neutral(text: str) -> str:
    """A sentence without what names a framework: its classes, its modules, int8, which PyTorch alone has."""
    text = text.replace(str(no_dtype("", NARROW_TYPES))[len("dtype is ''") :], str(no_dtype(""))[len("dtype is ''") :])
    return re.sub(
        r"\bconjoin\.(flax|tensorflow)\b", "conjoin.torch", re.sub(r"\b(TF|Flax)(?=EncoderDecoder)", "", text)
    )


def refusal(call, framework: Framework) -> tuple[type, str]:
    """What error a call ends in, and its sentence."""
    try:
        call(framework)
    except Exception as error:
        return type(error), neutral(str(error))
    pytest.fail(f"{framework.name} refuses nothing")


def same_refusal(framework: Framework, error: type[Exception], *words: str):
    """Makes a function of a framework be refused by PyTorch and by this one: the same error, the same sentence."""

    def check(call) -> None:
        theirs, ours = refusal(call, TORCH), refusal(call, framework)
        assert theirs[0] is error, theirs
        assert "\n" not in theirs[1]
        assert not [word for word in words if word not in theirs[1]], theirs[1]
        assert ours == theirs

    return check


def full(framework: Framework, *shape: int, value: int = 7):
    return framework.array(np.full(shape, value))


def ones(framework: Framework, *shape: int):
    return framework.array(np.ones(shape, np.int64))


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


# Inputs.


def called(name: str, pair: Peer):
    """A function that calls a method of a pair's model with NumPy arrays made a framework's."""

    def of(**given):
        def call(framework: Framework):
            model = loaded(framework.name, pair.folder)
            method = model if name == "call" else getattr(model, name)
            return method(**framework.arrays(given))

        return call

    return of


@compiled_frameworks
@pytest.mark.parametrize("wrong", [-1, 61, 1000])
def test_ids_outside_the_vocabulary(pair, framework, wrong):
    good, bad = np.full((2, 3), 7), np.full((2, 3), 7)
    bad[1, 1] = wrong
    source = np.where(bad == 61, 47, bad)
    call, generate = called("call", pair), called("generate", pair)
    refused = same_refusal(framework, InputError, "encoder", str(source[1, 1]), "0 to 46")
    refused(call(input_ids=source, decoder_input_ids=good))
    refused(generate(input_ids=source))
    refused(called("encode", pair)(input_ids=source))
    refused = same_refusal(framework, InputError, "decoder", str(wrong), "0 to 60")
    refused(call(input_ids=good, decoder_input_ids=bad))
    refused(generate(input_ids=good, decoder_input_ids=bad))
    for place in (1, -1):
        labels = good.copy()
        labels[0, place] = wrong
        for keep in (True, False):
            refused = same_refusal(framework, InputError, str(wrong), "0 to 60")
            refused(call(input_ids=good, labels=labels, return_logits=keep))


@compiled_frameworks
@pytest.mark.parametrize("encoder", peers.ENCODERS)
def test_a_source_longer_than_the_encoders_positions(peer, framework, encoder):
    pair = peer(encoder, "bert")
    over, target = np.full((1, peers.POSITIONS + 1), 7), np.full((1, 3), 7)
    refused = same_refusal(framework, InputError, "encoder", "41 tokens", "positions for 40", "max_length=40")
    refused(called("call", pair)(input_ids=over, decoder_input_ids=target))
    refused(called("encode", pair)(input_ids=over))
    refused(called("generate", pair)(input_ids=over))


@compiled_frameworks
@pytest.mark.parametrize("decoder", peers.DECODERS)
def test_a_target_longer_than_the_decoders_positions(peer, framework, decoder):
    pair = peer("bert", decoder)
    source, over = np.full((1, 4), 7), np.full((1, peers.POSITIONS + 1), 7)
    call, generate = called("call", pair), called("generate", pair)
    refused = same_refusal(framework, InputError, "decoder", "41 tokens", "positions for 40")
    refused(call(input_ids=source, labels=over))
    refused(call(input_ids=source, decoder_input_ids=over))
    for settings in ({"max_new_tokens": 41}, {"max_length": 42}):
        refused = same_refusal(framework, InputError, "positions for 40", "max_new_tokens to 40")
        refused(generate(input_ids=source, **settings))
    same_refusal(framework, InputError, "40")(generate(input_ids=source, decoder_input_ids=over, max_new_tokens=1))

    def after_a_full_cache(framework):
        model = loaded(framework.name, pair.folder)
        out = model(input_ids=full(framework, 1, 4), decoder_input_ids=full(framework, 1, peers.POSITIONS))
        model.decode(full(framework, 1, 1), past_key_values=out.past_key_values)

    same_refusal(framework, InputError, "decoder", "41 tokens", "positions for 40")(after_a_full_cache)


@compiled_frameworks
def test_a_mask_of_a_wrong_shape(pair, framework):
    ids, target = np.full((2, 4), 7), np.full((2, 3), 7)
    call, generate = called("call", pair), called("generate", pair)
    for shape in ((2, 5), (1, 4), (2, 1, 1, 4), (4,)):
        mask = np.ones(shape, np.int64)
        refused = same_refusal(framework, InputError, "attention_mask", str(shape), "(2, 4)")
        refused(call(input_ids=ids, attention_mask=mask, decoder_input_ids=target))
        refused(generate(input_ids=ids, attention_mask=mask))
    for shape in ((2, 4), (1, 3)):
        mask = np.ones(shape, np.int64)
        refused = same_refusal(framework, InputError, "decoder_attention_mask", str(shape), "(2, 3)")
        refused(call(input_ids=ids, decoder_input_ids=target, decoder_attention_mask=mask))
    for shape in ((2, 4), (1, 3), (2, 1)):
        mask = np.ones(shape, np.int64)
        refused = same_refusal(framework, InputError, "decoder_attention_mask", str(shape), "(2, 3)")
        refused(generate(input_ids=ids, decoder_input_ids=np.full((2, 3), 5), decoder_attention_mask=mask))

    def states(name):
        def with_states(framework):
            model = loaded(framework.name, pair.folder)
            mask, outputs = ones(framework, 2, 5), model.encode(full(framework, 2, 4))
            if name == "call":
                model(encoder_outputs=outputs, attention_mask=mask, decoder_input_ids=full(framework, 2, 3))
            elif name == "generate":
                model.generate(encoder_outputs=outputs, attention_mask=mask)
            elif name == "decode":
                model.decode(full(framework, 2, 3), outputs, encoder_attention_mask=mask)
            else:
                model.init_cache(2, 6, outputs, encoder_attention_mask=mask)

        return with_states

    for name in ("call", "generate", "decode", "init_cache"):
        same_refusal(framework, InputError, "attention_mask", "(2, 5)", "(2, 4)")(states(name))


@compiled_frameworks
def test_a_cache_that_cannot_be(pair, framework):
    def asked(batch, length):
        def cache(framework):
            model = loaded(framework.name, pair.folder)
            model.init_cache(batch, length, model.encode(full(framework, 2, 4)))

        return cache

    same_refusal(framework, InputError, "max_length is 41", "40")(asked(2, 41))
    same_refusal(framework, InputError, "batch_size is 3", "2 rows")(asked(3, 9))


@compiled_frameworks
def test_encoder_outputs_that_cannot_be(pair, framework):
    target = np.full((2, 3), 7)
    for outputs in ("states", 3, [1.0]):
        refused = same_refusal(framework, InputError, "encoder_outputs", type(outputs).__name__, "a tuple")
        refused(called("call", pair)(encoder_outputs=outputs, decoder_input_ids=target))
        refused(called("decode", pair)(encoder_outputs=outputs, decoder_input_ids=target))

    def too_wide(framework):
        model = loaded(framework.name, pair.folder)
        states = framework.array(np.zeros((2, 4, 31), np.float32))
        model.decoder(full(framework, 2, 3), encoder_hidden_states=states)

    same_refusal(framework, InputError, "(2, 4, 31)", "24")(too_wide)


@compiled_frameworks
def test_an_empty_or_missing_input(pair, framework):
    target = np.full((1, 3), 7)
    call, generate = called("call", pair), called("generate", pair)
    for shape in ((0, 4), (1, 0), (0, 0)):
        empty = np.zeros(shape, np.int64)
        same_refusal(framework, InputError, "empty", str(shape))(call(input_ids=empty, decoder_input_ids=target))
        same_refusal(framework, InputError, "empty")(generate(input_ids=empty))
    same_refusal(framework, InputError, "decoder", "empty")(call(input_ids=target, decoder_input_ids=target[:, :0]))
    missing = same_refusal(framework, InputError, "input_ids and inputs_embeds")
    missing(call(decoder_input_ids=target))
    same_refusal(framework, InputError, "pass labels, or decoder_input_ids")(call(input_ids=target))
    missing(called("encode", pair)())
    missing(called("decode", pair)())
    same_refusal(framework, InputError, "input_ids")(generate())
    same_refusal(framework, InputError, "(batch, tokens)")(call(input_ids=target[0], decoder_input_ids=target))
    same_refusal(framework, InputError, "labels")(call(input_ids=target, decoder_input_ids=target, return_logits=False))


@compiled_frameworks
def test_rows_token_types_and_labels_that_do_not_fit(peer, pair, framework):
    ids, types = np.full((2, 4), 7), np.asarray([[0, 0, 1, 2]] * 2)
    call, generate = called("call", pair), called("generate", pair)
    refused = same_refusal(framework, InputError, "token_type_ids", "2", "0 to 1")
    refused(call(input_ids=ids, decoder_input_ids=ids, token_type_ids=types))
    refused(generate(input_ids=ids, token_type_ids=types))
    both = called("call", peer("bert", "bert"))
    same_refusal(framework, InputError, "decoder_token_type_ids", "2", "0 to 1")(
        both(input_ids=ids, decoder_input_ids=ids, decoder_token_type_ids=types)
    )
    same_refusal(framework, InputError, "decoder_token_type_ids", "no token types")(
        call(input_ids=ids, decoder_input_ids=ids, decoder_token_type_ids=types * 0)
    )
    same_refusal(framework, InputError, "labels", "(2, 3)", "(2, 5)")(
        call(input_ids=ids, decoder_input_ids=np.full((2, 5), 7), labels=np.full((2, 3), 7))
    )
    for refused in (call, generate):
        same_refusal(framework, InputError, "3", "2")(refused(input_ids=ids, decoder_input_ids=np.full((3, 3), 7)))
    same_refusal(framework, InputError, "decoder_start_token_id", "3 tokens for 2 rows")(
        generate(input_ids=ids, decoder_start_token_id=[5, 6, 7])
    )


@compiled_frameworks
def test_no_start_or_padding_token(pair, framework):
    def bare(padding, name):
        def call(framework):
            model = framework.load(pair.folder)
            model.config.pad_token_id = padding
            if padding is not None:
                model.config.decoder_start_token_id = model.config.bos_token_id = None
            ids = full(framework, 2, 4)
            model.generate(ids) if name == "generate" else model(input_ids=ids, labels=ids)

        return call

    same_refusal(framework, InputError, "model.config.pad_token_id")(bare(None, "call"))
    for name in ("call", "generate"):
        same_refusal(framework, InputError, "model.config.decoder_start_token_id")(bare(0, name))


# Names.


@compiled_frameworks
@pytest.mark.parametrize(
    ("call", "wrong", "near"),
    [
        (lambda f, m, p: m(input_idz=None), "input_idz", "input_ids"),
        (lambda f, m, p: m(input_ids=None, decoder_labels=None), "decoder_labels", ""),
        (lambda f, m, p: m.encoder(attention_mas=None), "attention_mas", "attention_mask"),
        (lambda f, m, p: m.decoder(encoder_hidden_state=None), "encoder_hidden_state", "encoder_hidden_states"),
        (lambda f, m, p: m.generate(num_beems=2), "num_beems", "num_beams"),
        (lambda f, m, p: m.generate(attention_masks=None), "attention_masks", "attention_mask"),
        (lambda f, m, p: f.load(p.folder, dtyp="float32"), "dtyp", "dtype"),
        (lambda f, m, p: f.load(p.folder, num_beans=2), "num_beans", "num_beams"),
    ],
)
def test_an_unknown_argument_names_the_nearest(pair, framework, call, wrong, near):
    words = f'"{wrong}"', f'nearest known is "{near}"' if near else "has no argument"
    same_refusal(framework, TypeError, *words)(lambda f: call(f, loaded(f.name, pair.folder), pair))


@compiled_frameworks
@pytest.mark.parametrize(
    ("option", "near"),
    [
        ({"encoder_hidden_layers": 1}, "encoder_num_hidden_layers"),
        ({"decoder_n_layers": 1}, "decoder_n_layer"),
        ({"shared": "all"}, "share"),
        ({"cross_attention": "random"}, "cross_attention_init"),
    ],
)
def test_an_unknown_option_of_a_join_names_the_nearest(pair, tmp_path, framework, option, near):
    parts(pair, tmp_path)
    same_refusal(framework, TypeError, next(iter(option)), f'nearest known is "{near}"')(
        lambda f: f.model_class.from_encoder_decoder_pretrained(tmp_path / "e", tmp_path / "d", **option)
    )


@compiled_frameworks
def test_an_unknown_part_to_freeze(pair, framework):
    words = '"encodr"', 'nearest known is "encoder"'
    same_refusal(framework, InputError, *words)(lambda f: loaded(f.name, pair.folder).freeze("encodr"))


# Settings of generate.

SETTINGS = [
    {"num_beams": 0},
    {"num_beams": 1.5},
    {"num_beams": "4"},
    {"num_beams": True},
    {"num_beams": 2, "eos_token_id": list(range(61))},
    {"temperature": math.nan, "do_sample": True},
    {"temperature": 0.0, "do_sample": True},
    {"temperature": math.inf, "do_sample": True},
    {"temperature": "hot", "do_sample": True},
    {"top_p": 2, "do_sample": True},
    {"top_p": -0.1, "do_sample": True},
    {"top_k": -1, "do_sample": True},
    {"top_k": 2.5, "do_sample": True},
    {"min_p": 1.5, "do_sample": True},
    {"repetition_penalty": 0.0},
    {"repetition_penalty": math.nan},
    {"encoder_repetition_penalty": 0},
    {"length_penalty": math.inf, "num_beams": 2},
    {"no_repeat_ngram_size": -1},
    {"no_repeat_ngram_size": 1.5},
    {"encoder_no_repeat_ngram_size": -2},
    {"num_return_sequences": 0},
    {"num_return_sequences": 2},
    {"num_return_sequences": 3, "num_beams": 2},
    {"early_stopping": "sometimes", "num_beams": 2},
    {"early_stopping": 1, "num_beams": 2},
    {"max_new_tokens": 0},
    {"max_new_tokens": 2.5},
    {"max_length": 1},
    {"min_length": 9, "max_length": 5},
    {"min_length": -1},
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
    {"forced_bos_token_id": 9, "suppress_tokens": [8, 9]},
    {"do_sample": "yes"},
    {"seed": "one", "do_sample": True},
    {"seed": 1.5, "do_sample": True},
    {"seed": True, "do_sample": True},
    {"num_beam_groups": 2, "num_beams": 4},
    {"bad_words_ids": [[]]},
]


@compiled_frameworks
@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: "-".join(f"{k}={v}" for k, v in s.items()))
def test_a_setting_of_generate_that_cannot_be(pair, framework, settings):
    call = called("generate", pair)(input_ids=np.full((2, 4), 7), **settings)
    same_refusal(framework, InputError)(call)


@compiled_frameworks
def test_a_setting_that_cannot_be_is_refused_from_every_place(pair, framework):
    ids = np.full((2, 4), 7)
    same_refusal(framework, InputError, "num_beams is 0")(
        called("generate", pair)(input_ids=ids, generation_config=GenerationConfig(num_beams=0))
    )

    def of_the_model(framework):
        model = framework.load(pair.folder, temperature=-1.0)
        model.generate(framework.array(ids), do_sample=True)

    same_refusal(framework, InputError, "temperature is -1.0")(of_the_model)


# Folders and weights.


def opened(folder: Path, **options):
    return lambda framework: framework.load(folder, **options)


@compiled_frameworks
def test_a_missing_folder(tmp_path, framework):
    name = tmp_path / "nowhere"
    refused = same_refusal(framework, CheckpointError, "nowhere", "does not exist")
    refused(opened(name))
    refused(lambda f: f.model_class.from_encoder_decoder_pretrained(name, name))
    for side in (0, 1):
        refused(lambda f, side=side: f.parts[side].from_pretrained(name))
    assert list(tmp_path.iterdir()) == []


@compiled_frameworks
@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda f: (f / "config.json").unlink(), CheckpointError, ("has no config.json",)),
        (lambda f: (f / "config.json").write_text("{"), CheckpointError, ("config.json",)),
        (lambda f: edit(f / "config.json", encoder__model_type="robberta"), ConfigError, ('is "roberta"',)),
        (lambda f: edit(f / "config.json", encoder__hidden_sizes=24), ConfigError, ('is "hidden_size"',)),
        (lambda f: edit(f / "config.json", encoder__hidden_act="gelo"), ConfigError, ("gelo",)),
        (lambda f: edit(f / "config.json", encoder__num_attention_heads=5), ConfigError, ("5 attention heads",)),
        (
            lambda f: edit(f / "config.json", encoder__position_embedding_type="relative"),
            ConfigError,
            ("'relative'", "relative_key"),
        ),
        (lambda f: edit(f / "config.json", share="some"), ConfigError, ("some",)),
        (lambda f: edit(f / "config.json", encoder=None), ConfigError, ('"encoder"',)),
        (lambda f: edit(f / "generation_config.json", num_beens=4), ConfigError, ('is "num_beams"',)),
        (lambda f: (f / "model.safetensors").unlink(), CheckpointError, ("has no weights",)),
        (lambda f: (f / "model.safetensors").write_bytes(b""), CheckpointError, ("not a whole safetensors file",)),
        (lambda f: (f / "model.safetensors").write_bytes(b"\xff" * 8), CheckpointError, ("not a whole safetensors",)),
        (lambda f: cut_off(f / "model.safetensors"), CheckpointError, ("not a whole safetensors file",)),
    ],
    ids=(
        "no_config no_json unknown_kind unknown_key activation heads positions share no_side generation no_weights empty "
        "header truncated"
    ).split(),
)
def test_a_broken_folder(folder, framework, change, error, words):
    change(folder)
    same_refusal(framework, error, *words)(opened(folder))


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@compiled_frameworks
@pytest.mark.parametrize("shard", ["../outside.safetensors", "sub/inside.safetensors", "..", "", "gone.safetensors"])
def test_a_shard_outside_the_folder_is_never_opened(folder, framework, shard, tmp_path):
    names = list(load_file(folder / "model.safetensors"))
    (folder / "model.safetensors").rename(tmp_path / "outside.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(names, shard)}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    same_refusal(framework, CheckpointError, "model.safetensors.index.json", "shard")(opened(folder))


@compiled_frameworks
def test_all_that_is_wrong_with_weights_comes_in_one_report(folder, framework):
    path, wrong = folder / "model.safetensors", "decoder.transformer.h.1.mlp.c_fc.weight"
    found = load_file(path)
    del found["enc_to_dec_proj.weight"], found["decoder.transformer.ln_f.bias"]
    found |= {wrong: np.ascontiguousarray(found[wrong].T), "odd": np.ones(1, np.float32)}
    save_file(found, path, metadata={"format": "pt"})
    words = ("enc_to_dec_proj.weight", "decoder.transformer.ln_f.bias", "unexpected: odd", "[96, 24]", "[24, 96]")
    same_refusal(framework, CheckpointError, wrong, *words)(opened(folder))


class Runs:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@compiled_frameworks
@pytest.mark.parametrize("content", ["zip", "plain_pickle", "no_tensors", "no_pickle"])
def test_a_bin_file_that_is_more_or_less_than_tensors(folder, tmp_path, framework, content):
    (folder / "model.safetensors").unlink()
    path, target = folder / "pytorch_model.bin", tmp_path / "it_ran"
    if content == "zip":
        torch.save({"a": Runs(target)}, path)
    elif content == "plain_pickle":
        path.write_bytes(pickle.dumps({"a": Runs(target)}))
    elif content == "no_tensors":
        torch.save({"a": 1}, path)
    else:
        path.write_bytes(b"not a file of tensors")
    same_refusal(framework, CheckpointError, "pytorch_model.bin")(opened(folder))
    assert not target.exists()


# Joining.


def parts(pair: Peer, folder: Path) -> None:
    pair.ours.encoder.save_pretrained(folder / "e")
    pair.ours.decoder.save_pretrained(folder / "d")


@compiled_frameworks
def test_what_cannot_be_joined(pair, tmp_path, framework):
    parts(pair, tmp_path)
    e, d = tmp_path / "e", tmp_path / "d"

    def join(*args, **options):
        return lambda f: f.model_class.from_encoder_decoder_pretrained(*args, **options)

    def refused(*words):
        return same_refusal(framework, ConfigError, *words)

    conjoin.EncoderDecoderModel.encoder_class(
        conjoin.DistilBertConfig(dim=8, n_layers=1, n_heads=2, hidden_dim=8, vocab_size=9)
    ).save_pretrained(tmp_path / "distilbert")
    refused('"distilbert" cannot be the decoder')(join(e, tmp_path / "distilbert"))
    refused("is a joined model")(join(pair.folder, d))
    refused("from_encoder_decoder_pretrained")(opened(e))
    refused("no decoder was given")(join(e))
    refused("cross_attention_init")(join(e, d, cross_attention_init="zeros"))
    refused("pooler")(join(e, d, encoder_add_pooling_layer=True))
    refused("encoder_keep_layers", "0 to 1")(join(e, d, encoder_keep_layers=[0, 2]))
    refused('"roberta"')(join(e, d, encoder_config=RobertaConfig(**SMALL)))
    refused('share="all"')(join(e, d, share="all"))
    refused("a config, or an encoder and a decoder")(lambda f: f.model_class())
    refused("EncoderDecoderConfig")(lambda f: f.model_class(config=BertConfig(**SMALL)))


@compiled_frameworks
@pytest.mark.parametrize(
    ("share", "encoder", "decoder", "reason"),
    [
        ("all", BertConfig(**SMALL), RobertaConfig(**SMALL), '"bert", the decoder "roberta"'),
        ("all", BertConfig(**SMALL), BertConfig(**{**SMALL, "num_hidden_layers": 3}), "differ in layers"),
        ("all", BertConfig(**SMALL), BertConfig(**{**SMALL, "vocab_size": 62}), "differ in vocab"),
        ("embeddings", BertConfig(**SMALL), RobertaConfig(**{**SMALL, "vocab_size": 62}), "(61, 24)"),
        ("embeddings", BertConfig(**SMALL), GPT2Config(n_embd=36, n_head=3, vocab_size=61), "(61, 36)"),
    ],
)
def test_sharing_what_does_not_match_says_why(framework, share, encoder, decoder, reason):
    config = EncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder, share=share)
    same_refusal(framework, ConfigError, f'share="{share}"', reason)(lambda f: f.model_class(config=config))


@compiled_frameworks
def test_parts_in_each_others_place_or_of_another_library(pair, framework):
    def swapped(f):
        model = loaded(f.name, pair.folder)
        f.model_class(encoder=model.decoder, decoder=model.encoder)

    def of_transformers(f):
        f.model_class(encoder=loaded(f.name, pair.folder).encoder, decoder=pair.theirs.decoder)

    def named(f):
        f.model_class(encoder=loaded(f.name, pair.folder).encoder, decoder="gpt2")

    same_refusal(framework, ConfigError, "encoder is a conjoin.torch.Decoder", "was expected")(swapped)
    same_refusal(framework, ConfigError, "decoder is a transformers.GPT2LMHeadModel", "was expected")(of_transformers)
    with pytest.raises(
        ConfigError, match=r"encoder is a transformers.BertModel; a conjoin.* was expected"
    ):  # which PyTorch's joins
        framework.model_class(encoder=pair.theirs.encoder, decoder=loaded(framework.name, pair.folder).decoder)
    same_refusal(framework, ConfigError, "decoder is a str", "was expected")(named)


@compiled_frameworks
def test_parts_of_another_framework_are_named(pair, framework):
    model, theirs = framework.model_class, pair.ours
    ours = re.escape(framework.parts[0].__module__.rpartition(".")[0])
    wanted = rf"encoder is a conjoin\.torch\.Encoder; a {ours}\.Encoder was expected"
    for given in (
        lambda: model(encoder=theirs.encoder, decoder=theirs.decoder),
        lambda: model.from_encoder_decoder_pretrained(encoder_model=theirs.encoder, decoder_model=theirs.decoder),
    ):
        with pytest.raises(ConfigError, match=wanted):
            given()


# Loading options.


@compiled_frameworks
@pytest.mark.parametrize("dtype", ["int4", "float31", 32, "cuda", np.int64])
def test_a_dtype_that_is_none(pair, framework, dtype):
    same_refusal(framework, InputError, "dtype", "float32")(opened(pair.folder, dtype=dtype))


@compiled_frameworks
def test_a_dtype_of_another_framework(pair, framework):
    with pytest.raises(InputError, match=r'dtype is torch\.float32; "auto", "float32"'):
        framework.load(pair.folder, dtype=torch.float32)


@every_framework
@pytest.mark.parametrize("device", ["nowhere", "tpu", "cpu:x", "xpu:99"])
def test_a_device_that_is_not_there(pair, tmp_path, framework, device):
    parts(pair, tmp_path)
    for load in (
        lambda: framework.load(pair.folder, device=device),
        lambda: framework.parts[1].from_pretrained(tmp_path / "d", device=device),
        lambda: framework.model_class.from_encoder_decoder_pretrained(tmp_path / "e", tmp_path / "d", device=device),
    ):
        with pytest.raises(InputError, match=f'device is "{device}".*cpu'):
            load()


@compiled_frameworks
def test_options_that_cannot_be(pair, framework):
    same_refusal(framework, InputError, "attn_implementation")(opened(pair.folder, attn_implementation="flash"))
    same_refusal(framework, InputError, "device_map")(opened(pair.folder, device_map={"encoder": 0, "decoder": 1}))


# Arrays of another framework.

STRANGERS = [(ours, came) for ours in ALL for came in ALL if ours != came]
CALLED = {"torch": "a PyTorch tensor", "jax": "a JAX array", "tensorflow": "a TensorFlow tensor"}


@pytest.mark.parametrize(("ours", "came"), STRANGERS, ids=[f"{came}_into_{ours}" for ours, came in STRANGERS])
def test_an_array_of_another_framework_is_named(pair, ours, came):
    model, own, other = loaded(ours, pair.folder), ALL[ours], ALL[came]
    ids, mask = np.full((2, 4), 7), np.ones((2, 4), np.int64)
    ours_ids, theirs, their_mask = own.array(ids), other.array(ids), other.array(mask)
    outputs = model.encode(ours_ids)
    stranger = (other.array(np.zeros((2, 4, 32), np.float32)),)
    calls = {
        "input_ids": [
            lambda: model(input_ids=theirs, decoder_input_ids=ours_ids),
            lambda: model.generate(theirs),
            lambda: model.encode(theirs),
        ],
        "attention_mask": [
            lambda: model(input_ids=ours_ids, attention_mask=their_mask, decoder_input_ids=ours_ids),
            lambda: model.generate(ours_ids, attention_mask=their_mask),
            lambda: model.encode(ours_ids, attention_mask=their_mask),
        ],
        "decoder_input_ids": [
            lambda: model(input_ids=ours_ids, decoder_input_ids=theirs),
            lambda: model.generate(ours_ids, decoder_input_ids=theirs),
            lambda: model.decode(theirs, outputs),
        ],
        "labels": [lambda: model(input_ids=ours_ids, labels=theirs)],
        "encoder_outputs": [
            lambda: model(encoder_outputs=stranger, decoder_input_ids=ours_ids),
            lambda: model.generate(encoder_outputs=stranger),
            lambda: model.decode(ours_ids, stranger),
            lambda: model.init_cache(2, 6, stranger),
        ],
        "encoder_attention_mask": [lambda: model.decode(ours_ids, outputs, encoder_attention_mask=their_mask)],
    }
    for name, refused in calls.items():
        for call in refused:
            with pytest.raises(InputError, match=rf"^{name} is {CALLED[came]}; .* was expected: .*np\.asarray"):
                call()


def test_generate_in_a_tf_function_of_unknown_shapes_says_what_to_pad_to(pair):
    import tensorflow as tf

    model = loaded("tensorflow", pair.folder)
    for shape in ([None, None], [2, None], [None, 4]):
        written = tf.function(
            lambda ids: model.generate(ids, max_new_tokens=3), input_signature=[tf.TensorSpec(shape, tf.int64)]
        )
        said = re.escape(str(tuple(shape)))
        with pytest.raises(InputError, match=rf"^generate\(\) .*tf\.function.*{said}; pad to one length"):
            written(tf.fill([2, 4], tf.constant(7, tf.int64)))
    whole = tf.function(
        lambda ids: model.generate(ids, max_new_tokens=3), input_signature=[tf.TensorSpec([2, 4], tf.int64)]
    )
    ids = tf.fill([2, 4], tf.constant(7, tf.int64))
    assert whole(ids).numpy().tolist() == pair.ours.generate(torch.full((2, 4), 7), max_new_tokens=3).tolist()


# Saving.


@compiled_frameworks
def test_a_full_disk_is_seen_before_anything_is_written(pair, framework, tmp_path, monkeypatch):
    used = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(checkpoint.shutil, "disk_usage", lambda path: used._replace(free=1000))
    target = tmp_path / "deep" / "new"
    for part in (lambda m: m, lambda m: m.encoder, lambda m: m.decoder):
        same_refusal(framework, CheckpointError, "MB", "nothing was written")(
            lambda f, part=part: part(loaded(f.name, pair.folder)).save_pretrained(target)
        )
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(params=[OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), RuntimeError("odd")])
def fails_halfway(request, monkeypatch):
    """Writing weights stops after the first bytes; returns what is raised."""
    import safetensors.numpy
    import safetensors.torch

    def broken(tensors, path, metadata=None):
        Path(path).write_bytes(b"half")
        raise request.param

    for module in (safetensors.numpy, safetensors.torch):
        monkeypatch.setattr(module, "save_file", broken)
    return CheckpointError if isinstance(request.param, OSError) else type(request.param)


@compiled_frameworks
def test_a_save_that_fails_leaves_no_folder_and_no_change(pair, framework, folder, fails_halfway):
    model, before = loaded(framework.name, pair.folder), snapshot(folder)
    for save in (model.save_pretrained, model.encoder.save_pretrained):
        for target in (folder, folder.parent / "new"):
            with pytest.raises(fails_halfway):
                save(target)
    assert snapshot(folder) == before
    assert [p.name for p in folder.parent.iterdir()] == ["broken"]


@compiled_frameworks
def test_saving_onto_a_file(pair, framework, tmp_path):
    (tmp_path / "taken").write_text("mine")
    same_refusal(framework, CheckpointError, "is a file")(
        lambda f: loaded(f.name, pair.folder).save_pretrained(tmp_path / "taken")
    )
    assert snapshot(tmp_path) == {"taken": b"mine"}


@compiled_frameworks
def test_saving_over_a_model_leaves_no_stale_weights(peer, framework, tmp_path):
    first, second = (loaded(framework.name, peer(*kinds).folder) for kinds in (("bert", "gpt2"), ("roberta", "bart")))
    first.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 3
    (tmp_path / "notes.txt").write_text("mine")
    for size, sharded in (("5GB", False), ("20KB", True), ("5GB", False)):
        second.save_pretrained(tmp_path, max_shard_size=size)
        assert (len(list(tmp_path.glob("*.safetensors"))) > 1) is sharded
        assert (tmp_path / "model.safetensors.index.json").exists() is sharded
        again = framework.named(framework.load(tmp_path))
        for name, expected in framework.named(second).items():
            assert np.array_equal(expected, again[name]), name
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_every_class_is_asked():
    assert {framework.class_name for framework in COMPILED.values()} | {TORCH.class_name} == {
        name for name in conjoin.__all__ if name.endswith("EncoderDecoderModel") and not name.startswith("Onnx")
    }
