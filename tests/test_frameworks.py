"""JAX and TensorFlow compute what PyTorch computes: one body, every pair of an encoder and a decoder."""

import numpy as np
import peers
import pytest
import torch
from frameworks import compiled_frameworks
from peers import PAIRS

from conjoin.errors import InputError

pytestmark = pytest.mark.usefixtures("engine")
CLOSE = 1e-5
TINY = {"vocab": (17, 17)}  # so that the end comes early, and in each row at another step
LENGTH = 14
every_pair = pytest.mark.parametrize(("encoder", "decoder"), PAIRS)
every_decoder = pytest.mark.parametrize("decoder", peers.DECODERS)
models: dict[tuple[str, str], object] = {}


def loaded(framework, pair):
    """The model of a pair's folder in a framework, each once."""
    key = (framework.name, str(pair.folder))
    if key not in models:
        models[key] = framework.load(pair.folder)
    return models[key]


def near(theirs, ours, tolerance=CLOSE) -> bool:
    """Whether no difference is above the tolerance, which grows with values above 1: float32 has seven digits."""
    theirs, ours = np.asarray(theirs, np.float64), np.asarray(ours, np.float64)
    assert theirs.shape == ours.shape, (theirs.shape, ours.shape)
    return float(np.abs(theirs - ours).max()) < tolerance * max(1.0, float(np.abs(theirs).max()))


def called(framework, pair, **inputs):
    """PyTorch's output, and the framework's, of the same inputs."""
    with torch.no_grad():
        expected = pair.ours(**inputs)
    return expected, loaded(framework, pair)(**framework.arrays(inputs))


@compiled_frameworks
@every_pair
def test_logits_and_states_equal_with_padding_on_both_sides_of_the_source(peer, framework, encoder, decoder):
    pair = peer(encoder, decoder)
    expected, found = called(framework, pair, **peers.source(pair), decoder_input_ids=peers.target(pair))
    assert near(expected.logits, found.logits)
    assert float(expected.logits.abs().max()) > 1
    assert near(expected.encoder_last_hidden_state, found.encoder_last_hidden_state)


@compiled_frameworks
@every_pair
def test_loss_and_the_gradient_of_every_parameter_equal(peer, framework, encoder, decoder):
    from frameworks import ALL

    pair = peer(encoder, decoder)
    batch = {**peers.source(pair), "labels": peers.labels(pair)}
    expected, theirs = ALL["torch"].gradients(pair.ours, batch)
    loss, ours = framework.gradients(loaded(framework, pair), batch)
    assert abs(loss - expected) < CLOSE
    assert set(theirs) <= set(ours)
    assert len(theirs) > 60
    for name, gradient in theirs.items():
        assert near(gradient, ours[name]), name
    assert not any(ours[name].any() for name in set(ours) - set(theirs))


@compiled_frameworks
@every_pair
def test_greedy_and_beam_tokens_equal(peer, framework, encoder, decoder):
    pair = peer(encoder, decoder, **TINY)
    model, given = loaded(framework, pair), peers.source(pair, rows=5)
    for settings in ({}, {"num_beams": 4, "num_return_sequences": 2}):
        asked = {**settings, "max_new_tokens": LENGTH}
        expected = pair.ours.generate(**given, **asked)
        assert framework.tokens(model.generate(**framework.arrays(given), **asked)) == expected.tolist()


@compiled_frameworks
@every_decoder
def test_token_types_positions_and_ready_embeddings_equal(peer, framework, decoder):
    pair = peer("bert", decoder)
    draw = torch.Generator().manual_seed(3)
    source, target = peers.source(pair), peers.target(pair)
    more = {
        "token_type_ids": torch.randint(0, 2, source["input_ids"].shape, generator=draw),
        "position_ids": torch.randint(0, 9, source["input_ids"].shape, generator=draw),
    }
    if decoder != "bart":
        more["decoder_position_ids"] = torch.tensor([[3, 4, 5, 6, 7, 8, 9]]).repeat(4, 1)
    expected, found = called(framework, pair, **source, **more, decoder_input_ids=target)
    assert near(expected.logits, found.logits)
    widths = pair.ours.encoder.spec.width, pair.ours.decoder.spec.width
    ready = {
        "inputs_embeds": torch.randn(*source["input_ids"].shape, widths[0], generator=draw),
        "attention_mask": source["attention_mask"],
        "decoder_inputs_embeds": torch.randn(*target.shape, widths[1], generator=draw),
    }
    expected, found = called(framework, pair, **ready)
    assert near(expected.logits, found.logits)


@compiled_frameworks
@every_decoder
def test_states_and_attentions_equal(peer, framework, decoder):
    pair = peer("roberta", decoder)
    asked = {"output_attentions": True, "output_hidden_states": True}
    expected, found = called(framework, pair, **peers.source(pair), decoder_input_ids=peers.target(pair), **asked)
    assert list(found) == list(expected)
    for name in ("encoder_hidden_states", "encoder_attentions", "decoder_hidden_states", "decoder_attentions"):
        assert len(found[name]) == len(expected[name])
        assert all(near(a, b) for a, b in zip(expected[name], found[name], strict=True)), name
    assert all(near(a, b) for a, b in zip(expected.cross_attentions, found.cross_attentions, strict=True))
    one, other = (
        len(m(**i, decoder_input_ids=t, return_dict=False))
        for m, i, t in (
            (pair.ours, peers.source(pair), peers.target(pair)),
            (loaded(framework, pair), framework.arrays(peers.source(pair)), framework.array(peers.target(pair))),
        )
    )
    assert one == other


@compiled_frameworks
@every_decoder
def test_token_by_token_through_a_cache_equals_the_whole(peer, framework, decoder):
    pair = peer("bert", decoder)
    model, given = loaded(framework, pair), framework.arrays(peers.source(pair))
    target = np.asarray(peers.target(pair))
    whole = framework.number(model(**given, decoder_input_ids=framework.array(target)).logits)
    outputs = model.encode(**given)
    mask = given["attention_mask"]
    past = model.init_cache(len(target), 12, outputs, encoder_attention_mask=mask)
    steps = []
    for at in range(target.shape[1]):
        out = model.decode(framework.array(target[:, at : at + 1]), past_key_values=past)
        past = out.past_key_values
        assert past.get_seq_length() == at + 1
        steps.append(framework.number(out.logits))
    assert near(whole, np.concatenate(steps, 1))
    at_once = model.decode(framework.array(target), outputs, encoder_attention_mask=mask)
    assert near(whole, framework.number(at_once.logits))
    first = model(**given, decoder_input_ids=framework.array(target[:, :4]), use_cache=True)
    rest = model(
        encoder_outputs=outputs,
        attention_mask=mask,
        decoder_input_ids=framework.array(target[:, 4:]),
        past_key_values=first.past_key_values,
    )
    assert near(whole[:, 4:], framework.number(rest.logits))


@compiled_frameworks
def test_the_loss_alone_is_the_same_and_counts_as_asked(peer, framework):
    pair = peer("bert", "gpt2")
    batch = {**peers.source(pair), "labels": peers.labels(pair)}
    expected, found = called(framework, pair, **batch, return_logits=False)
    assert "logits" not in found
    assert abs(float(found.loss) - float(expected.loss)) < CLOSE
    expected, found = called(framework, pair, **batch, num_items_in_batch=50)
    assert abs(float(found.loss) - float(expected.loss)) < CLOSE
    for logits in (True, False):
        expected, found = called(framework, pair, **batch, return_logits=logits, smoothing=0.2)
        assert abs(float(found.loss) - float(expected.loss)) < CLOSE
    for wrong in (1.0, -0.1, float("nan"), "0.1"):
        with pytest.raises(InputError, match=r"smoothing is .*; a number from 0 to below 1 was expected"):
            loaded(framework, pair)(**framework.arrays(batch), smoothing=wrong)
