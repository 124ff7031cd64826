"""What holds for any settings: no rule lets a forbidden token through, and a row does not depend on its neighbours."""

import itertools

import peers
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_generation_parity import TINY, ids

VOCAB = 17
ROWS = 5
TOKEN = st.integers(6, VOCAB - 1)
MODES = st.sampled_from(
    [
        {},
        {"num_beams": 3},
        {"num_beams": 2, "num_return_sequences": 2, "early_stopping": True},
        {"num_beams": 4, "early_stopping": "never", "length_penalty": 2.0},
        {"do_sample": True, "top_k": 0},
        {"do_sample": True, "num_return_sequences": 3, "temperature": 1.7},
        {"do_sample": True, "num_beams": 3, "top_p": 0.9},
        {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.7, "num_return_sequences": 2},
        {"penalty_alpha": 0.6, "top_k": 4},
        {"prompt_lookup_num_tokens": 3},
        {"prompt_lookup_num_tokens": 3, "do_sample": True, "temperature": 1.7},
    ]
)
RULES = st.fixed_dictionaries(
    {},
    optional={
        "suppress_tokens": st.lists(TOKEN, min_size=1, max_size=4),
        "bad_words_ids": st.lists(st.lists(TOKEN, min_size=1, max_size=3), min_size=1, max_size=4),
        "no_repeat_ngram_size": st.integers(2, 4),
        "min_new_tokens": st.integers(0, 8),
        "repetition_penalty": st.floats(0.5, 3.0),
        "sequence_bias": st.dictionaries(st.tuples(TOKEN, TOKEN), st.floats(-9.0, 9.0), min_size=1, max_size=4),
        "exponential_decay_length_penalty": st.tuples(st.integers(0, 5), st.floats(0.6, 2.0)),
        "renormalize_logits": st.booleans(),
        "encoder_no_repeat_ngram_size": st.integers(1, 3),
        "forced_eos_token_id": st.just(peers.EOS),
        "begin_suppress_tokens": st.lists(TOKEN, min_size=1, max_size=3),
        "eos_token_id": st.just([4, 7, 11]),
    },
)
many = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def pair(peer):
    return peer("roberta", "gpt2", **TINY)


def new_tokens(row: list[int], ends: list[int]) -> list[int]:
    """What was made, the end included, and not what stands after it."""
    made = row[1:]
    last = next((i for i, token in enumerate(made) if token in ends), len(made) - 1)
    return made[: last + 1]


def sequences(row: list[int], size: int) -> list[tuple[int, ...]]:
    """All of that many tokens in a row."""
    return [tuple(row[i : i + size]) for i in range(len(row) - size + 1)]


@many
@given(mode=MODES, rules=RULES)
def test_no_rule_lets_a_forbidden_token_through(pair, mode, rules):
    source, ends = ids(pair, ROWS), rules.get("eos_token_id", [peers.EOS])
    made = pair.ours.generate(**source, **mode, **rules, seed=1, max_new_tokens=9).tolist()
    each = len(made) // ROWS
    for at, row in enumerate(made):
        new = new_tokens(row, ends)
        free = new[:-1] if rules.get("forced_eos_token_id") and len(new) == 9 else new  # the last one is forced there
        assert not set(free) & set(rules.get("suppress_tokens", ()))
        for bad in rules.get("bad_words_ids", ()):
            if bad not in [[end] for end in ends]:
                assert tuple(bad) not in sequences([row[0], *free], len(bad))
        size = rules.get("no_repeat_ngram_size", 0)
        if size:
            found = sequences([row[0], *free], size)
            assert len(found) == len(set(found))
        assert new[-1] not in ends or len(new) > rules.get("min_new_tokens", 0)
        assert new[0] not in rules.get("begin_suppress_tokens", ())
        size = rules.get("encoder_no_repeat_ngram_size", 0)
        if size:
            read = sequences(source["input_ids"][at // each].tolist(), size)
            assert not set(read) & set(sequences([row[0], *free], size))


@many
@given(mode=MODES, rules=RULES, order=st.permutations(range(ROWS)), some=st.integers(1, ROWS))
def test_a_row_does_not_depend_on_its_neighbours(pair, mode, rules, order, some):
    asked = {**mode, **rules, "seed": 7, "max_new_tokens": 9}
    source, ends = ids(pair, ROWS), rules.get("eos_token_id", [peers.EOS])
    whole = pair.ours.generate(**source, **asked).tolist()
    picked = order[:some]
    part = pair.ours.generate(**{k: v[list(picked)] for k, v in source.items()}, **asked).tolist()
    each = len(whole) // ROWS
    for (at, row), k in itertools.product(enumerate(picked), range(each)):
        assert new_tokens(part[at * each + k], ends) == new_tokens(whole[row * each + k], ends)


@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    mode=MODES.filter(lambda m: "prompt_lookup_num_tokens" not in m),
    row=st.integers(0, ROWS - 1),
    output=st.sampled_from(["output_scores", "output_logits"]),
)
def test_recording_steps_changes_no_sequence(pair, mode, row, output):
    """Rows that are recorded stay in the batch, others leave it."""
    asked = {**mode, "seed": 3, "max_new_tokens": 9, "eos_token_id": [4, 7, 11]}
    plain = pair.ours.generate(**ids(pair, ROWS), **asked)
    kept = pair.ours.generate(**ids(pair, ROWS), **asked, **{output: True}, return_dict_in_generate=True)
    assert kept.sequences.tolist() == plain.tolist()
    alone = {k: v[row : row + 1] for k, v in ids(pair, ROWS).items()}
    assert torch.equal(pair.ours.generate(**alone, **asked), pair.ours.generate(**alone, **asked))
