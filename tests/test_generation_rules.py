"""Every further rule, output and hook of `generate`, equal to transformers 5.23 in tokens and scores, in every mode."""

import peers
import pytest
import torch
import transformers
from peers import EOS, Peer, near
from test_generation_parity import LENGTH, SOME, TINY, ids

SAMPLED = {"do_sample": True}
MODES = {
    "greedy": {},
    "beam": {"num_beams": 3, "num_return_sequences": 2},
    "sample": {**SAMPLED, "num_return_sequences": 2, "top_k": 0},
    "beam_sample": {**SAMPLED, "num_beams": 3, "top_k": 0},
}
RULES = {
    "bias": {"sequence_bias": [[[7], 2.0], [[9], -3.0], [[EOS], 1.0]]},
    "bias_of_sequences": {"sequence_bias": {(7, 8): 5.0, (12, 9, 7): -4.0, (9,): 1.5, (6, 6): 3.0, (10, 6): -2.0}},
    "bad_words": {"bad_words_ids": [[7], [9, 12], [12, 12], [8, 6, 7], [EOS]]},
    "end_wanted": {"exponential_decay_length_penalty": (2, 1.6)},
    "end_unwanted": {"exponential_decay_length_penalty": [1, 0.4], "eos_token_id": [4, 7]},
    "no_invalid": {"remove_invalid_values": True, "suppress_tokens": [7, 9]},
    "normal": {"renormalize_logits": True, "repetition_penalty": 1.5},
    "marked": {"watermarking_config": transformers.WatermarkingConfig(bias=2.5, context_width=1)},
    "several": {
        "sequence_bias": [[[7], 1.0], [[8, 9], 4.0]],
        "bad_words_ids": [[12], [9, 6]],
        "repetition_penalty": 1.3,
        "no_repeat_ngram_size": 2,
        "encoder_repetition_penalty": 1.2,
        "min_new_tokens": 4,
        "exponential_decay_length_penalty": (5, 1.3),
        "remove_invalid_values": True,
        "renormalize_logits": True,
        "begin_suppress_tokens": [8],
    },
}
WARPERS = {
    "typical": {"typical_p": 0.6},
    "typical_little": {"typical_p": 0.2},
    "epsilon": {"epsilon_cutoff": 0.08},
    "eta": {"eta_cutoff": 0.1},
    "top_h": {"top_h": 0.5},
    "top_h_more": {"top_h": 0.9},
    "all": {
        "temperature": 0.9,
        "top_h": 0.95,
        "top_k": 12,
        "top_p": 0.97,
        "min_p": 0.01,
        "typical_p": 0.95,
        "epsilon_cutoff": 0.01,
        "eta_cutoff": 0.01,
        "renormalize_logits": True,
    },
}
DRAWN = [name for name in MODES if "sample" in name]
GRID = [(mode, name) for mode in MODES for name in RULES] + [(mode, name) for mode in DRAWN for name in WARPERS]


def both(pair: Peer, seed: int = 5, rows: int = 4, **settings):
    """What both generate with all they can tell, from one random state each."""
    asked = {"return_dict_in_generate": True, "output_scores": True, "output_logits": True, **settings}
    found = []
    for model in (pair.theirs, pair.ours):
        torch.manual_seed(seed)
        found.append(model.generate(**{**ids(pair, rows), "max_new_tokens": LENGTH, **asked}))
    return found


def agree(theirs, ours) -> None:
    """Tokens equal; scores, logits and beams within 1e-4, infinite where theirs are."""
    assert theirs.sequences.tolist() == ours.sequences.tolist()
    for name in ("scores", "logits"):
        a, b = getattr(theirs, name), getattr(ours, name)
        assert len(a) == len(b), name
        for x, y in zip(a, b, strict=True):
            assert x.shape == y.shape
            assert torch.equal(torch.isinf(x), torch.isinf(y)), name
            assert near(x.masked_fill(torch.isinf(x), 0), y.masked_fill(torch.isinf(y), 0), 1e-4), name
    if "sequences_scores" in theirs:
        assert near(theirs.sequences_scores, ours.sequences_scores, 1e-4)
        assert theirs.beam_indices.tolist() == ours.beam_indices.tolist()


@pytest.mark.parametrize(("mode", "name"), GRID, ids=lambda x: x)
@pytest.mark.parametrize(("encoder", "decoder"), SOME[:2])
def test_a_rule_gives_transformers_tokens_and_scores(peer, encoder, decoder, mode, name):
    pair = peer(encoder, decoder, **TINY)
    agree(*both(pair, **{**MODES[mode], **(RULES | WARPERS)[name]}))


@pytest.mark.parametrize("name", [*RULES, *WARPERS])
def test_each_rule_changes_scores(peer, name):
    """Otherwise the tests above would not see it ignored."""
    pair = peer("bert", "gpt2", **TINY)
    mode = MODES["sample" if name in WARPERS else "greedy"]
    asked = {"seed": 3, "max_new_tokens": 6, "output_scores": True, "return_dict_in_generate": True}
    plain, ruled = (
        pair.ours.generate(**ids(pair), **{**asked, **mode, **more}) for more in ({}, (RULES | WARPERS)[name])
    )
    assert not all(torch.equal(a, b) for a, b in zip(plain.scores, ruled.scores, strict=False))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("width", [1, 3])
def test_a_watermark_that_hangs_on_its_own_token_is_transformers(peer, mode, width):
    """transformers looks at 40 tokens, and fails where the vocabulary has fewer."""
    pair = peer("bert", "gpt2")
    config = transformers.WatermarkingConfig(0.5, 1.5, seeding_scheme="selfhash", context_width=width)
    agree(*both(pair, **MODES[mode], watermarking_config=config))


SOURCES = ["encoder_outputs", "embeddings", "starts", "prompt", "padded_prompt"]


def source_in_another_form(pair: Peer, form: str) -> dict[str, object]:
    """The source, or the prompt, as it may come instead of ids."""
    given = ids(pair, 4)
    if form == "encoder_outputs":
        with torch.no_grad():
            given["encoder_outputs"] = pair.theirs.encoder(**given)
        del given["input_ids"]
    elif form == "embeddings":
        given["inputs_embeds"] = pair.theirs.encoder.get_input_embeddings()(given.pop("input_ids")).detach()
    elif form == "starts":
        given["decoder_start_token_id"] = [5, 6, 7, 8]
    else:
        words = peers.target(pair, rows=4, length=3)
        given["decoder_input_ids"] = words
        if form == "padded_prompt":
            mask = torch.ones_like(words)
            mask[1, :2], mask[3, :1] = 0, 0
            given |= {"decoder_input_ids": words.masked_fill(mask == 0, pair.pad), "decoder_attention_mask": mask}
    return given


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("form", SOURCES)
@pytest.mark.parametrize(("encoder", "decoder"), [("bert", "gpt2"), ("roberta", "roberta")])
def test_sources_and_prompts_in_every_form_agree_in_every_mode(peer, encoder, decoder, form, mode):
    pair = peer(encoder, decoder, **TINY)
    asked = {**MODES[mode], "repetition_penalty": 1.2, "max_new_tokens": 8, "return_dict_in_generate": True}
    found = []
    for model in (pair.theirs, pair.ours):
        torch.manual_seed(5)
        given = source_in_another_form(pair, form)  # anew, since transformers writes into encoder_outputs
        found.append(model.generate(**given, **asked, output_scores=True, output_logits=True))
    agree(*found)
