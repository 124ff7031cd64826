"""Forward passes: logits, loss, gradients, states, attentions and cache, equal to transformers 5.23 on the same weights."""

import copy

import peers
import pytest
import torch
from peers import PAIRS, Peer, compared_gradients, far, near

from conjoin import EncoderDecoderConfig
from conjoin.torch import EncoderDecoderModel

CLOSE = 1e-5  # of logits of order 1 to 10
WIDTHS = {"projected": (32, 24), "equal_widths": (24, 24)}
every_pair = pytest.mark.parametrize(("encoder", "decoder"), PAIRS)
every_decoder = pytest.mark.parametrize("decoder", peers.DECODERS)
every_encoder = pytest.mark.parametrize("encoder", peers.ENCODERS)


def logits(pair: Peer, **inputs):
    """Their logits and ours, and that they are large enough to tell."""
    with torch.no_grad():
        a, b = pair.theirs(**inputs).logits, pair.ours(**inputs).logits
    assert 1 < a.abs().max().item() < 40
    return a, b


@pytest.mark.parametrize("widths", WIDTHS.values(), ids=WIDTHS)
@every_pair
def test_logits_equal_with_padding_on_both_sides_of_the_source(peer, encoder, decoder, widths):
    pair = peer(encoder, decoder, widths=widths)
    a, b = logits(pair, **peers.source(pair), decoder_input_ids=peers.target(pair))
    assert far(a, b) < CLOSE


@pytest.mark.parametrize("widths", WIDTHS.values(), ids=WIDTHS)
@every_pair
def test_loss_and_the_gradient_of_every_parameter_equal(peer, encoder, decoder, widths):
    pair = peer(encoder, decoder, widths=widths)
    given = {**peers.source(pair), "labels": peers.labels(pair)}
    losses = []
    for model in (pair.theirs, pair.ours):
        model.zero_grad(set_to_none=True)
        losses.append(model(**given).loss)
        losses[-1].backward()
    assert near(*losses, 1e-6)
    assert losses[0].item() > 1
    compared = list(compared_gradients(pair))
    assert len(compared) > 60
    for name, theirs, ours in compared:
        assert near(theirs, ours, CLOSE), name
    still = [n for n, theirs, _ in compared if not theirs.any()]
    # A bias of keys moves all scores alike; every other parameter has a gradient here.
    assert not [n for n in still if not n.endswith(("key.bias", "k_proj.bias"))]


@every_pair
def test_labels_make_the_decoders_inputs_and_its_mask(peer, encoder, decoder):
    pair = peer(encoder, decoder)
    given = peers.labels(pair)
    a, b = logits(pair, **peers.source(pair), labels=given)
    assert far(a, b) < CLOSE
    from transformers.models.encoder_decoder.modeling_encoder_decoder import shift_tokens_right

    shifted = shift_tokens_right(given, pair.pad, peers.START)
    assert torch.equal(pair.ours.prepare_decoder_input_ids_from_labels(given), shifted)


@every_decoder
def test_the_start_token_is_seen_even_where_it_is_the_padding(peer, decoder):
    """transformers hides it there, from all that follow; with its mask given by hand it does not."""
    pair = peer("bert", decoder)
    model, given = copy.deepcopy(pair.ours), peers.labels(pair)
    model.config.decoder_start_token_id = pair.pad
    shifted = model.prepare_decoder_input_ids_from_labels(given)
    mask = (shifted != pair.pad).long()
    hidden = mask.clone()
    mask[:, 0] = 1
    with torch.no_grad():
        found = model(**peers.source(pair), labels=given).logits
        as_asked = {**peers.source(pair), "decoder_input_ids": shifted}
        expected = pair.theirs(**as_asked, decoder_attention_mask=mask).logits
        unlike = pair.theirs(**as_asked, decoder_attention_mask=hidden).logits
    assert far(expected, found) < CLOSE
    assert far(unlike[:, 1:], found[:, 1:]) > 1e-2


@every_decoder
def test_a_left_padded_prompt_equals_under_its_mask(peer, decoder):
    pair = peer("bert", decoder)
    ids = peers.target(pair)
    mask = torch.ones_like(ids)
    mask[1, :3], mask[2, :1] = 0, 0
    ids = ids.masked_fill(mask == 0, pair.pad)
    a, b = logits(pair, **peers.source(pair), decoder_input_ids=ids, decoder_attention_mask=mask)
    assert far(a[mask == 1], b[mask == 1]) < CLOSE
    unmasked = logits(pair, **peers.source(pair), decoder_input_ids=ids)[1]
    assert far(unmasked[mask == 1], b[mask == 1]) > 1e-2


@pytest.mark.parametrize("decoder", ["bert", "roberta", "gpt2"])
def test_explicit_decoder_positions_equal(peer, decoder):
    pair = peer("roberta", decoder)
    ids = peers.target(pair)
    positions = torch.tensor([[3, 4, 5, 6, 7, 8, 9]]).repeat(4, 1)
    positions[1] = torch.tensor([2, 2, 2, 3, 4, 5, 6])
    a, b = logits(pair, **peers.source(pair), decoder_input_ids=ids, decoder_position_ids=positions)
    assert far(a, b) < CLOSE
    assert far(b, logits(pair, **peers.source(pair), decoder_input_ids=ids)[1]) > 1e-2


def test_explicit_positions_of_a_bart_decoder_count_from_its_offset(peer):
    """transformers' BART decoder ignores decoder_position_ids; a table moved by three rows says what they mean."""
    pair = peer("roberta", "bart")
    moved = copy.deepcopy(pair.theirs)
    table = moved.decoder.model.decoder.embed_positions.weight
    table.data = table.data.roll(-3, 0)
    inputs = {**peers.source(pair), "decoder_input_ids": peers.target(pair)}
    with torch.no_grad():
        expected = moved(**inputs).logits
        found = pair.ours(**inputs, decoder_position_ids=torch.arange(3, 10)[None]).logits
    assert far(expected, found) < CLOSE


@pytest.mark.parametrize("encoder", ["bert", "roberta"])
def test_explicit_source_positions_equal(peer, encoder):
    pair = peer(encoder, "bert")
    positions = torch.arange(4, 13)[None].repeat(4, 1)
    inputs = {**peers.source(pair), "decoder_input_ids": peers.target(pair)}
    a, b = logits(pair, **inputs, position_ids=positions)
    assert far(a, b) < CLOSE
    assert far(b, logits(pair, **inputs)[1]) > 1e-2


@pytest.mark.parametrize("decoder", ["bert", "roberta"])
@pytest.mark.parametrize("encoder", ["bert", "roberta"])
def test_token_types_of_both_sides_equal(peer, encoder, decoder):
    pair = peer(encoder, decoder)
    types = (torch.arange(9) > 4).long()[None].repeat(4, 1)
    own = (torch.arange(7) > 2).long()[None].repeat(4, 1)
    inputs = {**peers.source(pair), "decoder_input_ids": peers.target(pair)}
    a, b = logits(pair, **inputs, token_type_ids=types, decoder_token_type_ids=own)
    assert far(a, b) < CLOSE
    assert far(b, logits(pair, **inputs, token_type_ids=types)[1]) > 1e-2
    assert far(b, logits(pair, **inputs, decoder_token_type_ids=own)[1]) > 1e-2


@every_pair
def test_ready_embeddings_of_both_sides_equal(peer, encoder, decoder):
    pair = peer(encoder, decoder)
    draw = torch.Generator().manual_seed(3)
    given = {
        "inputs_embeds": torch.randn(4, 9, 32, generator=draw),
        "attention_mask": peers.source(pair)["attention_mask"],
        "decoder_inputs_embeds": torch.randn(4, 7, 24, generator=draw),
    }
    a, b = logits(pair, **given)
    assert far(a, b) < CLOSE


@every_encoder
def test_the_mask_is_inferred_from_the_sources_padding(peer, encoder):
    pair = peer(encoder, "bert")
    given = peers.source(pair)
    ids = peers.target(pair)
    expected, _ = logits(pair, **given, decoder_input_ids=ids)
    with torch.no_grad():
        found = pair.ours(input_ids=given["input_ids"], decoder_input_ids=ids).logits
    assert far(expected, found) < CLOSE


@every_pair
def test_attentions_and_hidden_states_equal_eager_transformers(peer, encoder, decoder):
    pair = peer(encoder, decoder)
    eager = peers.eager(pair)
    inputs = {**peers.source(pair), "decoder_input_ids": peers.target(pair)}
    with torch.no_grad():
        a = eager(**inputs, output_attentions=True, output_hidden_states=True)
        b = pair.ours(**inputs, output_attentions=True, output_hidden_states=True)
    assert near(a.logits, b.logits, CLOSE)
    names = [n for n in a if n not in ("past_key_values", "logits")]
    assert set(names) == set(b) - {"past_key_values", "logits"}
    assert list(a) == list(b)
    for name in names:
        assert type(a[name]) is type(b[name]), name
        theirs, ours = (x if isinstance(x, tuple) else (x,) for x in (a[name], b[name]))
        assert len(theirs) == len(ours) > 0, name
        for one, other in zip(theirs, ours, strict=True):
            assert near(one, other, CLOSE), name


@every_decoder
def test_a_tuple_has_the_same_values_in_the_same_order(peer, decoder):
    pair = peer("bert", decoder)
    eager = peers.eager(pair)
    inputs = {**peers.source(pair), "labels": peers.labels(pair)}
    asked = {"output_attentions": True, "output_hidden_states": True, "use_cache": False, "return_dict": False}
    with torch.no_grad():
        a, b = eager(**inputs, **asked), pair.ours(**inputs, **asked)
    assert isinstance(b, tuple)
    assert len(a) == len(b) == 8
    for theirs, ours in zip(a, b, strict=True):
        both = zip(theirs, ours, strict=True) if isinstance(theirs, tuple) else [(theirs, ours)]
        assert all(near(one, other, CLOSE) for one, other in both)
    assert near(b[0], pair.ours(**inputs)[0], 1e-6)


@every_decoder
def test_decoding_with_a_cache_equals_decoding_without(peer, decoder):
    pair = peer("roberta", decoder)
    ids = peers.target(pair)
    with torch.no_grad():
        whole, _ = logits(pair, **peers.source(pair), decoder_input_ids=ids)
        out = pair.ours(**peers.source(pair), decoder_input_ids=ids[:, :3], use_cache=True)
        pieces, past = [out.logits], out.past_key_values
        assert past.get_seq_length() == 3
        for start, end in ((3, 4), (4, 6), (6, 7)):
            out = pair.ours(
                encoder_outputs=(out.encoder_last_hidden_state,),
                attention_mask=peers.source(pair)["attention_mask"],
                decoder_input_ids=ids[:, start:end],
                past_key_values=past,
                use_cache=True,
            )
            pieces.append(out.logits)
            past = out.past_key_values
        assert past.get_seq_length() == 7
    assert far(whole, torch.cat(pieces, 1)) < CLOSE


@every_decoder
def test_a_cache_with_a_left_padded_prompt_equals_transformers(peer, decoder):
    pair = peer("bert", decoder)
    ids = peers.target(pair)
    mask = torch.ones_like(ids)
    mask[1, :2] = 0
    ids = ids.masked_fill(mask == 0, pair.pad)
    given = peers.source(pair)
    with torch.no_grad():
        whole = pair.theirs(**given, decoder_input_ids=ids, decoder_attention_mask=mask).logits
        out = pair.ours(**given, decoder_input_ids=ids[:, :5], decoder_attention_mask=mask[:, :5], use_cache=True)
        more = pair.ours(
            encoder_outputs=(out.encoder_last_hidden_state,),
            attention_mask=given["attention_mask"],
            decoder_input_ids=ids[:, 5:],
            decoder_attention_mask=mask,
            past_key_values=out.past_key_values,
            # RoBERTa counts what is not padding; the past's padding is known only to the caller.
            decoder_position_ids=torch.stack([torch.tensor([7, 8]), torch.tensor([5, 6])])[[0, 1, 0, 0]]
            if decoder == "roberta"
            else None,
        ).logits
    assert far(whole[:, 5:], more) < CLOSE


@every_encoder
def test_encoder_outputs_can_be_used_again(peer, encoder):
    pair = peer(encoder, "gpt2")
    given, ids = peers.source(pair), peers.target(pair)
    with torch.no_grad():
        expected, _ = logits(pair, **given, decoder_input_ids=ids)
        from_theirs = pair.theirs.encoder(**given)
        from_ours = pair.ours.encoder(**given)
        assert far(from_theirs.last_hidden_state, from_ours.last_hidden_state) < CLOSE
        for outputs in (from_theirs, from_ours, (from_ours.last_hidden_state,)):
            out = pair.ours(encoder_outputs=outputs, attention_mask=given["attention_mask"], decoder_input_ids=ids)
            assert far(expected, out.logits) < CLOSE


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu", "silu", "gelu_pytorch_tanh"])
@pytest.mark.parametrize(
    ("encoder", "decoder"), [("bert", "gpt2"), ("bart", "bart"), ("roberta", "bert"), ("bert", "roberta")]
)
def test_every_activation_equals(peer, encoder, decoder, activation):
    more = (("activation", activation),)
    pair = peer(encoder, decoder, encoder_more=more, decoder_more=more)
    a, b = logits(pair, **peers.source(pair), decoder_input_ids=peers.target(pair))
    assert far(a, b) < CLOSE


@every_pair
def test_a_wrong_gelu_on_either_side_would_be_seen(peer, encoder, decoder):
    pair = peer(encoder, decoder)
    inputs = {**peers.source(pair), "decoder_input_ids": peers.target(pair)}
    expected, _ = logits(pair, **inputs)
    for side in ("encoder", "decoder"):
        config = EncoderDecoderConfig.from_pretrained(pair.folder)
        part = getattr(config, side)
        field = "hidden_act" if "hidden_act" in part.names() else "activation_function"
        setattr(part, field, {"gelu": "gelu_new", "gelu_new": "gelu"}[getattr(part, field)])
        wrong = EncoderDecoderModel.from_pretrained(pair.folder, config=config)
        with torch.no_grad():
            assert far(expected, wrong(**inputs).logits) > 5 * CLOSE, side


@every_pair
def test_a_wrong_position_on_either_side_would_be_seen(peer, encoder, decoder):
    pair = peer(encoder, decoder)
    inputs = {**peers.source(pair), "decoder_input_ids": peers.target(pair)}
    expected, _ = logits(pair, **inputs)
    for side in ("encoder", "decoder"):
        wrong = copy.deepcopy(pair.ours)
        wrong.part(side).embed.offset += 1
        with torch.no_grad():
            assert far(expected, wrong(**inputs).logits) > 100 * CLOSE, side


@pytest.mark.parametrize(
    ("encoder", "decoder", "options"),
    [
        ("bert", "gpt2", {"decoder_more": (("n_inner", 50),)}),
        ("bert", "gpt2", {"decoder_more": (("scale_attn_by_inverse_layer_idx", True),)}),
        ("bert", "gpt2", {"decoder_more": (("scale_attn_weights", False),)}),
        ("bert", "gpt2", {"decoder_more": (("layer_norm_epsilon", 0.1),)}),
        ("bart", "bart", {"encoder_more": (("scale_embedding", True),), "decoder_more": (("scale_embedding", True),)}),
        ("bert", "roberta", {"encoder_more": (("layer_norm_eps", 0.1),), "decoder_more": (("layer_norm_eps", 0.2),)}),
        ("bert", "roberta", {"encoder_more": (("type_vocab_size", 1),), "decoder_more": (("type_vocab_size", 1),)}),
        ("roberta", "bert", {"encoder_more": (("type_vocab_size", 1),), "decoder_more": (("type_vocab_size", 1),)}),
        ("roberta", "roberta", {"encoder_more": (("pad_token_id", 3),), "decoder_more": (("pad_token_id", 2),)}),
        ("bert", "bert", {"decoder_more": (("tie_word_embeddings", False),)}),
        ("bert", "roberta", {"decoder_more": (("tie_word_embeddings", False),)}),
        ("bert", "gpt2", {"decoder_more": (("tie_word_embeddings", False),)}),
        ("bert", "bart", {"decoder_more": (("tie_word_embeddings", False),)}),
    ],
    ids=lambda value: (
        "_".join(f"{n}={v}" for more in value.values() for n, v in more) if isinstance(value, dict) else value
    ),
)
def test_every_variant_equals_in_logits_and_gradients(peer, encoder, decoder, options):
    pair = peer(encoder, decoder, **options)
    given = {**peers.source(pair), "labels": peers.labels(pair)}
    for model in (pair.theirs, pair.ours):
        model.zero_grad(set_to_none=True)
    a, b = pair.theirs(**given), pair.ours(**given)
    assert far(a.logits, b.logits) < CLOSE
    assert near(a.loss, b.loss, 1e-6)
    a.loss.backward()
    b.loss.backward()
    for name, theirs, ours in compared_gradients(pair):
        assert near(theirs, ours, CLOSE), name
    plain = peer(encoder, decoder).ours
    with torch.no_grad():  # the variant is another function, so that ignoring it would be seen
        plain = copy.deepcopy(plain)
        if [p.shape for p in plain.parameters()] == [p.shape for p in pair.ours.parameters()]:
            plain.load_state_dict(pair.ours.state_dict())
            assert far(plain(**given).logits, b.logits) > 10 * CLOSE


@every_decoder
def test_an_untied_head_is_not_the_token_embedding(peer, decoder):
    pair = peer("bert", decoder, decoder_more=(("tie_word_embeddings", False),))
    head, table = pair.ours.get_output_embeddings().weight, pair.ours.decoder.get_input_embeddings().weight
    assert far(head, pair.theirs.decoder.get_output_embeddings().weight) == 0
    assert far(table, pair.theirs.decoder.get_input_embeddings().weight) == 0
    assert far(head, table) > 0.1


@every_decoder
def test_ignored_labels_between_others_leave_logits_and_loss_equal(peer, decoder):
    """Of the gradients only the padding's own rows differ, which transformers never trains where padding is read."""
    pair = peer("bert", decoder)
    given = peers.target(pair)
    given[0, 2], given[2, 0], given[3, 4] = -100, -100, -100
    for model in (pair.theirs, pair.ours):
        model.zero_grad(set_to_none=True)
    a, b = pair.theirs(**peers.source(pair), labels=given), pair.ours(**peers.source(pair), labels=given)
    assert far(a.logits, b.logits) < CLOSE
    assert near(a.loss, b.loss, 1e-6)
    a.loss.backward()
    b.loss.backward()
    for name, theirs, ours in compared_gradients(pair):
        if name.startswith("decoder.") and "embed" in name:
            theirs[pair.pad], ours[pair.pad] = 0, 0
        assert far(theirs, ours) < CLOSE, name


def test_a_loss_without_logits_is_the_same_and_so_are_its_gradients(peer):
    pair = peer("roberta", "bert")
    given = {**peers.source(pair), "labels": peers.labels(pair)}
    found = []
    for keep in (True, False):
        pair.ours.zero_grad(set_to_none=True)
        out = pair.ours(**given, return_logits=keep)
        assert ("logits" in out) is keep
        out.loss.backward()
        found.append((out.loss.detach(), peers.gradients(pair.ours)))
    (a, ga), (b, gb) = found
    assert near(a, b, 1e-6)
    assert all(far(ga[name], gb[name]) < 1e-6 for name in ga)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_near_float32_and_all_of_one_type(peer, dtype):
    pair = peer("bert", "gpt2")
    half = EncoderDecoderModel.from_pretrained(pair.folder, dtype=dtype)
    assert {p.dtype for p in half.parameters()} == {dtype}
    expected, _ = logits(pair, **peers.source(pair), decoder_input_ids=peers.target(pair))
    with torch.no_grad():
        found = half(**peers.source(pair), decoder_input_ids=peers.target(pair)).logits
    assert found.dtype == dtype
    assert far(expected, found.float()) < 0.03 * float(expected.abs().max())
