"""Defects of transformers' EncoderDecoderModel that a script meets first, one test each, showing that ours is right."""

import copy

import numpy as np
import peers
import pytest
import torch
import transformers
from peers import far, near

import conjoin.decoding.generate as generating
from conjoin import BertConfig, EncoderDecoderConfig, EncoderDecoderModel, GPT2Config, RobertaConfig

SMALL = {
    "vocab_size": 61,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 37,
    "max_position_embeddings": 42,
}


def bert2bert(**settings) -> EncoderDecoderModel:
    config = EncoderDecoderConfig.from_encoder_decoder_configs(BertConfig(**SMALL), BertConfig(**SMALL), **settings)
    return EncoderDecoderModel(config=config).eval()


def batch(rows: int = 4):
    draw = torch.Generator().manual_seed(1)
    ids = torch.randint(6, 61, (rows, 9), generator=draw)
    labels = torch.randint(6, 61, (rows, 7), generator=draw)
    for row, real in enumerate((7, 2, 5, 1)):
        labels[row, real:] = -100
    return ids, labels


def test_1_tie_encoder_decoder_ties(tmp_path):
    """Defect: transformers 5 stores the flag and ignores it, so a "shared" model has two sets of weights."""
    config = EncoderDecoderConfig.from_encoder_decoder_configs(
        RobertaConfig(**SMALL), RobertaConfig(**SMALL), tie_encoder_decoder=True
    )
    tied = EncoderDecoderModel(config=config)
    own = {p.data_ptr() for n, p in tied.decoder.named_parameters() if "cross" not in n and "head" not in n}
    assert {p.data_ptr() for p in tied.encoder.parameters()} == own
    assert tied.num_parameters() == tied.decoder.num_parameters()
    tied.decoder.layers[0].ffn.up.weight.data.fill_(0.125)
    assert far(tied.encoder.layers[0].ffn.up.weight, torch.full((37, 24), 0.125)) == 0
    # It stays one set of weights in training, and after a save.
    ids, labels = batch()
    optimizer = torch.optim.SGD(tied.parameters(), lr=0.1)
    tied.config.decoder_start_token_id = 0
    tied(input_ids=ids, labels=labels).loss.backward()
    optimizer.step()
    tied.save_pretrained(tmp_path)
    again = EncoderDecoderModel.from_pretrained(tmp_path)
    assert again.config.share == "all"
    assert again.num_parameters() == tied.num_parameters()
    for model in (tied, again):
        a, b = model.encoder.layers[1].attention.q.weight, model.decoder.layers[1].attention.q.weight
        assert a is b
    tied.eval()
    with torch.no_grad():
        assert far(tied(input_ids=ids, labels=labels).logits, again(input_ids=ids, labels=labels).logits) == 0


@pytest.mark.parametrize("case", ["roberta_shared", "bert_shared"])
def test_2_a_shared_checkpoint_of_transformers_4_keeps_its_encoder(stored, case):
    """Defect: transformers 5 finds no encoder in such a file, and starts it at random."""
    folder = stored(case)
    expected = np.load(folder / "expected.npz")
    given = {name: torch.tensor(expected[name]) for name in ("input_ids", "attention_mask", "decoder_input_ids")}
    ours = EncoderDecoderModel.from_pretrained(folder)
    with torch.no_grad():
        out = ours(**given)
        assert far(torch.tensor(expected["encoder_last_hidden_state"]), out.encoder_last_hidden_state) < 1e-5
        assert far(torch.tensor(expected["logits"]), out.logits) < 1e-5
        theirs = transformers.EncoderDecoderModel.from_pretrained(folder).eval()
        assert far(torch.tensor(expected["logits"]), theirs(**given).logits) > 1e-2  # the defect is still there
    assert ours.encoder.layers[0].attention.q.weight is ours.decoder.layers[0].attention.q.weight


@pytest.mark.parametrize("keep", [True, False], ids=["with_logits", "without_logits"])
def test_4_gradient_accumulation_is_the_mean_over_all_tokens(keep):
    """Defect: transformers takes the mean of each part's mean, or with Trainer their sum."""
    model = bert2bert(decoder_start_token_id=2)
    ids, labels = batch()
    whole = model(input_ids=ids, labels=labels).loss
    whole.backward()
    expected = peers.gradients(model)
    expected = {name: gradient.clone() for name, gradient in expected.items()}
    model.zero_grad(set_to_none=True)
    count = (labels != -100).sum()
    total = 0.0
    for row in range(4):
        part = model(
            input_ids=ids[row : row + 1], labels=labels[row : row + 1], num_items_in_batch=count, return_logits=keep
        ).loss
        part.backward()
        total += part.item()
    assert abs(total - whole.item()) < 1e-5
    found = peers.gradients(model)
    assert max(float(g.abs().max()) for g in expected.values()) > 1e-2
    for name, gradient in expected.items():
        assert near(gradient, found[name], 1e-5), name


def test_5_a_bart_decoder_keeps_its_embedding_and_head(tmp_path):
    """Defect: a BART file holds its embedding as `model.shared.weight`, which BartForCausalLM does not look for."""
    bart = transformers.BartForConditionalGeneration(
        peers.config("bart", "decoder", width=24, heads=3, vocab=61, is_encoder_decoder=True, scale_embedding=True)
    )
    peers.randomise(bart, 0)
    bart.save_pretrained(tmp_path / "bart")
    bert = transformers.BertModel(peers.config("bert", "encoder", width=24, heads=3, vocab=47))
    peers.randomise(bert, 1)
    bert.eval().save_pretrained(tmp_path / "bert")
    ours = EncoderDecoderModel.from_encoder_decoder_pretrained(tmp_path / "bert", tmp_path / "bart")
    assert ours.new_parameters == ()
    assert far(ours.decoder.get_input_embeddings().weight, bart.model.shared.weight) == 0
    bart.eval()
    ids, labels = batch()
    ids = ids % 41 + 5
    with torch.no_grad():
        states = bert(input_ids=ids).last_hidden_state
        inside = bart.model.decoder(input_ids=labels.clamp(min=5), encoder_hidden_states=states).last_hidden_state
        expected = bart.lm_head(inside) + bart.final_logits_bias
        found = ours(input_ids=ids, decoder_input_ids=labels.clamp(min=5)).logits
    assert bart.final_logits_bias.abs().max() > 0.1
    assert near(expected, found, 1e-6)
    theirs = transformers.EncoderDecoderModel.from_encoder_decoder_pretrained(tmp_path / "bert", tmp_path / "bart")
    assert (
        far(theirs.decoder.get_input_embeddings().weight, bart.model.shared.weight) > 0.1
    )  # the defect is still there


def test_6_tokens_set_after_construction_reach_training_generation_and_the_disk(tmp_path):
    """Defect: transformers' documented recipe trains, and then generate() finds no start token."""
    model = bert2bert()
    ids, labels = batch()
    model.config.decoder_start_token_id = 7
    model.config.pad_token_id = 9
    model.config.eos_token_id = 8
    shifted = model.prepare_decoder_input_ids_from_labels(labels)
    assert shifted[:, 0].tolist() == [7] * 4
    assert shifted[3].tolist()[2:] == [9] * 5
    assert model.generation_config.decoder_start_token_id == 7
    model.save_pretrained(tmp_path)
    again = EncoderDecoderModel.from_pretrained(tmp_path)
    theirs = transformers.EncoderDecoderModel.from_pretrained(tmp_path).eval()
    for one in (model, again):
        made = one.generate(ids, max_new_tokens=5)
        assert made[:, 0].tolist() == [7] * 4
        assert (one.config.decoder_start_token_id, one.config.pad_token_id, one.config.eos_token_id) == (7, 9, 8)
    mask = torch.ones_like(ids)
    assert theirs.generate(ids, attention_mask=mask, max_new_tokens=5).tolist() == made.tolist()
    model.generation_config.decoder_start_token_id = 11  # the other way round
    assert model.config.decoder_start_token_id == 11
    assert model.generate(ids, max_new_tokens=2)[:, 0].tolist() == [11] * 4


def test_7_two_plain_configs_make_a_causal_decoder_that_reads_the_source():
    """Defect: the class docstring's example makes a decoder that sees the future and no source."""
    encoder, decoder = BertConfig(**SMALL, initializer_range=0.3), BertConfig(**SMALL, initializer_range=0.3)
    model = EncoderDecoderModel(config=EncoderDecoderConfig(encoder=encoder, decoder=decoder)).eval()
    ids, labels = batch()
    target = labels.clamp(min=6)
    with torch.no_grad():
        plain = model(input_ids=ids, decoder_input_ids=target).logits
        other_source = model(input_ids=ids.flip(0), decoder_input_ids=target).logits
        other_end = target.clone()
        other_end[:, 4:] = 13
        future = model(input_ids=ids, decoder_input_ids=other_end).logits
    assert far(plain, other_source) > 1e-2
    assert far(plain[:, :4], future[:, :4]) < 1e-6
    assert far(plain[:, 4:], future[:, 4:]) > 1e-2
    assert not decoder.is_decoder  # the caller's object is as it was


@pytest.mark.parametrize("settings", [{}, {"num_beams": 4}, {"do_sample": True, "num_return_sequences": 3}])
def test_11_the_source_is_projected_and_its_keys_computed_once(settings):
    """Defect: transformers projects the source at every step."""
    config = EncoderDecoderConfig.from_encoder_decoder_configs(
        BertConfig(**{**SMALL, "hidden_size": 32, "num_attention_heads": 4}),
        GPT2Config(vocab_size=61, n_embd=24, n_layer=2, n_head=3, n_positions=40, bos_token_id=3, eos_token_id=4),
        pad_token_id=0,
    )
    model = EncoderDecoderModel(config=config).eval()
    counted: dict[str, list[torch.Size]] = {}
    watched = {"projection": model.enc_to_dec_proj, "source": model.encoder.layers[0].attention.q}
    for i, layer in enumerate(model.decoder.layers):
        watched |= {f"key {i}": layer.cross.k, f"value {i}": layer.cross.v, f"query {i}": layer.cross.q}
    for name, module in watched.items():
        module.register_forward_hook(lambda m, given, out, n=name: counted.setdefault(n, []).append(given[0].shape[:2]))
    ids, _ = batch()
    made = model.generate(ids, max_new_tokens=12, suppress_tokens=[4], **settings)
    assert made.shape[1] == 13
    for name, shapes in counted.items():
        if name.startswith("query"):
            assert len(shapes) == 12
        else:
            assert shapes == [torch.Size([4, 9])], name  # once, and once a source rather than once a beam
    assert len(counted) == 8


def test_11_beams_move_without_a_copy_of_the_cache(peer, monkeypatch):
    """Defect: transformers copies the cache, the source's too, whenever beams change places: at every step."""
    pair = peer("roberta", "gpt2", vocab=(17, 17))
    where, crossed, moved = [], [], []
    advance = generating.advance

    def watched(ops, model, state):
        where.append([t.data_ptr() for pair_ in state.cache for t in pair_])
        crossed.append([t.data_ptr() for pair_ in state.memory for t in pair_])
        if state.lineage is not None:
            moved.append(bool((state.lineage[:, :, 1:].sum(1) > 1).any()))  # a slot in the past of two beams
        return advance(ops, model, state)

    monkeypatch.setattr(generating, "advance", watched)
    given = peers.source(pair, rows=4)
    settings = {"num_beams": 4, "max_new_tokens": 12, "suppress_tokens": [peers.EOS]}
    ours = pair.ours.generate(**given, **settings)
    assert len(where) == 11
    assert all(now == where[0] for now in where)
    assert all(now == crossed[0] for now in crossed)
    assert any(moved)  # beams did share a past, so there was something to move
    assert ours.tolist() == pair.theirs.generate(**given, **settings).tolist()


def test_3_padding_is_inferred_when_no_mask_is_given(peer):
    """Defect: transformers 5's generate() reads the padding as if it were text."""
    pair = peer("bert", "gpt2", vocab=(17, 17))
    given = peers.source(pair)
    with_mask = pair.ours.generate(**given, max_new_tokens=10).tolist()
    assert pair.ours.generate(given["input_ids"], max_new_tokens=10).tolist() == with_mask
    states = copy.deepcopy(pair.ours).encoder(given["input_ids"]).last_hidden_state
    masked = pair.theirs.encoder(**given).last_hidden_state
    assert near(masked[given["attention_mask"] == 1], states[given["attention_mask"] == 1], 1e-5)
