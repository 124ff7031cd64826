"""Saving and loading: equal tensors under equal names, both ways with transformers 5.23, and from what 4.57.6 stored."""

import copy
import json
from pathlib import Path

import numpy as np
import peers
import pytest
import torch
import transformers
from peers import Peer, far, near
from safetensors.torch import load_file
from transformers.models.bart.modeling_bart import BartEncoder

from conjoin import AutoConfig, BertConfig, EncoderDecoderConfig, EncoderDecoderModel, RobertaConfig
from conjoin.torch import Decoder, Encoder

LOADABLE = [
    pair for pair in peers.PAIRS if pair[0] != "bart"
]  # transformers cannot rebuild a BART encoder from its config
UNTIED = (("tie_word_embeddings", False),)
every_pair = pytest.mark.parametrize(("encoder", "decoder"), peers.PAIRS)
every_decoder = pytest.mark.parametrize("decoder", peers.DECODERS)
SMALL = {
    "vocab_size": 61,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 37,
    "max_position_embeddings": 42,
    "initializer_range": 0.3,
}


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a folder, whatever its shards."""
    return {name: t for file in sorted(folder.glob("*.safetensors")) for name, t in load_file(file).items()}


def without_pooler(found: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A join has no pooler."""
    return {name: tensor for name, tensor in found.items() if "pooler" not in name}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    assert [n for n in a if a[n].dtype != b[n].dtype or not torch.equal(a[n], b[n])] == []


def computed(model, pair: Peer) -> torch.Tensor:
    with torch.no_grad():
        return model(**peers.source(pair), decoder_input_ids=peers.target(pair)).logits


@pytest.mark.parametrize("more", [(), UNTIED], ids=["tied", "untied"])
@pytest.mark.parametrize(("encoder", "decoder"), LOADABLE)
def test_transformers_opens_what_conjoin_saves_and_computes_the_same(peer, tmp_path, encoder, decoder, more):
    pair = peer(encoder, decoder, decoder_more=more)
    pair.ours.save_pretrained(tmp_path)
    again = transformers.EncoderDecoderModel.from_pretrained(tmp_path).eval()
    expected, found = (without_pooler(m.state_dict()) for m in (pair.theirs, again))
    if more and decoder in ("bert", "roberta"):  # transformers 5 has a second bias there, and does not use it
        unused = next(n for n in expected if n.endswith(peers.UNUSED_WHERE_UNTIED))
        del expected[unused], found[unused]
    same(expected, found)
    assert far(computed(pair.theirs, pair), computed(again, pair)) == 0
    given = {**peers.source(pair), "max_new_tokens": 8}
    assert again.generate(**given).tolist() == pair.ours.generate(**given).tolist()


@every_decoder
def test_the_weights_of_a_bart_encoders_join_fit_transformers_strictly(peer, tmp_path, decoder):
    pair = peer("bart", decoder)
    pair.ours.save_pretrained(tmp_path)
    model = copy.deepcopy(pair.theirs)
    for parameter in model.parameters():
        parameter.data.zero_()
    missing, unexpected = model.load_state_dict(tensors(tmp_path), strict=False)
    assert unexpected == []
    model.tie_weights()
    assert not [n for n in missing if n not in model.all_tied_weights_keys]
    assert far(computed(pair.theirs, pair), computed(model, pair)) == 0


@pytest.mark.parametrize("more", [(), UNTIED], ids=["tied", "untied"])
@every_pair
def test_a_folder_of_transformers_comes_out_as_it_went_in(peer, tmp_path, encoder, decoder, more):
    pair = peer(encoder, decoder, decoder_more=more)
    pair.ours.save_pretrained(tmp_path / "a")
    expected, found = without_pooler(tensors(pair.folder)), tensors(tmp_path / "a")
    if more and decoder in ("bert", "roberta"):
        unused = next(n for n in expected if n.endswith(peers.UNUSED_WHERE_UNTIED))
        del expected[unused], found[unused]
    same(expected, found)
    EncoderDecoderModel.from_pretrained(tmp_path / "a").save_pretrained(tmp_path / "b")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


@pytest.mark.parametrize(("encoder", "decoder"), LOADABLE)
def test_the_config_that_conjoin_writes_means_the_same_to_transformers(peer, tmp_path, encoder, decoder):
    """All that both know; special tokens too, and what each part is."""
    pair = peer(encoder, decoder)
    pair.ours.save_pretrained(tmp_path)
    a, b = (transformers.AutoConfig.from_pretrained(folder) for folder in (pair.folder, tmp_path))
    assert type(a) is type(b)
    for side in ("encoder", "decoder"):
        one, other = getattr(a, side).to_dict(), getattr(b, side).to_dict()
        known = set(AutoConfig.from_pretrained(tmp_path).part(side).names()) & one.keys()
        assert len(known) > 15
        assert {n: one[n] for n in known} == {n: other[n] for n in known}
    for name in ("pad_token_id", "decoder_start_token_id", "is_encoder_decoder"):
        assert getattr(a, name) == getattr(b, name)
    one, other = (transformers.GenerationConfig.from_pretrained(folder) for folder in (pair.folder, tmp_path))
    for name in ("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id", "forced_eos_token_id"):
        assert getattr(one, name) == getattr(other, name)


# Parts alone.


@pytest.mark.parametrize("encoder", peers.ENCODERS)
def test_an_encoder_saved_alone_opens_in_transformers_and_in_conjoin(peer, tmp_path, encoder):
    """A BART encoder opens with BartEncoder; AutoModel would take the folder for a whole BART."""
    pair = peer(encoder, "bert")
    pair.ours.encoder.save_pretrained(tmp_path)
    auto = BartEncoder if encoder == "bart" else transformers.AutoModel
    theirs = auto.from_pretrained(tmp_path).eval()
    assert type(theirs) is peers.THEIRS["encoder", encoder]
    same(without_pooler(pair.theirs.encoder.state_dict()), without_pooler(theirs.state_dict()))
    ours = Encoder.from_pretrained(tmp_path)
    same(pair.ours.encoder.state_dict(), ours.state_dict())
    assert ours.new_parameters == ()
    with torch.no_grad():
        a, b = (m(**peers.source(pair)).last_hidden_state for m in (theirs, ours))
    assert far(a, b) < 1e-5
    pair.theirs.encoder.save_pretrained(tmp_path / "theirs")
    same(pair.ours.encoder.state_dict(), Encoder.from_pretrained(tmp_path / "theirs").state_dict())


@pytest.mark.parametrize("more", [(), UNTIED], ids=["tied", "untied"])
@every_decoder
def test_a_decoder_saved_alone_opens_in_transformers_and_in_conjoin(peer, tmp_path, decoder, more):
    pair = peer("bert", decoder, decoder_more=more)
    pair.ours.decoder.save_pretrained(tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert type(theirs) is peers.THEIRS["decoder", decoder]
    states = torch.randn(4, 9, 24, generator=torch.Generator().manual_seed(0))
    given = {"input_ids": peers.target(pair), "encoder_hidden_states": states}
    ours = Decoder.from_pretrained(tmp_path)
    assert ours.new_parameters == ()
    same(pair.ours.decoder.state_dict(), ours.state_dict())
    with torch.no_grad():
        expected = pair.theirs.decoder(**given).logits
        assert far(expected, theirs(**given).logits) == 0
        assert far(expected, ours(**given).logits) < 1e-5
    pair.theirs.decoder.save_pretrained(tmp_path / "theirs")
    same(pair.ours.decoder.state_dict(), Decoder.from_pretrained(tmp_path / "theirs").state_dict())


@every_pair
def test_saved_parts_join_again_and_only_the_projection_is_new(peer, tmp_path, encoder, decoder):
    for widths in ((24, 24), (32, 24)):
        pair = peer(encoder, decoder, widths=widths)
        pair.ours.encoder.save_pretrained(tmp_path / "e")
        pair.ours.decoder.save_pretrained(tmp_path / "d")
        again = EncoderDecoderModel.from_encoder_decoder_pretrained(tmp_path / "e", tmp_path / "d")
        assert not again.training
        projection = ("enc_to_dec_proj.weight", "enc_to_dec_proj.bias")
        assert again.new_parameters == (projection if widths[0] != widths[1] else ())
        a, b = pair.ours.state_dict(), again.state_dict()
        same(*({n: t for n, t in s.items() if n not in projection} for s in (a, b)))
        if widths[0] != widths[1]:
            assert again.enc_to_dec_proj.weight.detach().std().item() == pytest.approx(0.02, rel=0.2)
            assert not again.enc_to_dec_proj.bias.any()
            again.enc_to_dec_proj.load_state_dict(pair.ours.enc_to_dec_proj.state_dict())
        assert far(computed(pair.ours, pair), computed(again, pair)) == 0


def test_ready_parts_join_by_value_or_by_name(peer, tmp_path):
    pair = peer("roberta", "gpt2", widths=(24, 24))
    joined = EncoderDecoderModel(encoder=pair.ours.encoder, decoder=pair.ours.decoder)
    assert joined.encoder is pair.ours.encoder
    assert joined.config.encoder is joined.encoder.config
    assert far(computed(pair.ours, pair), computed(joined, pair)) == 0
    copied = EncoderDecoderModel.from_encoder_decoder_pretrained(
        encoder_model=pair.ours.encoder, decoder_model=pair.ours.decoder
    )
    assert far(computed(pair.ours, pair), computed(copied, pair)) == 0
    copied.encoder.layers[0].ffn.up.weight.data.zero_()
    assert pair.ours.encoder.layers[0].ffn.up.weight.any()


@every_decoder
def test_new_cross_attention_is_named_and_born_as_asked(peer, tmp_path, decoder):
    if decoder == "bart":
        return  # brings its own
    plain = peers.THEIRS["decoder", decoder](
        peers.config(decoder, "decoder", width=24, heads=3, vocab=61, add_cross_attention=False, initializer_range=0.3)
    )
    peers.randomise(plain, 3)
    plain.save_pretrained(tmp_path / "d")
    pair = peer("bert", decoder, widths=(24, 24))
    pair.ours.encoder.save_pretrained(tmp_path / "e")

    def joined(how: str) -> EncoderDecoderModel:
        return EncoderDecoderModel.from_encoder_decoder_pretrained(
            tmp_path / "e", tmp_path / "d", cross_attention_init=how
        )

    new = [n for n, _ in joined("random").named_parameters() if ".cross" in n]
    assert sorted(joined("random").new_parameters) == sorted(new)
    assert len(new) == 2 * 10
    states = dict(joined("random").named_parameters())
    weight, norm = states["decoder.layers.0.cross.q.weight"], states["decoder.layers.1.cross_norm.weight"]
    assert weight.detach().std().item() == pytest.approx(0.3, rel=0.2)
    assert (norm == 1).all()
    copied = dict(joined("self_attention").named_parameters())
    for name in new:
        assert torch.equal(copied[name], copied[name.replace(".cross", ".attention")]), name
    gated = joined("zero_gate")
    for name in (n for n in new if not n.endswith("_gate")):  # the same copy, behind the gate
        assert torch.equal(dict(gated.named_parameters())[name], copied[name]), name
    plain.eval()
    with torch.no_grad():  # behind a closed gate the decoder is the language model that it was
        alone = plain(input_ids=peers.target(pair)).logits
        assert near(alone, computed(gated, pair), 1e-5)
        assert far(alone, computed(joined("random"), pair)) > 1e-2
    gated.decoder.layers[0].cross_gate.data.fill_(0.5)
    gated.save_pretrained(tmp_path / "gated")
    assert far(computed(gated, pair), computed(EncoderDecoderModel.from_pretrained(tmp_path / "gated"), pair)) == 0


def test_fewer_layers_are_the_first_of_the_file(peer, tmp_path):
    pair = peer("bart", "gpt2", widths=(24, 24))
    pair.ours.encoder.save_pretrained(tmp_path / "e")
    pair.ours.decoder.save_pretrained(tmp_path / "d")
    less = EncoderDecoderModel.from_encoder_decoder_pretrained(
        tmp_path / "e", tmp_path / "d", encoder_num_hidden_layers=1, decoder_num_hidden_layers=1
    )
    assert (len(less.encoder.layers), len(less.decoder.layers)) == (1, 1)
    whole = pair.ours.state_dict()
    assert all(torch.equal(tensor, whole[name]) for name, tensor in less.state_dict().items())
    theirs = copy.deepcopy(pair.theirs)
    theirs.encoder.layers, theirs.decoder.transformer.h = theirs.encoder.layers[:1], theirs.decoder.transformer.h[:1]
    assert far(computed(theirs, pair), computed(less, pair)) < 1e-5


# Shards and types.


@pytest.mark.parametrize(("encoder", "decoder"), [("bert", "gpt2"), ("roberta", "bart")])
def test_shards_are_written_and_read_by_both(peer, tmp_path, encoder, decoder):
    pair = peer(encoder, decoder)
    pair.ours.save_pretrained(tmp_path / "ours", max_shard_size="20KB")
    pair.theirs.save_pretrained(tmp_path / "theirs", max_shard_size="20KB")
    for folder in (tmp_path / "ours", tmp_path / "theirs"):
        assert len(list(folder.glob("model-*-of-*.safetensors"))) > 3
        assert not (folder / "model.safetensors").exists()
        model = EncoderDecoderModel.from_pretrained(folder)
        same(pair.ours.state_dict(), model.state_dict())
    theirs = transformers.EncoderDecoderModel.from_pretrained(tmp_path / "ours").eval()
    assert far(computed(pair.theirs, pair), computed(theirs, pair)) == 0
    index = json.loads((tmp_path / "ours" / "model.safetensors.index.json").read_text())
    assert index["weight_map"].keys() == tensors(tmp_path / "ours").keys()
    assert index["metadata"]["total_size"] == sum(t.nbytes for t in tensors(tmp_path / "ours").values())
    pair.ours.encoder.save_pretrained(tmp_path / "e", max_shard_size="10KB")
    same(pair.ours.encoder.state_dict(), Encoder.from_pretrained(tmp_path / "e").state_dict())


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_survives_a_round_trip_projection_included(peer, tmp_path, dtype):
    pair = peer("bert", "gpt2")
    half = EncoderDecoderModel.from_pretrained(pair.folder, dtype=dtype)
    half.save_pretrained(tmp_path)
    kind = getattr(torch, dtype)
    assert {t.dtype for t in tensors(tmp_path).values()} == {kind}
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == dtype
    again = EncoderDecoderModel.from_pretrained(tmp_path)
    assert {p.dtype for p in again.parameters()} == {kind}
    same(half.state_dict(), again.state_dict())
    expected = {n: t.to(kind) for n, t in pair.ours.state_dict().items()}
    same(expected, again.state_dict())
    theirs = transformers.EncoderDecoderModel.from_pretrained(tmp_path, dtype=kind)
    assert torch.equal(theirs.enc_to_dec_proj.weight, again.enc_to_dec_proj.weight)
    wide = EncoderDecoderModel.from_pretrained(tmp_path, dtype="float32")
    same({n: t.float() for n, t in expected.items()}, wide.state_dict())


def test_a_join_is_of_one_type(peer, tmp_path):
    pair = peer("bert", "gpt2")
    pair.ours.encoder.save_pretrained(tmp_path / "e")
    half = copy.deepcopy(pair.ours.decoder).to(torch.bfloat16)
    half.save_pretrained(tmp_path / "d")
    for asked, expected in (("bfloat16", torch.bfloat16), ("float16", torch.float16), (None, torch.float32)):
        joined = EncoderDecoderModel.from_encoder_decoder_pretrained(tmp_path / "e", tmp_path / "d", dtype=asked)
        assert {p.dtype for p in joined.parameters()} == {expected}
        assert computed(joined, pair).dtype == expected


# Generation settings and biases.


def test_generation_settings_survive(peer, tmp_path):
    pair = peer("bert", "gpt2")
    model = copy.deepcopy(pair.ours)
    settings = {
        "num_beams": 3,
        "max_length": 33,
        "min_length": 4,
        "early_stopping": "never",
        "length_penalty": 2.5,
        "no_repeat_ngram_size": 2,
        "repetition_penalty": 1.25,
        "suppress_tokens": [7, 9],
        "eos_token_id": [4, 8],
        "forced_bos_token_id": 10,
        "temperature": 0.7,
        "top_k": 12,
        "do_sample": False,
    }
    for name, value in settings.items():
        setattr(model.config, name, value)
    model.save_pretrained(tmp_path)
    again = EncoderDecoderModel.from_pretrained(tmp_path)
    assert again.config == model.config
    assert {n: getattr(again.generation_config, n) for n in settings} == settings
    with_settings = again.generate(**peers.source(pair)).tolist()
    assert with_settings == pair.ours.generate(**peers.source(pair), **settings).tolist()
    theirs = transformers.GenerationConfig.from_pretrained(tmp_path)
    assert {n: getattr(theirs, n) for n in settings} == settings


def test_a_forced_end_that_was_taken_away_stays_away(peer, tmp_path):
    """BART's own config forces its end token; a joined model that does not must not get it back."""
    pair = peer("roberta", "bart", decoder_more=(("forced_eos_token_id", 2),))
    assert pair.ours.config.decoder.forced_eos_token_id == 2
    assert pair.ours.config.generation.forced_eos_token_id is None
    pair.ours.save_pretrained(tmp_path)
    again = EncoderDecoderModel.from_pretrained(tmp_path)
    assert again.config.generation.forced_eos_token_id is None
    given = {**peers.source(pair), "max_new_tokens": 6}
    theirs = transformers.EncoderDecoderModel.from_pretrained(tmp_path)
    assert (
        again.generate(**given).tolist() == theirs.generate(**given).tolist() == pair.theirs.generate(**given).tolist()
    )


def test_barts_final_bias_is_kept(tmp_path):
    bart = transformers.BartForConditionalGeneration(
        peers.config("bart", "decoder", width=24, heads=3, vocab=61, is_encoder_decoder=True)
    )
    peers.randomise(bart, 0)
    bart.eval().save_pretrained(tmp_path / "bart")
    model = EncoderDecoderModel.from_encoder_decoder_pretrained(tmp_path / "bart", tmp_path / "bart")
    assert model.new_parameters == ()
    assert torch.equal(model.decoder.head.bias, bart.final_logits_bias[0])
    assert model.decoder.head.bias.abs().max().item() > 0.1
    model.save_pretrained(tmp_path / "joined")
    model.decoder.save_pretrained(tmp_path / "decoder")
    ids = torch.randint(5, 61, (3, 8))
    target = torch.randint(5, 61, (3, 6))
    with torch.no_grad():
        expected = bart(input_ids=ids, decoder_input_ids=target).logits
        for one in (
            model,
            EncoderDecoderModel.from_pretrained(tmp_path / "joined"),
            EncoderDecoderModel.from_encoder_decoder_pretrained(tmp_path / "bart", tmp_path / "decoder"),
        ):
            assert far(expected, one(input_ids=ids, decoder_input_ids=target).logits) < 1e-5
    assert "decoder.final_logits_bias" in tensors(tmp_path / "joined")


# Shared weights.


def shared(share: str, kind: str = "bert") -> EncoderDecoderModel:
    cls = BertConfig if kind == "bert" else RobertaConfig
    config = EncoderDecoderConfig.from_encoder_decoder_configs(
        cls(**SMALL), cls(**SMALL), share=share, decoder_start_token_id=5, pad_token_id=0, eos_token_id=4
    )
    return EncoderDecoderModel(config=config).eval()


def run(model) -> torch.Tensor:
    ids = torch.randint(6, 61, (3, 8), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=torch.ones_like(ids), decoder_input_ids=ids[:, :5]).logits


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_a_model_that_shares_all_is_stored_once_and_comes_back_shared(tmp_path, kind):
    model = shared("all", kind)
    model.save_pretrained(tmp_path)
    names = tensors(tmp_path)
    assert names
    assert all(name.startswith("decoder.") for name in names)
    again = EncoderDecoderModel.from_pretrained(tmp_path)
    decoder = dict(again.decoder.named_parameters())
    for name, parameter in again.encoder.named_parameters():
        assert parameter is decoder[name], name
        assert parameter.data_ptr() == decoder[name].data_ptr()
    assert far(run(model), run(again)) == 0
    again.save_pretrained(tmp_path / "again")
    same(names, tensors(tmp_path / "again"))


def test_a_model_that_shares_its_embeddings_is_stored_once_and_comes_back_shared(tmp_path):
    model = shared("embeddings")
    model.save_pretrained(tmp_path)
    names = tensors(tmp_path)
    assert "encoder.embeddings.word_embeddings.weight" not in names
    assert "encoder.embeddings.position_embeddings.weight" in names
    again = EncoderDecoderModel.from_pretrained(tmp_path)
    assert again.encoder.embed.token.weight is again.decoder.embed.token.weight
    assert again.encoder.embed.position.weight is not again.decoder.embed.position.weight
    assert far(run(model), run(again)) == 0


@pytest.mark.parametrize("share", ["all", "embeddings"])
def test_duplicate_shared_makes_a_folder_that_transformers_5_reads_right(tmp_path, share):
    model = shared(share)
    model.save_pretrained(tmp_path / "twice", duplicate_shared=True)
    theirs = transformers.EncoderDecoderModel.from_pretrained(tmp_path / "twice").eval()
    assert far(run(model), run(theirs)) < 1e-5
    again = EncoderDecoderModel.from_pretrained(tmp_path / "twice")  # the flag counts here, and it is shared as before
    assert again.config.share == share
    assert again.encoder.embed.token.weight is again.decoder.embed.token.weight
    assert again.num_parameters() == model.num_parameters()
    assert far(run(model), run(again)) == 0


def test_joining_one_checkpoint_with_itself_shares_it(peer, tmp_path):
    masked = transformers.BertForMaskedLM(peers.config("bert", "encoder", width=24, heads=3, vocab=61))
    peers.randomise(masked, 0)
    masked.save_pretrained(tmp_path)
    model = EncoderDecoderModel.from_encoder_decoder_pretrained(tmp_path, tmp_path, share="all")
    assert {n.split(".")[3][:5] for n in model.new_parameters} == {"cross"}
    same_name = dict(model.decoder.named_parameters())
    assert all(p is same_name[n] for n, p in model.encoder.named_parameters())
    ids = torch.randint(6, 61, (2, 7))
    masked.eval()
    with torch.no_grad():
        expected = masked.bert(ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        assert far(expected, model.encoder(ids, attention_mask=torch.ones_like(ids)).last_hidden_state) < 1e-5


# What transformers 4.57.6 stored.

JOINED = (
    "bert_bert bert_gpt2 bert_gpt2_inner bert_gpt2_scaled bert_roberta bert_shared bin legacy_generation "
    "old_names_bert_bert roberta_bart roberta_gpt2 roberta_roberta roberta_shared sharded"
).split()
PLAIN = {
    "do_sample": False,
    "max_new_tokens": 12,
    "min_length": 0,
    "no_repeat_ngram_size": 0,
    "early_stopping": False,
    "length_penalty": 1.0,
}


def read(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    found = {name: torch.tensor(value) for name, value in np.load(folder / "expected.npz").items()}
    return {n: found[n] for n in ("input_ids", "attention_mask")}, found


@pytest.mark.parametrize("case", JOINED)
def test_a_folder_of_transformers_4_computes_what_it_computed_there(stored, tmp_path, case):
    folder = stored(case)
    source, expected = read(folder)
    model = EncoderDecoderModel.from_pretrained(folder)
    out = model(**source, decoder_input_ids=expected["decoder_input_ids"])
    assert near(expected["encoder_last_hidden_state"], out.encoder_last_hidden_state, 1e-5)
    assert near(expected["logits"], out.logits, 1e-5)
    trained = model(**source, labels=expected["labels"])
    assert near(expected["labels_logits"], trained.logits, 1e-5)
    assert near(expected["loss"], trained.loss, 1e-6)
    trained.loss.backward()
    gradients = peers.gradients(model)
    compared = [name for name in expected if name.startswith("grad:")]
    assert len(compared) >= 3
    for name in compared:
        theirs, ours = expected[name], gradients[name.removeprefix("grad:")]
        if "embed" in name:  # transformers never trains the padding's row where padding is read
            theirs[model.config.pad_token_id], ours[model.config.pad_token_id] = 0, 0
        assert near(theirs, ours, 1e-5), name
    model.save_pretrained(tmp_path)
    again = EncoderDecoderModel.from_pretrained(tmp_path)
    with torch.no_grad():
        assert far(out.logits, again(**source, decoder_input_ids=expected["decoder_input_ids"]).logits) == 0


@torch.no_grad()
def test_learned_distances_of_transformers_4(stored, tmp_path):
    """Its decoder takes every token of a pass with a cache for the last one, so that the stored logits of whole passes say

    nothing but for their first token; what it said token by token counts, in the test of generation and here.
    """
    folder = stored("bert_bert_relative")
    source, expected = read(folder)
    model = EncoderDecoderModel.from_pretrained(folder)
    tokens = expected["greedy_tokens"]
    out = model(**source, decoder_input_ids=tokens, decoder_attention_mask=torch.ones_like(tokens))
    assert near(expected["encoder_last_hidden_state"], out.encoder_last_hidden_state, 1e-5)
    going = (tokens[:, :-1] != model.config.eos_token_id).cumprod(1).bool()
    assert torch.equal(out.logits.argmax(-1)[:, :-1][going], tokens[:, 1:][going])
    first = model(**source, decoder_input_ids=expected["decoder_input_ids"][:, :1]).logits
    assert near(expected["logits"][:, :1], first, 1e-5)
    model.save_pretrained(tmp_path)
    assert EncoderDecoderModel.from_pretrained(tmp_path).config.to_dict() == model.config.to_dict()


@pytest.mark.parametrize("case", [*JOINED, "bert_bert_relative"])
def test_a_folder_of_transformers_4_generates_what_it_generated_there(stored, case):
    folder = stored(case)
    source, expected = read(folder)
    model = EncoderDecoderModel.from_pretrained(folder)
    assert model.generate(**source, **PLAIN, num_beams=1).tolist() == expected["greedy_tokens"].tolist()
    for name, count in (("beam4", 1), ("beam4_nbest", 4)):
        out = model.generate(
            **source, **PLAIN, num_beams=4, num_return_sequences=count, return_dict_in_generate=True, output_scores=True
        )
        assert out.sequences.tolist() == expected[f"{name}_tokens"].tolist()
        assert near(expected[f"{name}_scores"], out.sequences_scores, 1e-5)


def test_generation_settings_in_an_old_config_count(stored):
    folder = stored("legacy_generation")
    assert not (folder / "generation_config.json").exists()
    source, expected = read(folder)
    model = EncoderDecoderModel.from_pretrained(folder)
    assert (model.config.num_beams, model.config.no_repeat_ngram_size, model.config.min_length) == (4, 2, 7)
    assert model.generate(**source).tolist() == expected["config_tokens"].tolist()
    assert model.generate(**source, num_beams=1).tolist() != expected["config_tokens"].tolist()


def test_a_bin_folder_holds_what_the_same_safetensors_folder_holds(stored):
    """Both were made from one seed, as was the sharded one."""
    plain, bin_, sharded = (
        EncoderDecoderModel.from_pretrained(stored(c)).state_dict() for c in ("bert_bert", "bin", "sharded")
    )
    same(plain, bin_)
    same(plain, sharded)


def test_an_old_gpt2_folder_is_a_decoder(stored):
    """Names without `transformer.`, with mask buffers, from before cross-attention."""
    folder = stored("old_names_gpt2")
    source, expected = read(folder)
    decoder = Decoder.from_pretrained(folder)
    assert decoder.new_parameters
    assert all(".cross" in name for name in decoder.new_parameters)
    with torch.no_grad():
        out = decoder(**source, output_hidden_states=True)
    real = source["attention_mask"] == 1
    assert near(expected["logits"][real], out.logits[real], 1e-5)
    assert near(expected["last_hidden_state"][real], out.hidden_states[-1][real], 1e-5)


def test_an_old_masked_bert_is_an_encoder_and_a_decoder(stored):
    """Names with `bert.` and `cls.`, gamma and beta."""
    folder = stored("old_names_bert_mlm")
    source, expected = read(folder)
    types = expected["token_type_ids"]
    encoder, decoder = Encoder.from_pretrained(folder), Decoder.from_pretrained(folder)
    assert encoder.new_parameters == ()
    assert {name.split(".")[2][:5] for name in decoder.new_parameters} == {"cross"}
    with torch.no_grad():
        states = encoder(**source, token_type_ids=types).last_hidden_state
        logits = decoder(**source).logits
    assert near(expected["last_hidden_state"], states, 1e-5)
    real = source["attention_mask"] == 1
    assert near(expected["causal_logits"][real], logits[real], 1e-5)


def test_a_whole_bart_is_an_encoder_and_a_decoder_of_one_table(stored):
    folder = stored("bart_shared_table")
    source, expected = read(folder)
    model = EncoderDecoderModel.from_encoder_decoder_pretrained(folder, folder, share="embeddings")
    assert model.new_parameters == ()
    assert model.encoder.embed.token.weight is model.decoder.embed.token.weight
    ids = expected["decoder_input_ids"]
    with torch.no_grad():
        out = model(**source, decoder_input_ids=ids)
        alone = model.decoder(input_ids=ids).logits - model.decoder.head.bias
        crossed = model.decoder(
            input_ids=ids,
            encoder_hidden_states=expected["encoder_hidden_states"],
            encoder_attention_mask=source["attention_mask"],
        ).logits
    assert near(expected["encoder_last_hidden_state"], out.encoder_last_hidden_state, 1e-5)
    assert near(expected["logits"], out.logits, 1e-5)
    assert near(expected["causal_logits"], alone, 1e-5)
    assert near(expected["causal_cross_logits"], crossed - model.decoder.head.bias, 1e-5)
    tokens = {"decoder_start_token_id": 2, "forced_eos_token_id": 2}
    assert model.generate(**source, **PLAIN, num_beams=1, **tokens).tolist() == expected["greedy_tokens"].tolist()
    assert model.generate(**source, **PLAIN, num_beams=4, **tokens).tolist() == expected["beam4_tokens"].tolist()


def test_stored_processed_distributions_equal(stored):
    """What transformers 4.57.6 made of next-token scores under each sampling setting that is built."""
    from conjoin.backends import torch as ops
    from conjoin.decoding import rules
    from conjoin.decoding.settings import resolve

    found = {n: torch.tensor(v) for n, v in np.load(stored("bert_bert") / "sampling.npz").items()}
    model = EncoderDecoderModel.from_pretrained(stored("bert_bert"))
    together = {"temperature": 0.7, "top_k": 11, "top_p": 0.8, "repetition_penalty": 1.3, "no_repeat_ngram_size": 2}
    off = {"temperature": 1.0, "top_k": 0, "top_p": 1.0}
    cases = {"probabilities": together, "probabilities_hot": {**together, "temperature": 3.0}}
    for name in [*together, "min_p"]:
        cases[f"alone:{name}"] = {**off, name: found[f"setting:{name}"].item()}
    prefix = found["decoder_input_ids"]
    for name, settings in cases.items():
        config = model.config.generation.updated({**settings, "do_sample": True})
        ready = resolve(config, prompt=prefix.shape[1], positions=40, vocab=61)
        scores = found["next_logits"][:, None]
        for rule in [*rules.processors(ops, ready, None), *rules.warpers(ops, ready)]:
            scores = rule(prefix[:, None], prefix.shape[1], scores)
        assert far(found[name], scores[:, 0].double().softmax(-1)) < 1e-6, name
