"""Diverse, constrained and contrastive search: tokens and scores equal to those of transformers 4.55.4, which has all three.

Its outputs are stored in fixtures/searches. Where it is wrong, what we do instead is tested by itself.
"""

import json
import warnings
from pathlib import Path

import peers
import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peers import near
from transformers import AutoTokenizer

from conjoin import (
    ConstraintsNotMetWarning,
    DisjunctiveConstraint,
    EncoderDecoderModel,
    GenerationConfig,
    InputError,
    PhrasalConstraint,
)
from conjoin.constraints import asked_constraints, met

FOLDER = Path(__file__).parent / "fixtures" / "searches"
STORED = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))
ALL = [(pair, case) for pair, stored in STORED.items() for case in stored["cases"]]
FREE, BOUND = ([one for one in ALL if one[1].startswith("constrained") == bound] for bound in (False, True))
LENGTH = 12


@pytest.fixture(scope="module")
def models():
    return {pair: EncoderDecoderModel.from_pretrained(FOLDER / pair) for pair in STORED}


def named(cases):
    return {"argvalues": cases, "ids": ["-".join(case) for case in cases]}


def source(pair):
    return {name: torch.tensor(values) for name, values in STORED[pair]["source"].items()}


def found(models, pair, case, **more):
    """What we find with the settings of a stored case."""
    stored = STORED[pair]["cases"][case]
    prompt = {name: torch.tensor(values) for name, values in stored["prompt"].items()}
    asked = {"return_dict_in_generate": True, "output_scores": True, "max_new_tokens": LENGTH}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstraintsNotMetWarning)
        return models[pair].generate(**source(pair), **prompt, **asked, **stored["settings"], **more)


def close(scores, stored):
    return near(torch.tensor(stored), scores, 1e-5)


@pytest.mark.parametrize(("pair", "case"), **named(FREE))
def test_diverse_and_contrastive_tokens_and_scores_equal(models, pair, case):
    stored, ours = STORED[pair]["cases"][case], found(models, pair, case)
    assert ours.sequences.tolist() == stored["sequences"]
    if stored["scores"] is not None:
        assert close(ours.sequences_scores, stored["scores"])


@pytest.mark.parametrize(("pair", "case"), **named(BOUND))
def test_constrained_tokens_equal_but_what_meets_the_constraints_comes_first(models, pair, case):
    """4.55.4 mixes what meets them with what does not, by score; it then even drops what does."""
    stored, ours = STORED[pair]["cases"][case], found(models, pair, case)
    constraints = asked_constraints(None, stored["settings"]["force_words_ids"])
    each = stored["settings"].get("num_return_sequences", 1)
    if ours.sequences.tolist() == stored["sequences"] and stored["scores"] is not None:
        assert close(ours.sequences_scores, stored["scores"])
    width = min(ours.sequences.shape[1], len(stored["sequences"][0]))  # behind both is padding only
    for row in range(6):
        mine = [ids[:width] for ids in ours.sequences[row * each : (row + 1) * each].tolist()]
        theirs = [ids[:width] for ids in stored["sequences"][row * each : (row + 1) * each]]
        theirs.sort(key=lambda ids: not met(constraints, ids))
        if mine != theirs:
            assert sum(met(constraints, ids) for ids in mine) > sum(met(constraints, ids) for ids in theirs)
    flags = [met(constraints, ids) for ids in ours.sequences.tolist()]
    assert list(ours.constraints_met) == flags
    assert all(flags[i] >= flags[i + 1] for i in range(len(flags) - 1) if (i + 1) % each)


def test_stored_cases_are_enough_and_differ(models):
    """Each search has its own cases, most of which find what plain greedy and beam search do not."""
    assert len(ALL) > 200
    for pair in STORED:
        plain = {
            beams: models[pair].generate(**source(pair), max_new_tokens=LENGTH, num_beams=beams).tolist()
            for beams in (1, 4)
        }
        for kind, beams in (("diverse", 4), ("constrained", 4), ("contrastive", 1)):
            cases = {name: c for name, c in STORED[pair]["cases"].items() if name.startswith(kind)}
            others = [c for c in cases.values() if c["sequences"] != plain[beams]]
            assert len(others) > len(cases) / 2


# Constraints, where there is nothing to compare with.

WORDS = {
    "branches": [[[7, 8, 9], [7, 8, 10], [7, 11]]],
    "branches_twice": [[[13, 6], [13, 9]], [[13, 6], [13, 9]]],
    "token_in_phrase": [[8, 9], [9]],
}


@pytest.mark.parametrize("pair", STORED)
@pytest.mark.parametrize("words", WORDS.values(), ids=WORDS)
def test_alternatives_that_begin_alike_are_met(models, pair, words):
    """4.55.4 follows only the first of them: its second reads a state that the first has changed."""
    asked = {"num_beams": 6, "max_new_tokens": 16, "force_words_ids": words}
    for row in models[pair].generate(**source(pair), **asked).tolist():
        assert met(asked_constraints(None, words), row)


def test_constraints_are_given_as_objects_too(models):
    model = models["bert_gpt2"]
    asked = {"num_beams": 4, "max_new_tokens": LENGTH, "return_dict_in_generate": True}
    objects = [PhrasalConstraint([15, 6]), DisjunctiveConstraint([[9, 10], [12, 13, 14]])]
    words = [[15, 6], [[9, 10], [12, 13, 14]]]
    ours = model.generate(**source("bert_gpt2"), **asked, constraints=objects)
    assert (
        ours.sequences.tolist()
        == model.generate(**source("bert_gpt2"), **asked, force_words_ids=words).sequences.tolist()
    )
    mixed = model.generate(**source("bert_gpt2"), **asked, constraints=objects[:1], force_words_ids=words[1:])
    assert mixed.sequences.tolist() == ours.sequences.tolist()
    assert ours.constraints_met == (True,) * 6


def test_constraints_of_a_model_are_saved_as_words(tmp_path):
    config = GenerationConfig(num_beams=4, constraints=[DisjunctiveConstraint([[7], [8, 9]])], force_words_ids=[[5, 6]])
    config.save_pretrained(tmp_path)
    again = GenerationConfig.from_pretrained(tmp_path)
    assert again.force_words_ids == [[5, 6], [[7], [8, 9]]]
    assert again.constraints is None
    assert (
        asked_constraints(None, again.force_words_ids)
        == asked_constraints(config.constraints, config.force_words_ids)[::-1]
    )


def test_what_is_not_met_is_reported_and_comes_last(models):
    asked = {"num_beams": 6, "num_return_sequences": 6, "return_dict_in_generate": True, "output_scores": True}
    with pytest.warns(ConstraintsNotMetWarning, match="ended, at most at 6 tokens, before all constraints were met"):
        out = models["bert_gpt2"].generate(
            **source("bert_gpt2"), **asked, max_new_tokens=5, force_words_ids=[[9, 14], [15]]
        )
    flags = list(out.constraints_met)
    assert any(flags)
    assert not all(flags)
    for row in range(6):
        mine = slice(row * 6, row * 6 + 6)
        assert flags[mine] == sorted(flags[mine], reverse=True)
        for is_met in (True, False):
            scores = [
                score
                for score, flag in zip(out.sequences_scores[mine].tolist(), flags[mine], strict=True)
                if flag is is_met
            ]
            assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize(
    "rules",
    [
        {"forced_bos_token_id": 8, "forced_eos_token_id": 4},
        {"encoder_no_repeat_ngram_size": 1},
        {"no_repeat_ngram_size": 1},
        {"begin_suppress_tokens": [7, 9, 10]},
    ],
    ids=str,
)
@pytest.mark.parametrize("pair", STORED)
def test_a_constraint_never_leads_to_what_a_rule_forbids(models, pair, rules):
    given, words = source(pair), [[7], [[9, 10], [10]]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstraintsNotMetWarning)
        rows = (
            models[pair].generate(**given, num_beams=4, max_new_tokens=LENGTH, force_words_ids=words, **rules).tolist()
        )
    for row, said, real in zip(rows, given["input_ids"].tolist(), given["attention_mask"].tolist(), strict=True):
        made = row[1 : row.index(4) + 1] if 4 in row[1:] else row[1:]
        if "forced_bos_token_id" in rules:
            assert made[0] == 8
            assert made[-1] == 4
        if "encoder_no_repeat_ngram_size" in rules:
            assert not set(made) - {4} & {token for token, seen in zip(said, real, strict=True) if seen}
        if "no_repeat_ngram_size" in rules:
            assert len(set(made)) == len(made)
        if "begin_suppress_tokens" in rules:
            assert made[0] not in (7, 9, 10)


@given(
    words=st.lists(st.lists(st.integers(5, 16), min_size=1, max_size=3), min_size=1, max_size=3), new=st.integers(1, 14)
)
@settings(max_examples=25, deadline=None, derandomize=True)
def test_constraints_are_met_or_reported(models, words, new):
    asked = {"num_beams": 4, "max_new_tokens": new, "force_words_ids": words, "return_dict_in_generate": True}
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        out = models["roberta_bart"].generate(**source("roberta_bart"), **asked)
    for row, flag in zip(out.sequences.tolist(), out.constraints_met, strict=True):
        texts = [" ".join(map(str, word)) for word in words]
        there = all(f" {text} " in f" {' '.join(map(str, row))} " for text in texts)
        assert there or not flag
        assert flag or not there or len(set(texts)) < len(texts)
    assert bool(told) == (not all(out.constraints_met))


NEW = {
    "diverse": {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.9, "num_return_sequences": 3},
    "constrained": {"num_beams": 4, "force_words_ids": [[8, 9], [[12], [13, 14]]], "max_new_tokens": 20},
    "contrastive": {"penalty_alpha": 0.7, "top_k": 4},
}


@pytest.mark.parametrize("search", NEW.values(), ids=NEW)
@pytest.mark.parametrize("pair", STORED)
def test_a_row_does_not_depend_on_its_neighbours(models, pair, search):
    given, asked = source(pair), {"max_new_tokens": LENGTH, **search}
    each = search.get("num_return_sequences", 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstraintsNotMetWarning)
        together = models[pair].generate(**given, **asked).tolist()
        for rows in ([0], [4, 1], [5, 3, 2]):
            part = models[pair].generate(**{name: x[rows] for name, x in given.items()}, **asked).tolist()
            for i, row in enumerate(rows):
                for a, b in zip(
                    part[i * each : i * each + each], together[row * each : row * each + each], strict=True
                ):
                    width = min(len(a), len(b))
                    assert a[:width] == b[:width]
                    assert set(a[width:] + b[width:]) <= {models[pair].config.pad_token_id}


def test_contrastive_search_of_one_candidate_is_greedy(models):
    for pair, model in models.items():
        greedy = model.generate(**source(pair), max_new_tokens=LENGTH).tolist()
        assert model.generate(**source(pair), max_new_tokens=LENGTH, penalty_alpha=0.6, top_k=1).tolist() == greedy
        assert model.generate(**source(pair), max_new_tokens=LENGTH, penalty_alpha=0.0, top_k=4).tolist() == greedy


def test_contrastive_search_reads_every_position(models):
    """The last token is read too, so that one less can be made."""
    model = models["bert_gpt2"]
    asked = {"penalty_alpha": 0.6, "top_k": 3, "eos_token_id": None}
    assert model.generate(**source("bert_gpt2"), max_new_tokens=39, **asked).shape == (6, 40)
    with pytest.raises(InputError, match="lower max_new_tokens to 39"):
        model.generate(**source("bert_gpt2"), max_new_tokens=40, **asked)


# Outputs, stop strings, guidance and criteria, as with other searches.


def test_scores_of_each_step_add_up_to_a_sequences_own(models):
    """By beam_indices, of which transformers' are of each group alone and so lead to other rows."""
    for pair, model in models.items():
        asked = {
            "return_dict_in_generate": True,
            "output_scores": True,
            "max_new_tokens": LENGTH,
            "length_penalty": 0.0,
        }
        for search in (NEW["diverse"], {**NEW["constrained"], "num_return_sequences": 2, "max_new_tokens": 20}):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConstraintsNotMetWarning)
                out = model.generate(**source(pair), **{**asked, **search})
            assert len(out.scores) >= out.beam_indices.shape[1]
            assert out.scores[0].shape == (24, 17)
            chosen = model.compute_transition_scores(out.sequences, out.scores, out.beam_indices)
            added = chosen.masked_fill(out.beam_indices < 0, 0).sum(1)
            assert near(added, out.sequences_scores, 1e-4)


def test_contrastive_search_tells_scores_and_logits_of_what_it_chose(models):
    asked = {**NEW["contrastive"], "max_new_tokens": LENGTH, "return_dict_in_generate": True}
    for pair, model in models.items():
        given_ = source(pair)
        out = model.generate(**given_, **asked, output_scores=True, output_logits=True, repetition_penalty=1.3)
        made = out.sequences.shape[1] - 1
        assert len(out.scores) == len(out.logits) == made
        with torch.no_grad():
            whole = model(**given_, decoder_input_ids=out.sequences[:, :-1]).logits
        over = (out.sequences[:, :-1] == 4).cumsum(1) > 0
        for step in range(made):
            open_ = ~over[:, step]
            assert near(out.logits[step][open_], whole[open_, step], 1e-4)
            likely = out.scores[step].topk(4).indices
            assert (likely == out.sequences[:, step + 1 : step + 2]).any(1)[open_].all()
        assert out.past_key_values is None


@pytest.mark.parametrize("search", NEW.values(), ids=NEW)
def test_stop_strings_and_criteria_end_what_the_searches_write(peer, search, tmp_path):
    pair = peer("bert", "gpt2", vocab=(17, 17))
    words = AutoTokenizer.from_pretrained(tiny.gpt2(tmp_path / "texts"))  # of its bytes, 17 are known here
    given_ = peers.source(pair, rows=6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstraintsNotMetWarning)
        plain = pair.ours.generate(**given_, **{"max_new_tokens": LENGTH, **search})
        stop = words.decode(plain[0, 2:4].tolist())
        stopped = pair.ours.generate(
            **given_, **{"max_new_tokens": LENGTH, **search}, stop_strings=[stop], tokenizer=words
        )
        ends = pair.ours.generate(
            **given_, **{"max_new_tokens": LENGTH, **search}, stopping_criteria=[lambda ids, scores: ids.shape[1] >= 6]
        )
    assert stopped.tolist() != plain.tolist()
    for row in stopped.tolist():
        made = row[1 : row.index(4)] if 4 in row[1:] else [token for token in row[1:] if token != pair.pad]
        assert words.decode(made).find(stop) in (-1, len(words.decode(made)) - len(stop))
    assert ends.shape[1] == 6


def test_guidance_leads_every_group_and_every_candidate(models):
    """A group alone, and one candidate, are guided as beams and greedy search are."""
    model, given_ = models["bert_gpt2"], source("bert_gpt2")
    guided = {"guidance_scale": 1.7, "negative_prompt_ids": torch.tensor([[7, 9, 11]]), "max_new_tokens": LENGTH}
    greedy = model.generate(**given_, **guided)
    groups = {
        "num_beams": 2,
        "num_beam_groups": 2,
        "diversity_penalty": 1e-6,
        "length_penalty": 0.0,
        "early_stopping": True,
    }
    width = min(greedy.shape[1], LENGTH)
    assert model.generate(**given_, **guided, **groups)[:, :width].tolist() == greedy[:, :width].tolist()
    nearly = model.generate(**given_, **guided, penalty_alpha=1e-6, top_k=3)
    assert nearly[:, :width].tolist() == greedy[:, :width].tolist()
    assert greedy.tolist() != model.generate(**given_, max_new_tokens=LENGTH).tolist()


# Refusals: both settings by name.

REFUSED = [
    ({"num_beam_groups": 3, "num_beams": 4, "diversity_penalty": 1.0}, "num_beam_groups is 3 and num_beams 4"),
    ({"num_beam_groups": 2, "diversity_penalty": 1.0}, "num_beam_groups is 2 and num_beams 1"),
    ({"num_beam_groups": 2, "num_beams": 4}, "num_beam_groups is 2 and diversity_penalty 0"),
    ({"num_beams": 4, "diversity_penalty": 1.0}, "diversity_penalty is 1 and num_beam_groups 1"),
    ({"num_beam_groups": 2, "num_beams": 4, "diversity_penalty": 1.0, "do_sample": True}, "groups do not sample"),
    ({"num_beam_groups": 0}, "num_beam_groups is 0; a whole number from 1 on"),
    ({"num_beam_groups": 2, "num_beams": 4, "diversity_penalty": -1.0}, "diversity_penalty is -1.0; a number from 0"),
    ({"force_words_ids": [[7]]}, "num_beams is 1"),
    ({"force_words_ids": [[7]], "num_beams": 4, "do_sample": True}, "do_sample is True"),
    (
        {"force_words_ids": [[7]], "num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 1.0},
        "num_beam_groups is 2",
    ),
    ({"force_words_ids": [[7, 4]], "num_beams": 4}, "token 4, which is in eos_token_id"),
    ({"force_words_ids": [[7]], "num_beams": 4, "suppress_tokens": [7]}, "token 7, which suppress_tokens forbids"),
    ({"force_words_ids": [[99]], "num_beams": 4}, "token 99; the decoder's vocabulary is 0 to 16"),
    ({"force_words_ids": [], "num_beams": 4}, "force_words_ids is \\[\\]; a list with at least one"),
    ({"force_words_ids": [[]], "num_beams": 4}, "token_ids holds \\[\\]"),
    ({"force_words_ids": [7], "num_beams": 4}, "token_ids holds 7"),
    ({"force_words_ids": [[[7], "a"]], "num_beams": 4}, "nested_token_ids holds 'a'"),
    ({"force_words_ids": [[[7], [7, 8]]], "num_beams": 4}, "\\[7\\] begins \\[7, 8\\]"),
    ({"constraints": [[7]], "num_beams": 4}, "constraints holds a list; a PhrasalConstraint"),
    ({"constraints": PhrasalConstraint([7]), "num_beams": 4}, "constraints is .*; a list"),
    ({"penalty_alpha": 0.6, "do_sample": True}, "penalty_alpha is 0.6 and do_sample True"),
    ({"penalty_alpha": 0.6, "num_beams": 2}, "penalty_alpha is 0.6 and num_beams 2"),
    ({"penalty_alpha": 0.6, "top_k": 0}, "penalty_alpha is 0.6 and top_k 0"),
    ({"penalty_alpha": 1.5}, "penalty_alpha is 1.5; a number from 0 to 1"),
    (
        {"penalty_alpha": 0.6, "return_dict_in_generate": True, "output_attentions": True},
        "penalty_alpha is 0.6 and output_attentions True",
    ),
    ({"dola_layers": "high"}, "dola_layers is .high.; it has no meaning"),
    ({"assistant_early_exit": 2}, "assistant_early_exit is 2; it has no meaning"),
    ({"use_mtp": True}, "use_mtp is True; it has no meaning"),
    ({"speculation_type": "dflash"}, "speculation_type is .dflash.; it has no meaning"),
]


@pytest.mark.parametrize(("asked", "told"), REFUSED, ids=[str(asked) for asked, _ in REFUSED])
def test_settings_that_do_not_fit_each_other_are_refused(models, asked, told):
    with pytest.raises(InputError, match=told):
        models["bert_gpt2"].generate(**source("bert_gpt2"), **asked)
