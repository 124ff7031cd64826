"""What `generate` returns beside sequences, equal to transformers 5.23 in shape and value; guidance, by hand."""

import copy
import logging

import peers
import pytest
import torch
from peers import Peer, near
from test_generation_parity import LENGTH, TINY, ids
from test_generation_rules import MODES

from conjoin import InputError
from conjoin.decoding import budget
from conjoin.seq2seq import DecoderCache

ALL = {f"output_{name}": True for name in ("scores", "logits", "attentions", "hidden_states")}
every_mode = pytest.mark.parametrize("mode", MODES)


def prompts(pair: Peer) -> dict[str, dict[str, torch.Tensor]]:
    """None, one with the start token, and one with padding before it."""
    words = peers.target(pair, rows=4, length=3)
    mask = torch.ones_like(words)
    mask[1, :2], mask[2, :1] = 0, 0
    return {
        "none": {},
        "started": {"decoder_input_ids": torch.cat([torch.full((4, 1), peers.START), words], 1)},
        "padded": {"decoder_input_ids": words.masked_fill(mask == 0, pair.pad), "decoder_attention_mask": mask},
    }


def their_past(cache, side: str):
    """Keys and values of each layer of transformers' cache."""
    return tuple((layer.keys, layer.values) for layer in getattr(cache, f"{side}_attention_cache").layers)


def alike(theirs, ours, name: str) -> int:
    """How many arrays were compared, of nested tuples of one shape."""
    if isinstance(theirs, tuple):
        assert isinstance(ours, tuple)
        assert len(theirs) == len(ours), name
        return sum(alike(a, b, f"{name}.{i}") for i, (a, b) in enumerate(zip(theirs, ours, strict=True)))
    assert theirs.shape == ours.shape, name
    finite = torch.isfinite(theirs)
    assert torch.equal(finite, torch.isfinite(ours)), name
    assert near(theirs.masked_fill(~finite, 0).float(), ours.masked_fill(~finite, 0).float(), 1e-4), name
    return 1


@every_mode
@pytest.mark.parametrize("prompt", ["none", "started", "padded"])
@pytest.mark.parametrize(("encoder", "decoder"), [("bert", "gpt2"), ("roberta", "bart"), ("bart", "roberta")])
def test_all_outputs_equal(peer, encoder, decoder, prompt, mode):
    pair = peer(encoder, decoder, **TINY)
    their_model = peers.eager(pair)
    their_model.generation_config = copy.deepcopy(pair.theirs.generation_config)
    found = []
    for model in (their_model, pair.ours):
        torch.manual_seed(5)
        given = {**ids(pair, 4), **prompts(pair)[prompt], **MODES[mode], **ALL, "max_new_tokens": 7}
        found.append(model.generate(**given, return_dict_in_generate=True))
    theirs, ours = found
    assert list(theirs) == list(ours)
    compared = {name: alike(theirs[name], ours[name], name) for name in theirs if name != "past_key_values"}
    steps = len(ours.scores)
    assert compared["decoder_attentions"] == compared["cross_attentions"] == 2 * steps
    assert compared["decoder_hidden_states"] == 3 * steps
    cache = ours.past_key_values
    assert alike(their_past(theirs.past_key_values, "self"), tuple(cache.own), "own") == 4
    assert alike(their_past(theirs.past_key_values, "cross"), tuple(cache.cross), "cross") == 4
    for normalised in (False, True):
        chosen = [
            model.compute_transition_scores(out.sequences, out.scores, out.get("beam_indices"), normalised)
            for model, out in ((their_model, theirs), (pair.ours, ours))
        ]
        assert alike(*chosen, "transitions") == 1


@pytest.mark.parametrize("mode", ["beam", "sample"])
def test_the_engines_kernels_leave_the_same_behind(peer, monkeypatch, mode):
    pair = peer("bert", "gpt2", **TINY)
    asked = {**ids(pair, 4), **prompts(pair)["padded"], **MODES[mode], "seed": 5, "max_new_tokens": 6}
    asked |= {"guidance_scale": 1.4, "negative_prompt_ids": torch.tensor([[7, 9, 11, 6]])}
    for more in (ALL, {"output_scores": True, "output_logits": True}):
        found = []
        for engine in ("torch", "native"):
            monkeypatch.setenv("CONJOIN_ENGINE", engine)
            found.append(pair.ours.generate(**asked, **more, return_dict_in_generate=True))
        plain, native = found
        assert plain.sequences.tolist() == native.sequences.tolist()
        for name in set(plain) - {"past_key_values"}:
            alike(plain[name], native[name], name)
        alike(tuple(plain.past_key_values.own), tuple(native.past_key_values.own), "own")
        alike(tuple(plain.past_key_values.cross), tuple(native.past_key_values.cross), "cross")


def test_the_sum_of_a_beams_transitions_is_its_score(peer):
    pair = peer("bert", "gpt2", **TINY)
    asked = {"num_beams": 4, "num_return_sequences": 4, "length_penalty": 1.3, "max_new_tokens": LENGTH}
    made = pair.ours.generate(**ids(pair), **asked, return_dict_in_generate=True, output_scores=True)
    chosen = pair.ours.compute_transition_scores(made.sequences, made.scores, made.beam_indices)
    assert near(chosen.sum(1) / (made.beam_indices >= 0).sum(1) ** 1.3, made.sequences_scores, 1e-5)


def test_the_cache_goes_on_where_the_search_stopped(peer):
    pair = peer("bert", "gpt2", **TINY)
    made = pair.ours.generate(**ids(pair), max_new_tokens=5, eos_token_id=None, return_dict_in_generate=True)
    assert isinstance(made.past_key_values, DecoderCache)
    assert made.past_key_values.get_seq_length() == 5
    given = {"encoder_outputs": pair.ours.encode(**ids(pair)), "attention_mask": ids(pair)["attention_mask"]}
    with torch.no_grad():
        whole = pair.ours(**given, decoder_input_ids=made.sequences).logits[:, -1:]
        last = made.sequences[:, -1:]
        step = pair.ours(**given, decoder_input_ids=last, past_key_values=made.past_key_values).logits
    assert near(whole, step, 1e-5)


def test_outputs_come_only_where_they_are_asked_for_and_can_be_changed(peer, caplog):
    pair = peer("bert", "gpt2", **TINY)
    given = {**ids(pair), "max_new_tokens": 4}
    made = pair.ours.generate(**given, return_dict_in_generate=True, use_cache=False)
    assert list(made) == ["sequences"]
    assert list(pair.ours.generate(**given, num_beams=2, return_dict_in_generate=True)) == [
        "sequences",
        "beam_indices",
        "past_key_values",
    ]
    with caplog.at_level(logging.WARNING, logger="conjoin"):
        assert isinstance(pair.ours.generate(**given, output_scores=True), torch.Tensor)
    assert "output_scores: nothing reads it without return_dict_in_generate=True." in caplog.text
    scores = pair.ours.generate(**given, output_scores=True, return_dict_in_generate=True).scores
    scores[0][0] = 0.0  # no tensor of inference mode
    assert scores[0].requires_grad_().sum().requires_grad


def test_states_that_came_with_encoder_outputs_are_returned(peer):
    pair = peer("bert", "gpt2", **TINY)
    given = ids(pair)
    outputs = pair.ours.encode(**given, output_hidden_states=True, output_attentions=True)
    asked = {"output_hidden_states": True, "output_attentions": True, "return_dict_in_generate": True}
    whole = pair.ours.generate(**given, **asked, max_new_tokens=3)
    again = pair.ours.generate(
        encoder_outputs=outputs, attention_mask=given["attention_mask"], **asked, max_new_tokens=3
    )
    for name in ("encoder_hidden_states", "encoder_attentions"):
        alike(whole[name], again[name], name)


# What is asked for in vain.


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"top_k": 5, "temperature": 0.3}, "temperature, top_k: nothing reads it without do_sample=True."),
        ({"early_stopping": True}, "early_stopping: nothing reads it without num_beams above 1."),
        ({"output_logits": True}, "output_logits: nothing reads it without return_dict_in_generate=True."),
    ],
)
def test_what_nothing_reads_is_said_and_changes_nothing(peer, caplog, asked, message):
    pair = peer("bert", "gpt2", **TINY)
    plain = pair.ours.generate(**ids(pair), max_new_tokens=5).tolist()
    with caplog.at_level(logging.WARNING, logger="conjoin"):
        assert pair.ours.generate(**ids(pair), max_new_tokens=5, **asked).tolist() == plain
        assert [record.message for record in caplog.records] == [message]
        caplog.clear()
        model = copy.deepcopy(pair.ours)
        for name, value in asked.items():
            setattr(model.config.generation, name, value)
        assert model.generate(**ids(pair), max_new_tokens=5).tolist() == plain
        assert not caplog.records  # a model's own settings are nobody's mistake


# Guidance, which transformers does not have for these models.


def guided_logits(pair, source, mask, target, scale):
    """Log-probabilities after a target under a source, led away from a short source, from two whole passes."""
    with torch.no_grad():
        negative = torch.tensor([[7, 9, 11]]).repeat(len(source), 1)
        own = pair.ours(input_ids=source, attention_mask=mask, decoder_input_ids=target).logits[:, -1].log_softmax(-1)
        other = pair.ours(input_ids=negative, decoder_input_ids=target).logits[:, -1].log_softmax(-1)
    return scale * (own - other) + other


@pytest.mark.parametrize("scale", [2.5, 0.5])
def test_guidance_leads_away_from_the_negative_source(peer, scale):
    pair = peer("bert", "gpt2", **TINY)
    given, target = ids(pair), torch.full((6, 1), peers.START)
    asked = {"guidance_scale": scale, "negative_prompt_ids": torch.tensor([[7, 9, 11]]), "eos_token_id": None}
    made = pair.ours.generate(
        **given, **asked, max_new_tokens=6, output_scores=True, output_logits=True, return_dict_in_generate=True
    )
    for step in range(6):
        expected = guided_logits(pair, given["input_ids"], given["attention_mask"], target, scale)
        assert near(expected, made.scores[step], 1e-4)
        with torch.no_grad():
            plain = pair.ours(**given, decoder_input_ids=target).logits[:, -1]
        assert near(plain, made.logits[step], 1e-4)
        target = torch.cat([target, expected.argmax(-1, keepdim=True)], 1)
    assert made.sequences.tolist() == target.tolist()
    assert made.sequences.tolist() != pair.ours.generate(**given, max_new_tokens=6, eos_token_id=None).tolist()


def test_guidance_of_beams_a_mask_and_prompts(peer):
    """A negative source longer than the source, its end hidden, is the shorter one; a row of it is one for each source."""
    pair = peer("roberta", "bart", **TINY)
    given, words = ids(pair), torch.tensor([[7, 9, 11]])
    longer = torch.cat([words, torch.full((1, 12), 8)], 1)
    mask = (torch.arange(15) < 3).long()[None]
    for more in ({}, prompts(pair)["padded"]):
        part = {**{k: v[:4] for k, v in given.items()}, **more, "num_beams": 3, "guidance_scale": 1.8}
        short = pair.ours.generate(**part, negative_prompt_ids=words.repeat(4, 1), max_new_tokens=6)
        long = pair.ours.generate(
            **part, negative_prompt_ids=longer, negative_prompt_attention_mask=mask, max_new_tokens=6
        )
        assert short.tolist() == long.tolist()
        assert short.tolist() != pair.ours.generate(**part, negative_prompt_ids=longer, max_new_tokens=6).tolist()


def test_guidance_that_cannot_be(peer):
    pair = peer("bert", "gpt2", **TINY)
    for asked, message in (
        ({"guidance_scale": 2.0}, "guidance_scale needs negative_prompt_ids"),
        ({"negative_prompt_ids": torch.tensor([[7]])}, "guidance_scale is 1"),
        ({"guidance_scale": 2.0, "negative_prompt_ids": torch.ones(2, 3).long()}, "has 2 rows and the source 6"),
        ({"guidance_scale": 2.0, "negative_prompt_ids": torch.full((1, 50), 7)}, "50 tokens"),
        ({"guidance_scale": float("nan")}, "guidance_scale is nan"),
    ):
        with pytest.raises(InputError, match=message):
            pair.ours.generate(**ids(pair), **asked)


# Memory.


def test_what_would_not_fit_into_memory_is_refused_before_work_starts(peer, monkeypatch):
    pair = peer("bert", "gpt2", **TINY)
    started = []
    monkeypatch.setattr(type(pair.ours.encoder), "forward", lambda *given, **more: started.append(1))
    with pytest.raises(InputError, match=r"about .* TiB \(cache .*, source .*, scores .*, ids .*\) and .* are free: 6"):
        pair.ours.generate(**ids(pair), num_return_sequences=2_000_000_000, do_sample=True)
    assert not started


def test_a_little_less_than_is_free_is_not_refused(peer, monkeypatch):
    pair = peer("bert", "gpt2", **TINY)
    asked = {**ids(pair), "num_beams": 4, "max_new_tokens": 5, "output_scores": True, "return_dict_in_generate": True}
    told = []
    estimate = budget.estimate
    monkeypatch.setattr(budget, "estimate", lambda *given: told.append(estimate(*given)) or told[-1])
    monkeypatch.setattr(budget, "SMALL", 0)
    pair.ours.generate(**asked)
    layers, keys, rows, slots = 2, 24, 6, 1 + 5 * 4
    assert told[0]["cache"] == layers * 2 * keys * 4 * rows * slots
    assert told[0]["recorded"] == 6 * 4 * 17 * 4 * 5
    needed = sum(told[0].values())
    monkeypatch.setattr(pair.ours.ops, "free_memory", lambda model: needed)
    pair.ours.generate(**asked)
    monkeypatch.setattr(pair.ours.ops, "free_memory", lambda model: needed - 1)
    with pytest.raises(InputError, match="are free"):
        pair.ours.generate(**asked)


def test_what_the_machine_has_left_is_read_from_the_system(tmp_path, monkeypatch):
    monkeypatch.setattr(budget, "MEMORY_FACTS", tmp_path / "meminfo")
    monkeypatch.setattr(budget, "CONTROL_GROUP", tmp_path)
    assert budget.host_free() is None
    (tmp_path / "meminfo").write_text("MemTotal:  10 kB\nMemAvailable:    7 kB\n")
    assert budget.host_free() == 7 * 1024
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("3000\n")
    (tmp_path / "memory.stat").write_text("anon 2000\ninactive_file 500\n")
    assert budget.host_free() == 7 * 1024
    (tmp_path / "memory.max").write_text("4000\n")
    assert budget.host_free() == 4000 - 3000 + 500
