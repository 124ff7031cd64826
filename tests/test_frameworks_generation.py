"""`generate` in JAX and TensorFlow: rules, prompts, sampling, scores, and few compilations; tokens equal to PyTorch's.

And streams in every framework: the tokens of `generate`, one at a time.
"""

import os
import subprocess
import sys

import numpy as np
import peers
import pytest
import tiny
import torch
from frameworks import ALL, compiled_frameworks, every_framework
from test_frameworks import LENGTH, TINY, loaded, near
from test_generation_parity import GREEDY

import conjoin.decoding.generate as generating
import conjoin.decoding.stream as streaming
from conjoin import AutoTokenizer, InputError, WatermarkingConfig, pipeline
from conjoin.decoding import rules
from conjoin.decoding.settings import resolve
from conjoin.generation import GenerationConfig

TOGETHER = {
    "rules": GREEDY["everything"],
    "forced": {"forced_bos_token_id": 8, "begin_suppress_tokens": [6, 7, 9], "min_new_tokens": 4},
    "beams_never": {"num_beams": 3, "early_stopping": "never", "length_penalty": 2.0, "eos_token_id": [4, 7]},
    "beams_early": {"num_beams": 4, "early_stopping": True, "length_penalty": 0.5, "num_return_sequences": 3},
    "beams_rules": {
        "num_beams": 3,
        "no_repeat_ngram_size": 2,
        "repetition_penalty": 1.6,
        "length_penalty": -1.0,
        "forced_eos_token_id": 4,
        "encoder_no_repeat_ngram_size": 2,
    },
    "beams_all": {"num_beams": 20, "num_return_sequences": 20, "max_new_tokens": 5},
    "one_token": {"num_beams": 3, "max_new_tokens": 1},
    "diverse": {
        "num_beams": 4,
        "num_beam_groups": 2,
        "diversity_penalty": 0.8,
        "num_return_sequences": 3,
        "eos_token_id": [4, 7],
        "no_repeat_ngram_size": 2,
    },
}
PROMPTED = {
    "constrained": {"num_beams": 4, "force_words_ids": [[15, 6], [[9, 10], [9, 12], [14]]], "length_penalty": 0.5},
    "contrastive": {"penalty_alpha": 0.6, "top_k": 4, "repetition_penalty": 1.2},
}
# One program for each mode that holds all that may be compiled.
FURTHER = {
    "sequence_bias": {(7, 8): 4.0, (9,): 1.0, (12, 6): 2.0},
    "bad_words_ids": [[7], [9, 12]],
    "exponential_decay_length_penalty": (6, 1.2),
    "remove_invalid_values": True,
    "renormalize_logits": True,
    "guidance_scale": 1.5,
    "return_dict_in_generate": True,
    "output_scores": True,
    "output_logits": True,
}


def both(framework, pair, given, **settings):
    """PyTorch's tokens and the framework's."""
    asked = {"max_new_tokens": LENGTH, **settings}
    expected = pair.ours.generate(**given, **asked)
    found = loaded(framework, pair).generate(**framework.arrays(given), **framework.arrays(asked))
    return expected.tolist(), framework.tokens(found)


@pytest.mark.usefixtures("way")
@compiled_frameworks
@pytest.mark.parametrize("settings", TOGETHER.values(), ids=TOGETHER)
def test_settings_together_give_equal_tokens(peer, framework, settings):
    pair = peer("bert", "gpt2", **TINY)
    expected, found = both(framework, pair, peers.source(pair, rows=6), **settings)
    assert found == expected


@pytest.mark.usefixtures("way")
@compiled_frameworks
@pytest.mark.parametrize("settings", PROMPTED.values(), ids=PROMPTED)
def test_what_a_prompt_says_counts_behind_its_padding(peer, framework, settings):
    """Prompts are padded to few lengths: what a constraint has of it, and what candidates are compared with, are not."""
    pair = peer("bert", "gpt2", **TINY)
    words = torch.cat([torch.full((6, 1), peers.START), peers.target(pair, rows=6, length=4)], 1)
    words[:, -1] = 15
    expected, found = both(framework, pair, peers.source(pair, rows=6) | {"decoder_input_ids": words}, **settings)
    assert found == expected


@compiled_frameworks
def test_a_flat_list_of_ids_is_read_and_is_no_batch(peer, framework):
    model = loaded(framework, peer("bert", "gpt2", **TINY))
    with pytest.raises(InputError, match=r"input_ids has shape \(3,\); \(batch, tokens\) was expected"):
        model.generate([2, 6, 7])


@pytest.mark.usefixtures("way")
@compiled_frameworks
def test_drafts_are_refused_whichever_way_it_is_generated(peer, framework):
    pair = peer("bert", "gpt2", **TINY)
    model, given = loaded(framework, pair), framework.arrays(peers.source(pair))
    for drafts in ({"prompt_lookup_num_tokens": 3}, {"assistant_model": model}):
        with pytest.raises(
            InputError, match=f"{next(iter(drafts))}.*came; rows take as many drafted tokens as they can"
        ):
            model.generate(**given, max_new_tokens=6, **drafts)


@pytest.mark.usefixtures("way")
@compiled_frameworks
@pytest.mark.parametrize("beams", [1, 3])
def test_further_rules_and_outputs_equal(peer, framework, beams):
    pair = peer("bert", "gpt2", **TINY)
    given = {**peers.source(pair), "negative_prompt_ids": torch.tensor([[7, 9, 11, 6]])}
    words = AutoTokenizer.from_pretrained(tiny.gpt2(pair.folder / "texts"))  # of its bytes, 17 are known here
    asked = {**FURTHER, "num_beams": beams, "max_new_tokens": LENGTH}
    plain = pair.ours.generate(**given, **asked)
    stop = words.decode(plain.sequences[0, 2:4].tolist())
    asked |= {"stop_strings": [stop, "#"], "tokenizer": words}
    expected = pair.ours.generate(**given, **asked)
    assert expected.sequences.tolist() != plain.sequences.tolist()
    found = loaded(framework, pair).generate(**framework.arrays(given), **asked)
    assert framework.tokens(found.sequences) == expected.sequences.tolist()
    for name in ("scores", "logits"):
        assert len(found[name]) == len(expected[name])
        for a, b in zip(expected[name], found[name], strict=True):
            assert np.abs(a.clamp(-1e30, 1e30).numpy() - np.clip(framework.number(b), -1e30, 1e30)).max() < 1e-4
    indices = found.get("beam_indices")
    if beams > 1:
        assert framework.tokens(indices) == expected.beam_indices.tolist()
        assert near(expected.sequences_scores, found.sequences_scores)
    model = loaded(framework, pair)
    for normalised in (False, True):
        a = pair.ours.compute_transition_scores(expected.sequences, expected.scores, expected.beam_indices, normalised)
        b = model.compute_transition_scores(found.sequences, found.scores, indices, normalised)
        assert near(torch.clamp(a, -1e30), np.maximum(framework.number(b), -1e30))


@pytest.mark.usefixtures("way")
@compiled_frameworks
def test_what_calls_python_at_each_step_is_refused_by_name(peer, framework):
    pair = peer("bert", "gpt2", **TINY)
    model, given = loaded(framework, pair), framework.arrays(peers.source(pair))
    for asked in (
        {"logits_processor": []},
        {"stopping_criteria": []},
        {"prefix_allowed_tokens_fn": lambda i, ids: [4]},
        {"streamer": object()},
        {"max_time": 3.0},
        {"output_attentions": True},
        {"output_hidden_states": True},
        {"watermarking_config": WatermarkingConfig()},
    ):
        with pytest.raises(InputError, match=f"{next(iter(asked))} works in PyTorch alone: .*; .*"):
            model.generate(**given, **asked)


@pytest.mark.usefixtures("way")
@compiled_frameworks
def test_scores_of_beams_equal(peer, framework):
    pair = peer("bert", "gpt2", **TINY)
    given = peers.source(pair, rows=6)
    asked = {"num_beams": 4, "num_return_sequences": 3, "return_dict_in_generate": True, "output_scores": True}
    expected = pair.ours.generate(**given, **asked, max_new_tokens=LENGTH)
    found = loaded(framework, pair).generate(**framework.arrays(given), **asked, max_new_tokens=LENGTH)
    assert framework.tokens(found.sequences) == expected.sequences.tolist()
    assert near(expected.sequences_scores, found.sequences_scores)


def rule_cases():
    """Each rule as `processors` and `warpers` build it, alone."""
    alone = {
        "repetition": {"repetition_penalty": 1.7},
        "encoder_repetition": {"encoder_repetition_penalty": 2.5},
        "no_repeat_1": {"no_repeat_ngram_size": 1},
        "no_repeat_3": {"no_repeat_ngram_size": 3},
        "encoder_no_repeat_1": {"encoder_no_repeat_ngram_size": 1},
        "encoder_no_repeat_2": {"encoder_no_repeat_ngram_size": 2},
        "min_length": {"min_length": 9},
        "forced_bos": {"forced_bos_token_id": 8},
        "forced_eos": {"forced_eos_token_id": [9, 4]},
        "suppress": {"suppress_tokens": [7, 9, 10, 12]},
        "begin_suppress": {"begin_suppress_tokens": [6, 7, 8]},
        "bias": {"sequence_bias": {(7,): 1.5, (1, 2): 3.0, (2, 0, 1): -2.0, (0, 2): 1.0, (9,): -1.0}},
        "bad_words": {"bad_words_ids": [[3], [1, 2], [0, 1, 2], [2, 2]]},
        "decay": {"exponential_decay_length_penalty": (1, 1.4)},
        "invalid": {"remove_invalid_values": True, "bad_words_ids": [[3]]},
    }
    warped = {
        "temperature": {"temperature": 0.4},
        "top_k": {"top_k": 5},
        "top_p": {"top_k": 0, "top_p": 0.6},
        "min_p": {"top_k": 0, "min_p": 0.2},
        "top_h": {"top_k": 0, "top_h": 0.6},
        "typical": {"top_k": 0, "typical_p": 0.5},
        "epsilon": {"top_k": 0, "epsilon_cutoff": 0.07},
        "eta": {"top_k": 0, "eta_cutoff": 0.1},
        "all": {"temperature": 1.3, "top_k": 9, "top_p": 0.9, "min_p": 0.05},
    }
    for beams in (1, 3):
        yield from ((f"{n}-{beams}", {**s, "num_beams": beams}, False) for n, s in alone.items())
        yield from ((f"{n}-{beams}", {**s, "num_beams": beams, "do_sample": True}, True) for n, s in warped.items())


@compiled_frameworks
@pytest.mark.parametrize(("settings", "sampling"), [c[1:] for c in rule_cases()], ids=[c[0] for c in rule_cases()])
def test_a_rule_changes_scores_as_in_pytorch(framework, settings, sampling):
    draw, vocab = np.random.default_rng(0), 17
    count = settings["num_beams"]
    ids = draw.integers(0, 3, (5, count, 12)).astype(np.int32)
    source = draw.integers(0, 5, (5, 9)).astype(np.int32)
    config = GenerationConfig().updated({"eos_token_id": 4, "pad_token_id": 0, "max_new_tokens": 11, **settings})
    resolved = resolve(config, prompt=1, positions=40, vocab=vocab)
    changed = 0
    for length in (1, 2, 3, 7, 11):
        scores = draw.standard_normal((5, count, vocab)).astype(np.float32) * 2
        outputs = []
        for one in (ALL["torch"], framework):
            ops, array = one.model_class.ops, one.array
            made = (
                rules.warpers(ops, resolved)
                if sampling
                else rules.processors(
                    ops, resolved, array(source.astype(np.int64 if one.name == "torch" else np.int32))
                )
            )
            now = array(scores.copy())
            for rule in made:
                now = rule(array(ids.astype(np.int64) if one.name == "torch" else ids), length, now)
            outputs.append(one.number(now))
        assert (np.isinf(outputs[0]) == np.isinf(outputs[1])).all()
        finite = np.isfinite(outputs[0])
        assert np.abs(outputs[0][finite] - outputs[1][finite]).max(initial=0.0) < 1e-5
        changed += not np.array_equal(outputs[0], scores)
    assert changed


@pytest.mark.usefixtures("way")
@compiled_frameworks
@pytest.mark.parametrize("decoder", ["roberta", "gpt2"])  # positions that skip padding, and that do not
@pytest.mark.parametrize("beams", [1, 3])
def test_prompts_equal_with_and_without_their_start_token_and_padding(peer, framework, decoder, beams):
    pair = peer("bert", decoder, **TINY)
    given = peers.source(pair)
    words = peers.target(pair, length=3)
    started = torch.cat([torch.full((4, 1), peers.START), words], 1)
    mask = torch.ones_like(words)
    mask[1, :2], mask[2, :1] = 0, 0
    padded = words.masked_fill(mask == 0, pair.pad)
    for prompt in ({"decoder_input_ids": started}, {"decoder_input_ids": padded, "decoder_attention_mask": mask}):
        expected, found = both(framework, pair, {**given, **prompt}, num_beams=beams)
        assert found == expected


@pytest.mark.usefixtures("way")
@compiled_frameworks
def test_a_start_token_for_each_row_and_ready_sources_equal(peer, framework):
    pair = peer("roberta", "bart", **TINY)
    given = peers.source(pair)
    expected, found = both(framework, pair, given, decoder_start_token_id=[5, 6, 7, 8], num_beams=2)
    assert found == expected
    embeddings = pair.ours.encoder.embed.token(given["input_ids"]).detach()
    ready = {"inputs_embeds": embeddings, "attention_mask": given["attention_mask"]}
    expected, found = both(framework, pair, ready)
    assert found == expected
    model = loaded(framework, pair)
    mask = framework.arrays({"attention_mask": given["attention_mask"]})
    outputs = model.encode(**framework.arrays(given))
    plain = model.generate(**framework.arrays(given), max_new_tokens=LENGTH)
    again = model.generate(encoder_outputs=outputs, **mask, max_new_tokens=LENGTH)
    assert framework.tokens(again) == framework.tokens(plain)


@pytest.mark.usefixtures("way")
@compiled_frameworks
@pytest.mark.parametrize("settings", [{}, {"num_beams": 3}, {"num_return_sequences": 2, "top_k": 6}], ids=str)
def test_with_a_seed_a_sample_does_not_depend_on_its_neighbours(peer, framework, settings):
    pair = peer("bert", "gpt2", **TINY)
    model, given = loaded(framework, pair), peers.source(pair, rows=5)
    asked = {**settings, "do_sample": True, "max_new_tokens": LENGTH, "temperature": 1.5}

    def sample(rows, seed):
        part = {name: x[rows] for name, x in given.items()}
        return framework.tokens(model.generate(**framework.arrays(part), **asked, seed=seed))

    whole = sample(slice(0, 5), 7)
    assert sample(slice(0, 5), 7) == whole
    assert sample(slice(0, 5), 8) != whole
    each = settings.get("num_return_sequences", 1)
    for row in (0, 3):
        alone = sample(slice(row, row + 1), 7)
        length = len(alone[0])
        assert [r[:length] for r in whole[row * each : (row + 1) * each]] == alone


@pytest.mark.extensive
@pytest.mark.usefixtures("way")
@compiled_frameworks
def test_tokens_are_drawn_as_often_as_they_are_likely(peer, framework):
    pair = peer("bert", "gpt2", **TINY)
    given, count = peers.source(pair, rows=1), 3000
    with torch.no_grad():
        start = torch.full((1, 1), peers.START)
        chance = pair.ours(**given, decoder_input_ids=start).logits[0, -1].div(2.0).softmax(-1).numpy()
    made = loaded(framework, pair).generate(
        **framework.arrays(given),
        do_sample=True,
        temperature=2.0,
        top_k=0,
        max_new_tokens=1,
        num_return_sequences=count,
        seed=1,
    )
    drawn = np.bincount(np.asarray(made)[:, 1], minlength=len(chance)) / count
    assert chance.max() < 0.9
    assert np.abs(drawn - chance).max() < 4 * np.sqrt(0.25 / count)


@compiled_frameworks
def test_other_lengths_and_batches_need_no_new_program(peer, framework, monkeypatch):
    pair = peer("bert", "gpt2")
    model, traced = framework.load(pair.folder), []
    begun = generating.begun
    monkeypatch.setattr(generating, "begun", lambda *given: traced.append(1) or begun(*given))

    def tokens(rows, length, new):
        given = peers.source(pair, rows=rows, length=length)
        expected, found = (
            m.generate(**(given if m is pair.ours else framework.arrays(given)), max_new_tokens=new, num_beams=2)
            for m in (pair.ours, model)
        )
        assert framework.tokens(found) == expected.tolist()

    tokens(4, 17, 20)
    assert len(traced) == 2  # PyTorch's, which is not compiled, and one program
    for rows, length, new in ((4, 18, 19), (4, 24, 22), (4, 20, 18)):
        traced.clear()
        tokens(rows, length, new)
        assert len(traced) == 1
    tokens(5, 18, 19)
    traced.clear()
    tokens(6, 20, 21)
    assert len(traced) == 1


@pytest.mark.usefixtures("way")
@compiled_frameworks
def test_a_changed_weight_or_token_changes_what_is_generated(peer, framework):
    pair = peer("bert", "gpt2", **TINY)
    model, given = framework.load(pair.folder), framework.arrays(peers.source(pair))
    before = framework.tokens(model.generate(**given, max_new_tokens=8))
    model.config.decoder_start_token_id = 9
    assert framework.tokens(model.generate(**given, max_new_tokens=8))[0][0] == 9
    model.config.decoder_start_token_id = peers.START
    model.ops.rewrite(model, "decoder.layers.0.ffn.up.weight", lambda old: old * 3)
    assert framework.tokens(model.generate(**given, max_new_tokens=8)) != before


@pytest.mark.usefixtures("way")
@compiled_frameworks
def test_the_longest_output_fills_every_position(peer, framework):
    pair = peer("bert", "gpt2")
    expected, found = both(
        framework, pair, peers.source(pair, rows=2), max_new_tokens=peers.POSITIONS, eos_token_id=None
    )
    assert found == expected
    assert len(found[0]) == peers.POSITIONS + 1


@compiled_frameworks
def test_generate_can_be_part_of_a_program_of_yours(peer, framework):
    pair = peer("bert", "gpt2", **TINY)
    model, given = loaded(framework, pair), peers.source(pair)
    expected = pair.ours.generate(**given, max_new_tokens=8)
    arrays = framework.arrays(given)
    if framework.name == "jax":
        import jax

        inner = jax.jit(lambda ids, mask: model.generate(ids, attention_mask=mask, max_new_tokens=8).sequences)
    else:
        import tensorflow as tf

        inner = tf.function(lambda ids, mask: model.generate(ids, attention_mask=mask, max_new_tokens=8))
    found = np.asarray(inner(arrays["input_ids"], arrays["attention_mask"]))
    assert found[:, : expected.shape[1]].tolist() == expected.tolist()
    assert found.shape[1] == 9


# Streams.

STREAMS = {
    "greedy": {},
    "rules": GREEDY["everything"],
    "sample": {"do_sample": True, "seed": 5, "temperature": 1.5},
    "one_token": {"max_new_tokens": 1},
    "never_ends": {"eos_token_id": None},
}


def row(pair, at, length=9):
    """One source alone."""
    return {name: x[at : at + 1] for name, x in peers.source(pair, length=length).items()}


def streamed(framework, model, given, **settings):
    """The ids of a stream."""
    asked = framework.arrays({**given, "max_new_tokens": LENGTH, **settings})
    return list(streaming.stream(model, asked.pop("input_ids"), asked))


def generated(framework, model, given, **settings):
    """The same ids, from `generate`."""
    return framework.tokens(model.generate(**framework.arrays({**given, "max_new_tokens": LENGTH, **settings})))[0]


@pytest.fixture
def watched(monkeypatch):
    """`watched(framework)`: a list to which each further step of a stream in that framework adds what it was given."""

    def of(framework):
        ops, steps = framework.model_class.ops, []
        programs = ops.programs

        def counted(*given):
            start, step = programs(*given)
            return start, lambda kept, changing: steps.append(changing) or step(kept, changing)

        monkeypatch.setattr(ops, "programs", counted)
        return steps

    return of


@pytest.mark.usefixtures("way")
@every_framework
@pytest.mark.parametrize("settings", STREAMS.values(), ids=STREAMS)
def test_a_stream_is_what_generate_makes(peer, framework, settings):
    pair = peer("bert", "gpt2", **TINY)
    model = loaded(framework, pair)
    for at in range(3):
        assert streamed(framework, model, row(pair, at), **settings) == generated(
            framework, model, row(pair, at), **settings
        )


@pytest.mark.usefixtures("way")
@every_framework
def test_a_stream_begins_with_its_prompt(peer, framework):
    pair = peer("bert", "roberta", **TINY)
    words = torch.cat([torch.full((1, 2), pair.pad), peers.target(pair, rows=1, length=3)], 1)
    prompt = {"decoder_input_ids": words, "decoder_attention_mask": (words != pair.pad).long()}
    model, given = loaded(framework, pair), {**row(pair, 1), **prompt}
    found = streamed(framework, model, given)
    assert found[:6] == [peers.START, *words[0].tolist()]
    assert found == generated(framework, model, given)


@every_framework
def test_a_token_comes_as_soon_as_it_is_chosen(peer, framework, watched):
    pair = peer("bert", "gpt2", **TINY)
    model, steps = loaded(framework, pair), watched(framework)
    asked = {**framework.arrays(row(pair, 0)), "max_new_tokens": LENGTH, "eos_token_id": None}
    coming = streaming.stream(model, asked.pop("input_ids"), asked)
    assert not steps
    next(coming)
    before = len(steps)
    for made in range(1, LENGTH + 1):
        next(coming)
        assert abs(len(steps) - before - made) <= 1
    assert list(coming) == []


@compiled_frameworks
def test_another_stream_needs_no_new_program(peer, framework, monkeypatch):
    pair = peer("bert", "gpt2", **TINY)
    model, traced = framework.load(pair.folder), []
    for name in ("begun", "advance"):
        function = getattr(streaming, name)
        monkeypatch.setattr(
            streaming, name, lambda *given, name=name, function=function: traced.append(name) or function(*given)
        )
    assert len(streamed(framework, model, row(pair, 0), eos_token_id=None)) == LENGTH + 1
    assert traced == ["begun", "advance"]
    for length, new in ((9, LENGTH), (12, LENGTH), (16, LENGTH - 1)):
        streamed(framework, model, row(pair, 1, length), max_new_tokens=new, eos_token_id=None)
    assert traced == ["begun", "advance"]
    streamed(framework, model, row(pair, 0), max_new_tokens=LENGTH + 10, eos_token_id=None)
    assert traced == ["begun", "advance"] * 2


COMPILATIONS = """
import pathlib, sys
import numpy as np
from conjoin import TFEncoderDecoderModel
from conjoin.decoding.stream import stream

model, dumped = TFEncoderDecoderModel.from_pretrained(sys.argv[1]), pathlib.Path(sys.argv[2])
asked = {"eos_token_id": None, "no_repeat_ngram_size": 2, "do_sample": True, "seed": 3}

def compiled(run, *given):
    before = len(list(dumped.glob("*_inference_run_*before_optimizations.txt")))
    run(*given)
    return len(list(dumped.glob("*_inference_run_*before_optimizations.txt"))) - before

def streamed(first, new):
    assert len(list(stream(model, np.full((1, 9), first), {"max_new_tokens": new, **asked}))) == new + 1

def generated(prompt):
    model.generate(np.full((1, 9), 6), decoder_input_ids=np.full((1, prompt), 5), max_new_tokens=6, **asked)

print(compiled(streamed, 6, 12), compiled(streamed, 7, 11), compiled(generated, 9), compiled(generated, 10))
"""


def test_xla_compiles_once_in_tensorflow_too_whatever_the_length(peer, tmp_path):
    pair = peer("bert", "gpt2")
    script = [sys.executable, "-c", COMPILATIONS, str(pair.folder), str(tmp_path)]
    environment = {**os.environ, "XLA_FLAGS": f"--xla_dump_to={tmp_path}"}
    done = subprocess.run(script, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["2", "0", "1", "0"]  # a start and a step; a loop


def test_jax_takes_the_memory_of_the_step_before(peer, watched):
    pair = peer("bert", "gpt2", **TINY)
    steps = watched(ALL["jax"])
    streamed(ALL["jax"], loaded(ALL["jax"], pair), row(pair, 0), eos_token_id=None)
    assert len(steps) == LENGTH
    assert all(x.is_deleted() for step in steps for layer in step["cache"] for x in layer)


@pytest.mark.usefixtures("way")
@every_framework
def test_streams_take_turns_with_each_other_and_with_generate(peer, framework):
    pair = peer("bert", "gpt2", **TINY)
    model = loaded(framework, pair)
    expected = [generated(framework, model, row(pair, at)) for at in range(3)]
    streams = []
    for at in range(3):
        asked = {**framework.arrays(row(pair, at)), "max_new_tokens": LENGTH}
        streams.append(streaming.stream(model, asked.pop("input_ids"), asked))
    found = [[], [], []]
    for turn in range(LENGTH + 1):
        for at, one in enumerate(streams):
            found[at].extend([token] if (token := next(one, None)) is not None else [])
        if turn == 2:
            assert generated(framework, model, row(pair, 0)) == expected[0]
    assert found == expected


@every_framework
def test_a_stream_of_beams_is_what_generate_makes_and_comes_before_the_end(peer, framework, watched):
    pair = peer("bert", "gpt2", **TINY)
    model = loaded(framework, pair)
    asked = {"num_beams": 3, "length_penalty": 2.0}
    expected = framework.tokens(
        model.generate(**framework.arrays({**peers.source(pair), "max_new_tokens": LENGTH, **asked}))
    )
    steps, found, early = watched(framework), [[], [], [], []], 0
    given = framework.arrays({**peers.source(pair), "max_new_tokens": LENGTH, **asked})
    for row, ids in streaming.streams(model, given.pop("input_ids"), given):
        found[row].extend(ids)
        early += len(steps) < LENGTH - 1 and len(found[row]) > 1
    longest = max(len(one) for one in found)
    assert [one + [pair.pad] * (longest - len(one)) for one in found] == expected
    assert early


@pytest.mark.usefixtures("way")
@every_framework
def test_a_stream_of_several_sequences_is_refused(peer, framework):
    pair = peer("bert", "gpt2", **TINY)
    model = loaded(framework, pair)
    with pytest.raises(InputError, match="num_return_sequences is 3; a stream is one sequence of each source"):
        streamed(framework, model, row(pair, 0), num_beams=3, num_return_sequences=3)
    with pytest.raises(InputError, match="several came"):
        streamed(framework, model, peers.source(pair))
    with pytest.raises(TypeError, match="max_new_tokens"):
        streamed(framework, model, row(pair, 0), max_new_token=3)


@pytest.fixture(scope="module", params=["bert", "gpt2"])
def joined(request, tmp_path_factory):
    return tiny.join(tmp_path_factory.mktemp("joined") / request.param, request.param)


@every_framework
@pytest.mark.parametrize("settings", [{}, {"do_sample": True, "seed": 3, "top_k": 0}], ids=str)
def test_a_pipeline_streams_a_text_in_pieces_before_its_end(joined, framework, settings, watched):
    write, text = pipeline(joined, backend=framework.name), "the big red dog and the small blue cat ran ."
    whole, steps = write(text, max_new_tokens=12, **settings), watched(framework)
    coming = write.stream(text, max_new_tokens=12, **settings)
    first = next(coming)
    early = len(steps)
    rest = list(coming)
    assert first + "".join(rest) == whole
    assert all(rest)
    assert len(rest) > 1
    assert early < len(steps)
