"""Generated tokens and scores, equal to those of transformers 5.23 in every mode and setting that both have."""

import copy

import peers
import pytest
import torch
from peers import PAIRS, Peer, far, near

import conjoin.decoding.generate as generating
import conjoin.decoding.loop as loop
from conjoin.backends import torch as ops
from conjoin.decoding import rules
from conjoin.decoding.settings import resolve
from conjoin.generation import GenerationConfig

TINY = {"vocab": (17, 17)}  # so that the end comes early, and in each row at another step
LENGTH = 14
every_pair = pytest.mark.parametrize(("encoder", "decoder"), PAIRS)
every_decoder = pytest.mark.parametrize("decoder", peers.DECODERS)

GREEDY = {
    "plain": {},
    "repetition_penalty": {"repetition_penalty": 1.7},
    "reward_for_repetition": {"repetition_penalty": 0.6},
    "no_repeat_1": {"no_repeat_ngram_size": 1, "max_new_tokens": 9},
    "no_repeat_2": {"no_repeat_ngram_size": 2},
    "no_repeat_3": {"no_repeat_ngram_size": 3},
    "encoder_repetition": {"encoder_repetition_penalty": 2.5},
    "encoder_no_repeat_1": {"encoder_no_repeat_ngram_size": 1},
    "encoder_no_repeat_2": {"encoder_no_repeat_ngram_size": 2},
    "min_length": {"min_length": 9},
    "min_new_tokens": {"min_new_tokens": 6},
    "forced_bos": {"forced_bos_token_id": 8},
    "forced_eos": {"forced_eos_token_id": 9},
    "forced_eos_list": {"forced_eos_token_id": [9, 4]},
    "suppress": {"suppress_tokens": [7, 9, 10, 12]},
    "begin_suppress": {"begin_suppress_tokens": [6, 7, 8, 9, 10, 11, 12]},
    "begin_suppress_after_forced_bos": {"begin_suppress_tokens": [6, 7, 8, 9, 10, 11], "forced_bos_token_id": 8},
    "several_ends": {"eos_token_id": [4, 7, 11]},
    "several_ends_min_length": {"eos_token_id": [4, 7, 11], "min_length": 7},
    "everything": {
        "repetition_penalty": 1.2,
        "no_repeat_ngram_size": 2,
        "encoder_repetition_penalty": 1.3,
        "encoder_no_repeat_ngram_size": 3,
        "min_length": 5,
        "suppress_tokens": [12],
        "eos_token_id": [4, 9],
        "forced_eos_token_id": 4,
    },
}
BEAM = {
    "two": {"num_beams": 2},
    "five": {"num_beams": 5},
    "no_length_penalty": {"num_beams": 4, "length_penalty": 0.0},
    "short_wins": {"num_beams": 4, "length_penalty": -1.5},
    "long_wins": {"num_beams": 4, "length_penalty": 2.5},
    "stops_early": {"num_beams": 4, "early_stopping": True},
    "stops_early_long": {"num_beams": 3, "early_stopping": True, "length_penalty": 2.0},
    "never_stops_early": {"num_beams": 4, "early_stopping": "never"},
    "never_long": {"num_beams": 4, "early_stopping": "never", "length_penalty": 2.0},
    "never_two_long": {"num_beams": 2, "early_stopping": "never", "length_penalty": 1.5},
    "never_three_longer": {"num_beams": 3, "early_stopping": "never", "max_new_tokens": 30, "eos_token_id": [4, 7]},
    "never_short": {"num_beams": 4, "early_stopping": "never", "length_penalty": -1.0},
    "returns_all": {"num_beams": 4, "num_return_sequences": 4},
    "returns_two_early": {"num_beams": 3, "num_return_sequences": 2, "early_stopping": True},
    "no_repeat_2": {"num_beams": 4, "no_repeat_ngram_size": 2},
    "no_repeat_1": {"num_beams": 3, "no_repeat_ngram_size": 1, "max_new_tokens": 8},
    "repetition_penalty": {"num_beams": 3, "repetition_penalty": 1.6},
    "encoder_penalties": {"num_beams": 3, "encoder_repetition_penalty": 1.8, "encoder_no_repeat_ngram_size": 2},
    "min_length": {"num_beams": 4, "min_length": 8},
    "min_new_tokens": {"num_beams": 2, "min_new_tokens": 5, "early_stopping": "never"},
    "forced": {"num_beams": 4, "forced_bos_token_id": 8, "forced_eos_token_id": 4},
    "suppressed": {"num_beams": 3, "suppress_tokens": [7, 9], "begin_suppress_tokens": [4, 6, 8]},
    "several_ends": {"num_beams": 3, "eos_token_id": [4, 7, 11], "num_return_sequences": 3},
    "several_ends_early": {"num_beams": 4, "eos_token_id": [4, 7, 11], "early_stopping": True},
    "cut_short": {"num_beams": 4, "max_new_tokens": 3, "num_return_sequences": 4},
    "one_token": {"num_beams": 3, "max_new_tokens": 1},
    "more_candidates_than_tokens": {"num_beams": 20, "num_return_sequences": 20},
}
SAMPLE = {
    "plain": {},
    "top_k": {"top_k": 5},
    "all_tokens": {"top_k": 0},
    "top_p": {"top_k": 0, "top_p": 0.6},
    "min_p": {"top_k": 0, "min_p": 0.2},
    "cold": {"temperature": 0.4},
    "hot": {"temperature": 2.5, "top_p": 0.9},
    "several": {"num_return_sequences": 3, "top_k": 6},
    "all_rules": {
        "temperature": 0.8,
        "top_k": 9,
        "top_p": 0.9,
        "min_p": 0.05,
        "repetition_penalty": 1.3,
        "no_repeat_ngram_size": 2,
        "min_length": 4,
        "num_return_sequences": 2,
    },
    "beams": {"num_beams": 4},
    "beams_cold": {"num_beams": 3, "temperature": 0.5, "top_p": 0.8},
    "beams_min_p": {"num_beams": 3, "min_p": 0.1, "top_k": 4, "num_return_sequences": 3},
    "beams_early": {"num_beams": 4, "early_stopping": True, "length_penalty": 0.5, "eos_token_id": [4, 7]},
}
UNSEEN = ("returns_all", "never_stops_early", "stops_early", "more_candidates_than_tokens")
SOME = [("bert", "gpt2"), ("roberta", "bart"), ("bart", "bert"), ("bert", "roberta")]


def ids(pair: Peer, rows: int = 6) -> dict[str, torch.Tensor]:
    return peers.source(pair, rows=rows)


def generated(pair: Peer, seed: int = 5, **settings):
    """What both generate, from one random state each."""
    given = {**ids(pair), "max_new_tokens": LENGTH, **settings}
    found = []
    for model in (pair.theirs, pair.ours):
        torch.manual_seed(seed)
        found.append(model.generate(**given))
    return found


def lengths(sequences: torch.Tensor, ends: list[int]) -> set[int]:
    """At which steps the rows end."""
    return {next((i for i, token in enumerate(row) if token in ends), len(row)) for row in sequences.tolist()}


@every_pair
@pytest.mark.parametrize("settings", [{}, {"num_beams": 4}], ids=["greedy", "beam"])
def test_tokens_equal_for_every_pair(peer, encoder, decoder, settings):
    theirs, ours = generated(peer(encoder, decoder, **TINY), **settings)
    assert theirs.tolist() == ours.tolist()
    assert ours.dtype == torch.int64
    assert len({tuple(row) for row in ours.tolist()}) > 1  # the source matters


@pytest.mark.parametrize("settings", GREEDY.values(), ids=GREEDY)
@pytest.mark.parametrize(("encoder", "decoder"), SOME)
def test_greedy_tokens_equal(peer, encoder, decoder, settings):
    theirs, ours = generated(peer(encoder, decoder, **TINY), **settings)
    assert theirs.tolist() == ours.tolist()


@pytest.mark.parametrize("settings", BEAM.values(), ids=BEAM)
@pytest.mark.parametrize(("encoder", "decoder"), SOME)
def test_beam_tokens_and_scores_equal(peer, encoder, decoder, settings):
    asked = {"return_dict_in_generate": True, "output_scores": True}
    theirs, ours = generated(peer(encoder, decoder, **TINY), **settings, **asked)
    assert theirs.sequences.tolist() == ours.sequences.tolist()
    assert near(theirs.sequences_scores, ours.sequences_scores, 1e-5)


@pytest.mark.parametrize("settings", SAMPLE.values(), ids=SAMPLE)
@pytest.mark.parametrize(("encoder", "decoder"), SOME)
def test_sampled_tokens_equal_from_the_same_random_state(peer, encoder, decoder, settings):
    pair = peer(encoder, decoder, **TINY)
    theirs, ours = generated(pair, do_sample=True, **settings)
    assert theirs.tolist() == ours.tolist()
    assert generated(pair, seed=6, do_sample=True, **settings)[1].tolist() != ours.tolist()


@pytest.mark.parametrize("settings", [*GREEDY.items(), *BEAM.items()], ids=lambda item: item[0])
def test_every_setting_changes_something_somewhere(peer, settings):
    """Otherwise the tests above would not see it ignored."""
    name, chosen = settings
    if name in ("plain", "two", "five"):
        return
    beams = {k: chosen[k] for k in ("num_beams",) if k in chosen}
    plain_settings = beams | {k: chosen[k] for k in ("num_return_sequences",) if k in chosen}
    for encoder, decoder in SOME:
        pair = peer(encoder, decoder, **TINY)
        given = {**ids(pair), "max_new_tokens": LENGTH}
        plain, other = (pair.ours.generate(**{**given, **s}).tolist() for s in (plain_settings, chosen))
        if plain != other or name in UNSEEN:
            return
    pytest.fail(f"{chosen} changes no token of any pair")


@pytest.mark.parametrize("name", ["never_two_long", "never_three_longer"])
def test_hoping_for_longer_sequences_finds_others(peer, name):
    pair = peer("bert", "gpt2", **TINY)
    never, soon = (generated(pair, **{**BEAM[name], "early_stopping": when})[1] for when in ("never", False))
    assert never.tolist() != soon.tolist()


def test_rows_end_at_different_steps_and_leave_the_batch(peer, monkeypatch):
    kept = []
    select = loop.select

    def counted(ops_, state, keep):
        kept.append(int(keep.sum()))
        return select(ops_, state, keep)

    monkeypatch.setattr(loop, "select", counted)
    left = 0
    for encoder, decoder in SOME:
        pair = peer(encoder, decoder, **TINY)
        for settings in ({}, {"num_beams": 3}, {"do_sample": True, "num_return_sequences": 2}):
            kept.clear()
            theirs, ours = generated(pair, **settings, eos_token_id=[4, 7, 11])
            assert theirs.tolist() == ours.tolist()
            left += len(kept)
            if "do_sample" in settings:
                assert len(lengths(ours, [4, 7, 11])) > 2
    assert left > 4


@every_decoder
def test_a_prompt_that_begins_with_the_start_token_equals(peer, decoder):
    pair = peer("bert", decoder, **TINY)
    prompt = torch.cat([torch.full((6, 1), peers.START), peers.target(pair, rows=6, length=3)], 1)
    for settings in ({}, {"num_beams": 3, "num_return_sequences": 2}, {"do_sample": True, "num_return_sequences": 2}):
        theirs, ours = generated(pair, decoder_input_ids=prompt, **settings)
        assert theirs.tolist() == ours.tolist()
        assert ours[:: len(ours) // 6, :4].tolist() == prompt.tolist()


@every_decoder
def test_a_prompt_without_the_start_token_gets_it(peer, decoder):
    pair = peer("bert", decoder, **TINY)
    prompt = peers.target(pair, rows=6, length=3)
    for settings in ({}, {"num_beams": 3}):
        theirs, ours = generated(pair, decoder_input_ids=prompt, **settings)
        assert theirs.tolist() == ours.tolist()
        assert ours[:, 0].tolist() == [peers.START] * 6


@every_decoder
@pytest.mark.parametrize("with_start", [True, False])
def test_a_left_padded_prompt_equals_under_its_mask(peer, decoder, with_start):
    pair = peer("bert", decoder, **TINY)
    prompt = peers.target(pair, rows=6, length=4)
    mask = torch.ones_like(prompt)
    mask[1, :2], mask[4, :1] = 0, 0
    prompt = prompt.masked_fill(mask == 0, pair.pad)
    if with_start:
        prompt[:, 0], mask[:, 0] = peers.START, 1
    for settings in ({}, {"num_beams": 3}, {"do_sample": True, "num_return_sequences": 2}):
        theirs, ours = generated(pair, decoder_input_ids=prompt, decoder_attention_mask=mask, **settings)
        assert theirs.tolist() == ours.tolist()


@every_decoder
def test_a_start_token_for_each_row_equals(peer, decoder):
    pair = peer("bert", decoder, **TINY)
    starts = [5, 6, 7, 8, 9, 10]
    for settings in ({}, {"num_beams": 3}):
        theirs, ours = generated(pair, decoder_start_token_id=starts, **settings)
        assert theirs.tolist() == ours.tolist()
        assert ours[:, 0].tolist() == starts


@pytest.mark.parametrize("encoder", ["bert", "roberta"])
def test_token_types_and_ready_embeddings_of_the_source_equal(peer, encoder):
    pair = peer(encoder, "gpt2", **TINY)
    types = (torch.arange(9) > 3).long()[None].repeat(6, 1)
    for settings in ({}, {"num_beams": 3}):
        theirs, ours = generated(pair, token_type_ids=types, **settings)
        assert theirs.tolist() == ours.tolist()
    ready = torch.randn(6, 9, 32, generator=torch.Generator().manual_seed(3))
    given = {"inputs_embeds": ready, "attention_mask": ids(pair)["attention_mask"], "max_new_tokens": LENGTH}
    assert pair.theirs.generate(**given).tolist() == pair.ours.generate(**given).tolist()


def test_the_sources_mask_is_inferred_and_inputs_is_another_name(peer):
    for encoder in peers.ENCODERS:
        pair = peer(encoder, "bert", **TINY)
        given = ids(pair)
        expected = pair.theirs.generate(**given, max_new_tokens=LENGTH).tolist()
        assert pair.ours.generate(given["input_ids"], max_new_tokens=LENGTH).tolist() == expected
        assert pair.ours.generate(inputs=given["input_ids"], max_new_tokens=LENGTH).tolist() == expected


def test_encoder_outputs_are_taken_in_place_of_ids(peer):
    pair = peer("roberta", "bart", **TINY)
    given = ids(pair)
    for settings in ({"max_new_tokens": LENGTH}, {"max_new_tokens": LENGTH, "num_beams": 3}):
        expected = pair.theirs.generate(**given, **settings).tolist()
        with torch.no_grad():
            forms = [pair.ours.encoder(**given), pair.theirs.encoder(**given), (pair.ours.encoder(**given)[0],)]
        for outputs in forms:
            again = pair.ours.generate(encoder_outputs=outputs, attention_mask=given["attention_mask"], **settings)
            assert again.tolist() == expected


def test_the_source_is_encoded_once(peer, monkeypatch):
    pair = peer("bert", "gpt2", **TINY)
    calls = []
    begun = generating.begun
    monkeypatch.setattr(generating, "begun", lambda *given: calls.append(1) or begun(*given))
    pair.ours.generate(**ids(pair), num_beams=3, max_new_tokens=LENGTH)
    assert calls == [1]


@pytest.mark.filterwarnings("ignore:Using the model-agnostic default `max_length`")
@pytest.mark.parametrize("beams", [1, 3])
def test_lengths_mean_what_they_mean_in_transformers(peer, beams):
    pair = peer("bert", "gpt2", vocab=(23, 17), eos=(16,))
    prompt = torch.cat([torch.full((6, 1), peers.START), peers.target(pair, rows=6, length=3)], 1)
    never = {"suppress_tokens": [16], "num_beams": beams}
    cases = [
        ({"max_length": 7}, 7),
        ({"max_new_tokens": 7}, 8),
        ({"max_length": 3, "max_new_tokens": 5}, 6),
        ({}, 21),
        ({"max_length": 9, "decoder_input_ids": prompt}, 9),
        ({"max_new_tokens": 2, "decoder_input_ids": prompt}, 6),
        ({"decoder_input_ids": prompt}, 24),
        ({"min_length": 6, "max_length": 6}, 6),
    ]
    for settings, length in cases:
        theirs, ours = (m.generate(**ids(pair), **settings, **never) for m in (pair.theirs, pair.ours))
        assert theirs.tolist() == ours.tolist()
        assert ours.shape == (6, length), settings


@pytest.mark.filterwarnings("ignore:Using the model-agnostic default `max_length`")
@pytest.mark.parametrize(
    ("settings", "length"),
    [
        ({"min_length": 8}, 9),
        ({"min_new_tokens": 4}, 6),
        ({"min_length": 8, "min_new_tokens": 4}, 6),
        ({"min_length": 8, "min_new_tokens": 0}, 2),
        ({"min_length": 3, "min_new_tokens": 6}, 8),
    ],
)
def test_new_tokens_win_among_least_lengths_too(peer, settings, length):
    pair = peer("bert", "gpt2", vocab=(23, 17), eos=(16,))
    at_once = {"sequence_bias": {(16,): 100.0}, "max_new_tokens": 12}
    theirs, ours = (m.generate(**ids(pair), **settings, **at_once) for m in (pair.theirs, pair.ours))
    assert theirs.tolist() == ours.tolist()
    assert ours.shape[1] == length


def test_the_longest_output_fills_every_position(peer):
    """Position 39 reads the 40th token, and what it makes is the 41st, which nobody reads."""
    pair = peer("bert", "gpt2", vocab=(23, 17), eos=(16,))
    settings = {"suppress_tokens": [16], "max_new_tokens": peers.POSITIONS}
    theirs, ours = (m.generate(**ids(pair), **settings) for m in (pair.theirs, pair.ours))
    assert theirs.tolist() == ours.tolist()
    assert ours.shape[1] == peers.POSITIONS + 1


@pytest.mark.parametrize("settings", [{}, {"num_beams": 3}, {"do_sample": True}], ids=["greedy", "beam", "sample"])
def test_a_decoder_without_padding_pads_with_its_end(peer, settings):
    pair = peer("bert", "gpt2", **TINY)
    bare = Peer(pair.encoder, pair.decoder, copy.deepcopy(pair.theirs), copy.deepcopy(pair.ours), pair.folder)
    bare.theirs.generation_config.pad_token_id = None
    bare.ours.config.pad_token_id = None
    theirs, ours = generated(bare, eos_token_id=[4, 7, 11], **settings)
    assert theirs.tolist() == ours.tolist()


def test_generate_in_training_drops_nothing_out_and_goes_back_to_training(peer):
    pair = peer("bert", "gpt2", **TINY)
    model = copy.deepcopy(pair.ours)
    expected = model.generate(**ids(pair), max_new_tokens=LENGTH).tolist()
    model.train()
    model.encoder.eval()
    modes = {name: module.training for name, module in model.named_modules()}
    assert model.generate(**ids(pair), max_new_tokens=LENGTH).tolist() == expected
    assert {name: module.training for name, module in model.named_modules()} == modes
    with pytest.raises(ValueError, match="num_beams"):
        model.generate(**ids(pair), num_beams=0)
    assert {name: module.training for name, module in model.named_modules()} == modes


def test_what_is_generated_can_be_trained_on(peer):
    pair = peer("bert", "bert", **TINY)
    for settings in ({}, {"num_beams": 3}, {"return_dict_in_generate": True, "num_beams": 2, "output_scores": True}):
        made = pair.ours.generate(**ids(pair), max_new_tokens=6, **settings)
        sequences = made.sequences if isinstance(made, dict) else made
        loss = pair.ours(**ids(pair), labels=sequences[:, 1:]).loss
        loss.backward()
        assert pair.ours.decoder.embed.token.weight.grad.abs().max().item() > 0
        pair.ours.zero_grad(set_to_none=True)


def test_a_changed_weight_changes_what_is_generated(peer, tmp_path):
    """Copies of weights that an engine keeps must not outlive them."""
    pair = peer("bert", "gpt2", **TINY)
    model = copy.deepcopy(pair.ours)
    before = model.generate(**ids(pair), max_new_tokens=LENGTH).tolist()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    model(**ids(pair), labels=peers.target(pair, rows=6)).loss.backward()
    optimizer.step()
    after = model.generate(**ids(pair), max_new_tokens=LENGTH).tolist()
    assert before != after
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path)
    assert again.generate(**ids(pair), max_new_tokens=LENGTH).tolist() == after
    model.load_state_dict(pair.ours.state_dict())
    assert model.generate(**ids(pair), max_new_tokens=LENGTH).tolist() == before


@pytest.mark.parametrize("settings", [{}, {"num_return_sequences": 3}, {"num_beams": 3}], ids=["one", "three", "beams"])
def test_with_a_seed_a_sample_does_not_depend_on_its_neighbours(peer, settings):
    pair = peer("roberta", "gpt2", **TINY)
    given = ids(pair)
    asked = {"do_sample": True, "max_new_tokens": LENGTH, **settings}
    count = settings.get("num_return_sequences", 1)
    together = pair.ours.generate(**given, seed=11, **asked)
    torch.manual_seed(99)
    for row in range(6):
        alone = pair.ours.generate(**{k: v[row : row + 1] for k, v in given.items()}, seed=11, **asked)
        mine = together[row * count : (row + 1) * count]
        assert mine[:, : alone.shape[1]].tolist() == alone.tolist()
    assert pair.ours.generate(**given, seed=12, **asked).tolist() != together.tolist()
    if count > 1:
        assert len({tuple(row) for row in together[:3].tolist()}) > 1


def test_a_seed_leaves_torchs_random_state_alone(peer):
    pair = peer("bert", "gpt2", **TINY)
    before = torch.get_rng_state()
    pair.ours.generate(**ids(pair), do_sample=True, seed=3, max_new_tokens=4)
    assert torch.equal(before, torch.get_rng_state())


def test_settings_come_from_the_call_then_the_argument_then_the_model(peer):
    pair = peer("bert", "bart", **TINY)
    model = copy.deepcopy(pair.ours)
    model.config.num_beams, model.config.no_repeat_ngram_size = 3, 2
    for settings, expected in (
        ({}, {"num_beams": 3, "no_repeat_ngram_size": 2}),
        ({"generation_config": GenerationConfig(num_beams=2)}, {"num_beams": 2, "no_repeat_ngram_size": 2}),
        (
            {"generation_config": GenerationConfig(num_beams=2), "num_beams": 4},
            {"num_beams": 4, "no_repeat_ngram_size": 2},
        ),
        ({"no_repeat_ngram_size": 0, "num_beams": 1}, {}),
    ):
        found = model.generate(**ids(pair), max_new_tokens=LENGTH, **settings)
        assert found.tolist() == pair.theirs.generate(**ids(pair), max_new_tokens=LENGTH, **expected).tolist()
    assert model.config.generation.num_beams == 3


@pytest.mark.parametrize("beams", [1, 3])
def test_rules_that_leave_no_token_end_as_in_transformers(peer, beams):
    """Seventeen tokens, none twice and no end among them, cannot make twenty."""
    pair = peer("bert", "gpt2", **TINY)
    settings = {"no_repeat_ngram_size": 1, "suppress_tokens": [peers.EOS], "max_new_tokens": 20, "num_beams": beams}
    for rules_ in (settings, {"suppress_tokens": list(range(17)), "num_beams": beams}):
        theirs, ours = generated(pair, **rules_)
        assert theirs.tolist() == ours.tolist()


def test_source_tokens_beyond_the_targets_vocabulary_are_nobodys(peer):
    """transformers fails there: a source id of 20 or more names no target token."""
    pair = peer("bert", "gpt2", vocab=(47, 20))
    given = ids(pair)
    assert (given["input_ids"] >= 20).any()
    common = given["input_ids"].clone()
    for settings in ({"encoder_repetition_penalty": 3.0}, {"encoder_no_repeat_ngram_size": 1}):
        plain = pair.ours.generate(**given, max_new_tokens=LENGTH)
        ruled = pair.ours.generate(**given, max_new_tokens=LENGTH, **settings)
        assert plain.tolist() != ruled.tolist()
        if "encoder_no_repeat_ngram_size" in settings:
            for row, source in zip(ruled[:, 1:].tolist(), common.tolist(), strict=True):
                made = row[: row.index(peers.EOS)] if peers.EOS in row else row
                assert not set(made) & set(source)


@pytest.mark.parametrize(
    "settings",
    [{}, {"num_beams": 3}, {"do_sample": True}, {"prompt_lookup_num_tokens": 3}],
    ids=["greedy", "beams", "sample", "drafts"],
)
def test_padding_before_a_prompt_is_not_penalised(peer, settings):
    """Where padding is the end token, a penalty on it would be one on the end."""
    pair = peer("bert", "gpt2", **TINY)
    mask = torch.tensor([[1, 1, 1], [0, 1, 1], [0, 0, 1], [0, 1, 1], [1, 1, 1], [0, 0, 1]])
    prompt = peers.target(pair, rows=6, length=3).masked_fill(mask == 0, peers.EOS)
    given = {"decoder_input_ids": prompt, "decoder_attention_mask": mask, "pad_token_id": peers.EOS}
    given |= {"repetition_penalty": 9.0, "decoder_start_token_id": prompt[:, 0].tolist(), **settings}
    asked = {name: value for name, value in given.items() if name != "prompt_lookup_num_tokens"}
    torch.manual_seed(5)
    theirs = pair.theirs.generate(**ids(pair), max_new_tokens=LENGTH, **asked)
    torch.manual_seed(5)
    ours = pair.ours.generate(**ids(pair), max_new_tokens=LENGTH, **given)
    assert theirs.tolist() == ours.tolist()


def test_use_cache_false_is_taken_and_changes_nothing(peer):
    pair = peer("bert", "roberta", **TINY)
    theirs, ours = generated(pair, use_cache=False)
    assert theirs.tolist() == ours.tolist() == generated(pair)[1].tolist()


# The rules alone, on scores that no model made.


def distributions(rule, processor, *, length: int, beams: int = 3, vocab: int = 17, seed: int = 0):
    """A rule's scores and a processor's on the same ids and scores."""
    draw = torch.Generator().manual_seed(seed)
    made = torch.randint(0, 4, (4, beams, 12), generator=draw)  # few tokens, so that n-grams do repeat
    scores = 3 * torch.randn(4, beams, vocab, generator=draw)
    ours = rule(made, length, scores.clone())
    theirs = processor(made[..., :length].reshape(4 * beams, length), scores.reshape(4 * beams, vocab).clone())
    return theirs.reshape(4, beams, vocab), ours


def rule_cases():
    from transformers.generation import logits_process as t

    draw = torch.Generator().manual_seed(9)
    source = torch.randint(0, 4, (4, 8), generator=draw)
    spread = source.repeat_interleave(3, 0)
    yield "repetition", rules.repetition_penalty(ops, 1.4), t.RepetitionPenaltyLogitsProcessor(1.4)
    for size in (1, 2, 3):
        yield f"no_repeat_{size}", rules.no_repeat_ngram(ops, size), t.NoRepeatNGramLogitsProcessor(size)
        encoder = t.EncoderNoRepeatNGramLogitsProcessor(size, spread)
        yield f"encoder_no_repeat_{size}", rules.encoder_no_repeat_ngram(ops, size, source), encoder
    encoder = t.EncoderRepetitionPenaltyLogitsProcessor(1.7, spread)
    yield "encoder_repetition", rules.encoder_repetition_penalty(ops, 1.7, source), encoder
    yield "temperature", rules.temperature(ops, 0.6), t.TemperatureLogitsWarper(0.6)
    for k in (1, 4, 30):
        yield f"top_k_{k}", rules.top_k(ops, k), t.TopKLogitsWarper(k)
    for p, keep in ((0.3, 1), (0.8, 1), (0.5, 3), (0.999, 1), (0.0, 1)):
        yield f"top_p_{p}_{keep}", rules.top_p(ops, p, keep), t.TopPLogitsWarper(p, min_tokens_to_keep=keep)
    for p, keep in ((0.05, 1), (0.5, 1), (0.9, 3), (1.0, 1)):
        yield f"min_p_{p}_{keep}", rules.min_p(ops, p, keep), t.MinPLogitsWarper(p, min_tokens_to_keep=keep)


def test_top_h_keeps_one_of_two_forced_tokens_as_transformers_does():
    """Both have a score of 0 and half the probability; the second one's share of the entropy is more than 0.9 of it."""
    from transformers.generation.logits_process import TopHLogitsWarper

    scores = torch.full((1, 3, 17), float("-inf"))
    scores[..., [4, 9]] = 0.0
    ours = rules.top_h(ops, 0.9)(torch.zeros(1, 3, 1, dtype=torch.long), 1, scores.clone())
    theirs = TopHLogitsWarper(0.9)(torch.zeros(3, 1, dtype=torch.long), scores[0].clone())
    assert ours[0].tolist() == theirs.tolist()
    assert torch.isfinite(ours).sum(-1).tolist() == [[1, 1, 1]]


@pytest.mark.parametrize(("rule", "processor"), [c[1:] for c in rule_cases()], ids=[c[0] for c in rule_cases()])
def test_a_rule_makes_the_distribution_that_transformers_makes(rule, processor):
    changed = False
    for seed, length in enumerate((1, 2, 3, 7, 12)):
        theirs, ours = distributions(rule, processor, length=length, seed=seed)
        assert torch.equal(torch.isinf(theirs), torch.isinf(ours)), length
        assert far(theirs.softmax(-1), ours.softmax(-1)) < 1e-6
        raw = distributions(lambda ids_, length_, scores: scores, processor, length=length, seed=seed)[1]
        changed = changed or not torch.equal(raw, ours)
    assert changed or getattr(processor, "top_k", 0) == 30  # which is all of them


def test_top_p_keeps_the_fewest_tokens_when_their_sum_is_p_itself():
    """Of eight equal tokens, half have together half the probability."""
    from transformers.generation.logits_process import TopPLogitsWarper

    scores = torch.zeros(1, 1, 8)
    ours = rules.top_p(ops, 0.5, 1)(torch.zeros(1, 1, 1, dtype=torch.long), 1, scores)
    theirs = TopPLogitsWarper(0.5)(torch.zeros(1, 1, dtype=torch.long), scores[0])
    assert int(torch.isfinite(ours).sum()) == int(torch.isfinite(theirs).sum()) == 4


def test_all_rules_together_come_in_transformers_order(peer):
    """Compared on a model's own processors, put together by transformers' generate."""
    pair = peer("bert", "gpt2", **TINY)
    settings = {
        "repetition_penalty": 1.5,
        "encoder_repetition_penalty": 1.4,
        "no_repeat_ngram_size": 2,
        "encoder_no_repeat_ngram_size": 2,
        "min_length": 6,
        "forced_eos_token_id": 9,
        "suppress_tokens": [12, 13],
        "begin_suppress_tokens": [6],
        "temperature": 0.7,
        "top_k": 8,
        "top_p": 0.85,
        "min_p": 0.02,
        "do_sample": True,
        "max_length": 12,
    }
    given = ids(pair, rows=4)
    config, _ = pair.theirs._prepare_generation_config(copy.deepcopy(pair.theirs.generation_config), **settings)
    pair.theirs._prepare_special_tokens(config, True)
    processors = pair.theirs._get_logits_processor(
        config, input_ids_seq_length=1, encoder_input_ids=given["input_ids"], device="cpu"
    )
    ours = resolve(pair.ours.config.generation.updated(settings), prompt=1, positions=40, vocab=17)
    chain = [*rules.processors(ops, ours, given["input_ids"]), *rules.warpers(ops, ours)]
    assert len(chain) == len(processors) == 12

    def all_rules(made, length, scores):
        for rule in chain:
            scores = rule(made, length, scores)
        return scores

    for seed, length in enumerate((1, 3, 5, 8, 11)):
        a, b = distributions(all_rules, processors, length=length, beams=1, seed=seed)
        assert torch.equal(torch.isinf(a), torch.isinf(b)), length
        assert far(a.softmax(-1), b.softmax(-1)) < 1e-6
