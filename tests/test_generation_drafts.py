"""Prompt lookup and assisted generation: token for token what the model makes alone, greedy and sampled, whole batches of it."""

import copy
import warnings

import peers
import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peers import near
from transformers import AutoTokenizer

import conjoin
from conjoin import EncoderDecoderConfig, EncoderDecoderModel, GenerationConfig, InputError
from conjoin.backends import torch as ops
from conjoin.backends.torch.generating import ready_for
from conjoin.decoding.generate import begun, resolved
from conjoin.engine.speculative import lookup, reader
from conjoin.engine.speculative.translated import Translated

TINY = {"vocab": (17, 17)}
LENGTH = 14
SOME = [("bert", "gpt2"), ("roberta", "roberta"), ("bart", "bart")]
every_pair = pytest.mark.parametrize("pair", SOME, ids="-".join)
DRAFTS = {
    "lookup": {"prompt_lookup_num_tokens": 4},
    "lookup_of_one": {"prompt_lookup_num_tokens": 2, "max_matching_ngram_size": 1},
    "near": {"assistant_model": "near", "num_assistant_tokens": 5},
    "far": {"assistant_model": "far"},
    "shared": {
        "assistant_model": "shared",
        "num_assistant_tokens": 3,
        "num_assistant_tokens_schedule": "heuristic",
        "assistant_confidence_threshold": 0.0,
    },
}
RULES = {
    "plain": {},
    "sampled": {"do_sample": True, "temperature": 1.5, "top_k": 9},
    "rules": {"no_repeat_ngram_size": 2, "repetition_penalty": 1.3, "min_length": 6, "encoder_no_repeat_ngram_size": 3},
    "sampled_rules": {"do_sample": True, "top_p": 0.9, "no_repeat_ngram_size": 3, "begin_suppress_tokens": [6, 7, 8]},
    "never_ends": {"eos_token_id": None},
    "several_ends": {"eos_token_id": [4, 7, 11], "forced_eos_token_id": 9},
}


def disturbed(model: EncoderDecoderModel, by: float) -> EncoderDecoderModel:
    """A copy that is nearly the same."""
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(by * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return other


@pytest.fixture(scope="module")
def assisted(peer):
    """`assisted(pair)`: a peer, and assistants for it."""
    made = {}

    def of(pair):
        if pair not in made:
            model = peer(*pair, **TINY).ours
            shared = EncoderDecoderModel(encoder=model.encoder, decoder=disturbed(model, 0.05).decoder)
            shared.config.generation = model.config.generation
            made[pair] = {"near": disturbed(model, 0.02), "far": peer(*pair, **TINY, seed=9).ours, "shared": shared}
        return peer(*pair, **TINY), made[pair]

    return of


def ready(drafts, assistants):
    """Settings with the assistant in the place of its name."""
    return {name: assistants[value] if name == "assistant_model" else value for name, value in drafts.items()}


def same(pair, drafts, rows=6, **asked):
    """What the model makes alone and with drafts, from one random state."""
    found = []
    for more in ({}, drafts):
        torch.manual_seed(4)
        found.append(pair.ours.generate(**{**peers.source(pair, rows=rows), "max_new_tokens": LENGTH, **asked, **more}))
    return [x.tolist() for x in found]


@every_pair
@pytest.mark.parametrize("rules", RULES.values(), ids=RULES)
@pytest.mark.parametrize("drafts", DRAFTS.values(), ids=DRAFTS)
def test_drafts_change_no_token(assisted, pair, rules, drafts):
    peer_, assistants = assisted(pair)
    alone, drafted = same(peer_, ready(drafts, assistants), **rules)
    assert drafted == alone


@every_pair
@pytest.mark.parametrize("drafts", DRAFTS.values(), ids=DRAFTS)
def test_drafts_go_on_from_prompts_and_to_any_length(assisted, pair, drafts):
    peer_, assistants = assisted(pair)
    words = torch.cat([torch.full((6, 1), peers.START), peers.target(peer_, rows=6, length=3)], 1)
    mask = torch.ones_like(words)
    mask[1, 1:3], mask[4, 1] = 0, 0
    padded = {"decoder_input_ids": words.masked_fill(mask == 0, peer_.pad), "decoder_attention_mask": mask}
    for asked in ({"decoder_input_ids": words}, padded, {"max_new_tokens": 1}, {"max_new_tokens": 2}):
        alone, drafted = same(peer_, ready(drafts, assistants), **asked)
        assert drafted == alone
    alone, drafted = same(peer_, ready(drafts, assistants), max_new_tokens=peers.POSITIONS, eos_token_id=None)
    assert drafted == alone
    assert len(drafted[0]) == peers.POSITIONS + 1


@pytest.mark.parametrize("drafts", [DRAFTS["lookup"], {"assistant_model": "near"}], ids=["lookup", "assistant"])
def test_one_row_equals_transformers_with_the_same_drafts(assisted, drafts):
    peer_, assistants = assisted(("bert", "gpt2"))
    given_ = peers.source(peer_, rows=1)
    theirs = {"assistant_model": copy.deepcopy(peer_.theirs)} if "assistant_model" in drafts else drafts
    expected = peer_.theirs.generate(**given_, max_new_tokens=LENGTH, **theirs)
    found = peer_.ours.generate(**given_, max_new_tokens=LENGTH, **ready(drafts, assistants))
    assert found.tolist() == expected.tolist()


@pytest.mark.parametrize("seed", [3, None])
def test_samples_are_those_of_plain_sampling(assisted, seed):
    peer_, assistants = assisted(("bert", "gpt2"))
    for drafts in DRAFTS.values():
        alone, drafted = same(peer_, ready(drafts, assistants), do_sample=True, top_k=0, temperature=2.0, seed=seed)
        assert drafted == alone
    other = same(peer_, {}, do_sample=True, top_k=0, temperature=2.0, seed=8)[0]
    assert other != alone


def test_samples_are_distributed_as_the_model_says(assisted):
    """Two tokens in many rows, drafted by another model: pairs come as often as they are likely."""
    peer_, assistants = assisted(("bert", "gpt2"))
    count = 4000
    one = peers.source(peer_, rows=1)
    with torch.no_grad():
        first = peer_.ours(**one, decoder_input_ids=torch.full((1, 1), peers.START)).logits[0, -1].div(3.0).softmax(-1)
        starts = torch.cat([torch.full((17, 1), peers.START), torch.arange(17)[:, None]], 1)
        every = {name: x.expand(17, -1) for name, x in one.items()}
        then = peer_.ours(**every, decoder_input_ids=starts).logits[:, -1].div(3.0).softmax(-1)
    chance = first[:, None] * then
    chance[peers.EOS] = 0
    chance[peers.EOS, peer_.pad] = first[peers.EOS]
    many = {name: x.expand(count, -1) for name, x in one.items()}
    torch.manual_seed(0)
    made = peer_.ours.generate(
        **many, do_sample=True, temperature=3.0, top_k=0, max_new_tokens=2, **ready(DRAFTS["far"], assistants)
    )
    drawn = torch.bincount(made[:, 1] * 17 + made[:, 2], minlength=17 * 17).reshape(17, 17) / count
    assert chance.max() < 0.2
    assert (drawn - chance).abs().max() < 4 * (chance * (1 - chance) / count).sqrt().max()
    assert (drawn - chance).abs().sum() < 0.35


@every_pair
@pytest.mark.parametrize("drafts", [DRAFTS["lookup"], DRAFTS["near"]], ids=["lookup", "near"])
def test_drafts_end_with_stop_strings_and_marks_stay(assisted, pair, drafts, tmp_path):
    peer_, assistants = assisted(pair)
    words = AutoTokenizer.from_pretrained(tiny.gpt2(tmp_path / "texts"))  # of its bytes, 17 are known here
    plain = same(peer_, {})[0]
    stop = words.decode(plain[0][2:4])
    for asked in (
        {"stop_strings": [stop, words.decode(plain[1][3:4])], "tokenizer": words},
        {"watermarking_config": conjoin.WatermarkingConfig(bias=3.0), "renormalize_logits": True},
        {"sequence_bias": {(plain[0][1], plain[0][2]): -5.0}, "bad_words_ids": [[plain[1][2]]]},
    ):
        alone, drafted = same(peer_, ready(drafts, assistants), **asked)
        assert drafted == alone
        assert alone != plain


def test_time_that_is_over_ends_drafts_too(assisted):
    peer_, _ = assisted(("bert", "gpt2"))
    made = peer_.ours.generate(
        **peers.source(peer_), max_new_tokens=30, eos_token_id=None, prompt_lookup_num_tokens=3, max_time=0.0
    )
    assert made.shape[1] == 2


# What is saved.


def steps(monkeypatch, run):
    """How many tokens side by side each step of the checking model read, and what came out."""
    widths = []
    read = reader.Reader.read

    def counted(self, tokens, start):
        widths.append((id(self), tokens.shape[1]))
        return read(self, tokens, start)

    monkeypatch.setattr(reader.Reader, "read", counted)
    made = run()
    monkeypatch.setattr(reader.Reader, "read", read)
    return widths, made


def test_an_assistant_that_is_the_model_is_always_right(assisted, monkeypatch):
    peer_, _ = assisted(("bert", "gpt2"))
    asked = {
        "max_new_tokens": 21,
        "eos_token_id": None,
        "num_assistant_tokens": 4,
        "assistant_confidence_threshold": 0.0,
    }
    given_ = peers.source(peer_, rows=5)
    for sampling in ({}, {"do_sample": True, "seed": 2}):
        widths, _ = steps(
            monkeypatch, lambda s=sampling: peer_.ours.generate(**given_, **asked, **s, assistant_model=peer_.ours)
        )
        assert [width for _, width in widths if width > 2] == [5, 5, 5, 5]  # 1 of the prompt, and 4 rounds of 4 and 1


def test_what_the_source_says_is_copied_in_few_steps(assisted, monkeypatch):
    """A model that says its source again: with lookup it reads several tokens a step, without none."""
    peer_, _ = assisted(("bert", "gpt2"))
    model = peer_.ours
    alone = model.generate(**peers.source(peer_, rows=1), max_new_tokens=20, eos_token_id=None)
    copied = {"input_ids": alone[:, 1:10], "attention_mask": torch.ones(1, 9, dtype=torch.long)}
    states = model.encode(**peers.source(peer_, rows=1))
    given_ = {"encoder_outputs": states, "attention_mask": peers.source(peer_, rows=1)["attention_mask"]}
    widths, again = steps(
        monkeypatch,
        lambda: model.generate(
            copied["input_ids"], **given_, max_new_tokens=20, eos_token_id=None, prompt_lookup_num_tokens=5
        ),
    )
    assert again.tolist() == alone.tolist()
    assert len(widths) < 19


def test_lookup_takes_what_follows_the_longest_agreement():
    """In the source before the output, and the last place of equals."""
    asked = type("Asked", (), {"prompt_lookup_num_tokens": 3, "max_matching_ngram_size": 2})
    ids = torch.tensor([[5, 7, 8, 9, 7, 8, 0, 0], [5, 6, 9, 9, 0, 0, 0, 0], [5, 1, 2, 3, 4, 0, 0, 0]])
    length = torch.tensor([6, 3, 5])
    source = torch.tensor([[8, 1, 2, 3], [9, 4, 9, 6], [6, 7, 8, 4]])
    seen = torch.tensor([[True] * 4, [True, True, True, False], [True] * 4])
    most = torch.tensor([9, 9, 9])
    tokens, counts = lookup.Lookup(asked, source, seen).draft(ids, length, torch.arange(3), most)
    # 7 8 stood before in the output; of 9 the first place goes on, the last ends what is seen; 4 ends the source.
    assert counts.tolist() == [3, 2, 0]
    assert tokens[0].tolist() == [9, 7, 8]
    assert tokens[1, :2].tolist() == [4, 9]
    _, fewer = lookup.Lookup(asked, source, seen).draft(ids, length, torch.arange(3), torch.tensor([2, 0, 1]))
    assert fewer.tolist() == [2, 0, 0]
    _, alone = lookup.Lookup(asked, None, None).draft(ids, length, torch.arange(3), most)
    assert alone.tolist() == [3, 0, 0]


@given(new=st.integers(1, 30), drafts=st.integers(1, 12), rows=st.lists(st.integers(0, 5), min_size=1, max_size=4))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_assisted_equals_plain_for_any_rows_and_lengths(assisted, new, drafts, rows):
    peer_, assistants = assisted(("roberta", "roberta"))
    given_ = {name: x[rows] for name, x in peers.source(peer_, rows=6).items()}
    alone = peer_.ours.generate(**given_, max_new_tokens=new).tolist()
    for more in (
        {"prompt_lookup_num_tokens": drafts},
        {"assistant_model": assistants["near"], "num_assistant_tokens": drafts},
    ):
        assert peer_.ours.generate(**given_, max_new_tokens=new, **more).tolist() == alone


# Assistants that write other tokens.


@pytest.fixture(scope="module")
def two_vocabularies(tmp_path_factory):
    """A model that writes words, and an assistant that writes bytes."""
    where = tmp_path_factory.mktemp("vocabularies")
    return [EncoderDecoderModel.from_pretrained(tiny.join(where / name, name)) for name in ("bert", "gpt2")]


@pytest.mark.parametrize("asked", [{}, {"do_sample": True, "seed": 5, "top_k": 0}, {"min_new_tokens": 9}], ids=str)
def test_an_assistant_of_other_tokens_changes_none(two_vocabularies, asked):
    model, assistant = two_vocabularies
    batch = model.tokenizers.source(
        ["the cat sat on the mat .", "a dog ran .", "it was here !"], padding=True, return_tensors="pt"
    )
    alone = model.generate(**batch, max_new_tokens=12, **asked)
    assert model.generate(**batch, max_new_tokens=12, assistant_model=assistant, **asked).tolist() == alone.tolist()
    both = {"tokenizer": model.tokenizers.target, "assistant_tokenizer": assistant.tokenizers.target}
    model.decoder.tokenizer, kept = None, model.decoder.tokenizer
    try:
        with pytest.raises(InputError, match="need both target tokenizers; give tokenizer="):
            model.generate(**batch, assistant_model=assistant)
        found = model.generate(**batch, max_new_tokens=12, assistant_model=assistant, **both, **asked)
    finally:
        model.decoder.tokenizer = kept
    assert found.tolist() == alone.tolist()


def test_an_assistant_of_other_sources_reads_their_texts(two_vocabularies, tmp_path, monkeypatch):
    model, _ = two_vocabularies
    parts = [tiny.gpt2(tmp_path / name) for name in ("encoder", "decoder")]
    assistant = EncoderDecoderModel.from_encoder_decoder_pretrained(*parts).eval()
    texts = ["the cat sat on the mat .", "a dog ran ."]
    batch = model.tokenizers.source(texts, padding=True, return_tensors="pt")
    read = []
    encode = assistant.encode
    monkeypatch.setattr(assistant, "encode", lambda ids, seen: (read.append((ids, seen)), encode(ids, seen))[1])
    made = model.generate(**batch, max_new_tokens=12, assistant_model=assistant)
    assert made.tolist() == model.generate(**batch, max_new_tokens=12).tolist()
    ((ids, seen),) = read
    words = assistant.encoder.tokenizer
    assert [words.decode(row[there == 1]) for row, there in zip(ids, seen, strict=True)] == [
        model.encoder.tokenizer.decode(row, skip_special_tokens=True) for row in batch["input_ids"]
    ]


def test_texts_come_back_as_the_models_tokens(two_vocabularies, monkeypatch):
    """An assistant that always knows what comes next saves steps, whatever its tokens."""
    model, assistant = two_vocabularies
    batch = model.tokenizers.source(["the cat sat on the mat ."], return_tensors="pt")
    alone = model.generate(**batch, max_new_tokens=12, eos_token_id=None)
    text = model.tokenizers.target.decode(alone[0, 1:], skip_special_tokens=True)
    monkeypatch.setattr(Translated, "continued", lambda self, texts: [(text, False) for _ in texts])
    asked = {"max_new_tokens": 12, "eos_token_id": None, "assistant_model": assistant}
    widths, made = steps(monkeypatch, lambda: model.generate(**batch, **asked))
    assert made.tolist() == alone.tolist()
    assert max(width for _, width in widths) > 2


# Decoders to which distance matters: each row's tokens stand in slots of its own.

SIZES = {"vocab_size": 19, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
KINDS = {
    "buckets": conjoin.T5Config(
        d_model=16,
        d_kv=4,
        num_heads=4,
        d_ff=24,
        num_layers=2,
        num_decoder_layers=2,
        vocab_size=19,
        decoder_start_token_id=0,
    ),
    "slopes": conjoin.BloomConfig(hidden_size=16, n_layer=2, n_head=4, **SIZES),
    "sliding": conjoin.MistralConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=24,
        sliding_window=3,
        max_position_embeddings=64,
        **SIZES,
    ),
    "streams": conjoin.ProphetNetConfig(
        hidden_size=16,
        num_encoder_layers=2,
        num_decoder_layers=2,
        num_encoder_attention_heads=4,
        num_decoder_attention_heads=4,
        encoder_ffn_dim=24,
        decoder_ffn_dim=24,
        max_position_embeddings=64,
        **SIZES,
    ),
}


def made(kind) -> EncoderDecoderModel:
    """A model with a decoder of a kind, all its weights far from their defaults."""
    encoder = conjoin.BertConfig(
        vocab_size=19, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24
    )
    tokens = {"decoder_start_token_id": 1, "pad_token_id": 0, "eos_token_id": 2}
    model = EncoderDecoderModel(
        config=EncoderDecoderConfig.from_encoder_decoder_configs(encoder, copy.deepcopy(kind), **tokens)
    ).eval()
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name:
                parameter.copy_(0.5 * torch.randn(parameter.shape, generator=draw))
    return model


def source_of(model: EncoderDecoderModel) -> dict[str, torch.Tensor]:
    return {"input_ids": torch.randint(3, 19, (5, 8), generator=torch.Generator().manual_seed(0))}


every_engine = pytest.mark.parametrize("engine", ["torch", "native"])  # "native": kernels, for models however small
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


@every_engine
@every_kind
def test_drafts_change_no_token_where_distance_matters(kind, engine, monkeypatch):
    monkeypatch.setenv("CONJOIN_ENGINE", engine)
    model = made(kind)
    near_, source = disturbed(model, 0.02), {**source_of(model), "max_new_tokens": 16}
    for asked in ({}, {"eos_token_id": None}, {"do_sample": True, "temperature": 3.0}):
        alone = model.generate(**source, **asked, seed=1).tolist()
        assert len({tuple(row) for row in alone}) > 1
        assert model.generate(**source, **asked, seed=1, prompt_lookup_num_tokens=4).tolist() == alone
        assert (
            model.generate(**source, **asked, seed=1, assistant_model=near_, num_assistant_tokens=4).tolist() == alone
        )


def test_drafts_change_no_token_in_whole_numbers(tmp_path):
    """Where rows are rounded, a last bit may turn a token: drafts are checked by the kernels that greedy search runs on."""
    made(KINDS["slopes"]).save_pretrained(tmp_path)
    model = EncoderDecoderModel.from_pretrained(tmp_path, dtype="int8")
    ids = torch.randint(3, 19, (80, 8), generator=torch.Generator().manual_seed(0))
    alone = model.generate(ids, max_new_tokens=24, eos_token_id=None).tolist()
    assert model.generate(ids, max_new_tokens=24, eos_token_id=None, prompt_lookup_num_tokens=4).tolist() == alone


@every_engine
@every_kind
def test_rows_that_kept_different_numbers_of_tokens_read_on_from_their_own(kind, engine, monkeypatch):
    """What was taken back is not seen, and each row's tokens stand where they would stand alone."""
    monkeypatch.setenv("CONJOIN_ENGINE", engine)
    model, kept = made(kind), [1, 4, 2, 3, 4]
    asked = GenerationConfig(max_new_tokens=20, prompt_lookup_num_tokens=3)
    settings_, call = resolved(
        model, source_of(model)["input_ids"], model.config.generation.updated(asked.to_dict()), {}
    )
    words = torch.randint(3, 19, (3, 5, 4), generator=torch.Generator().manual_seed(1))
    start = torch.full((5, 1), 1)
    with torch.inference_mode():
        ready_ = ready_for(model, settings_)
        reads = reader.Reader(ready_.decoder, begun(ops, ready_, settings_, call))
        counts = torch.zeros(5, dtype=torch.long)
        for tokens in words:
            reads.begin()
            logits = reads.read(tokens, 1 + counts)
            reads.keep(torch.tensor(kept))
            counts = counts + torch.tensor(kept)
    for row in range(5):
        own = torch.cat([start[row], *(part[row, : kept[row]] for part in words[:2]), words[2, row]])
        alone = {name: x[row : row + 1] for name, x in source_of(model).items()}
        with torch.no_grad():
            expected = model(**alone, decoder_input_ids=own[None]).logits[0, -4:]
        assert near(expected, logits[row], 1e-4), row


# Refusals.


def test_a_source_of_other_tokens_is_not_looked_up_in(peer):
    pair = peer("bert", "gpt2", vocab=(47, 17))
    alone = pair.ours.generate(**peers.source(pair), max_new_tokens=LENGTH).tolist()
    with pytest.warns(UserWarning, match="the source's tokens are not the target's"):
        assert (
            pair.ours.generate(**peers.source(pair), max_new_tokens=LENGTH, prompt_lookup_num_tokens=4).tolist()
            == alone
        )


REFUSED = [
    ({"prompt_lookup_num_tokens": 3, "num_beams": 2}, "prompt_lookup_num_tokens=3 and num_beams=2"),
    ({"prompt_lookup_num_tokens": 3, "num_return_sequences": 2, "do_sample": True}, "and num_return_sequences=2"),
    ({"prompt_lookup_num_tokens": 3, "penalty_alpha": 0.5, "top_k": 4}, "and penalty_alpha=0.5"),
    ({"prompt_lookup_num_tokens": -1}, "prompt_lookup_num_tokens is -1; a whole number from 0 on"),
    (
        {"prompt_lookup_num_tokens": 3, "max_matching_ngram_size": 0},
        "max_matching_ngram_size is 0; a whole number from 1",
    ),
    ({"assistant_model": "near", "num_beams": 2}, "assistant_model and num_beams=2"),
    ({"assistant_model": "near", "prompt_lookup_num_tokens": 3}, "assistant_model and prompt_lookup_num_tokens=3"),
    ({"assistant_model": "near", "num_assistant_tokens": 0}, "num_assistant_tokens is 0; a whole number from 1"),
    ({"assistant_model": "near", "num_assistant_tokens_schedule": "slow"}, "schedule is 'slow'; one of constant"),
    ({"assistant_model": "near", "assistant_confidence_threshold": 2}, "threshold is 2; a number from 0 to 1"),
    ({"assistant_tokenizer": "any"}, "assistant_tokenizer came without an assistant_model"),
    (
        {"prompt_lookup_num_tokens": 3, "logits_processor": [max]},
        "prompt_lookup_num_tokens=3 and logits_processor came",
    ),
    ({"assistant_model": "near", "stopping_criteria": [max]}, "assistant_model and stopping_criteria came"),
    ({"assistant_model": "near", "guidance_scale": 1.5}, "assistant_model and guidance_scale came"),
    (
        {"prompt_lookup_num_tokens": 3, "return_dict_in_generate": True, "output_scores": True},
        "prompt_lookup_num_tokens=3 and output_scores came",
    ),
    ({"assistant_model": "none"}, "assistant_model is a Linear; a joined model, EncoderDecoderModel, was expected"),
    ({"assistant_model": "other_target"}, "writes other tokens than the model \\(61 and 17"),
    ({"assistant_model": "other_source"}, "reads other sources than the model"),
    ({"assistant_model": "short", "max_new_tokens": 40}, "positions for 24 tokens and 40 may be read"),
]


@pytest.mark.parametrize(("asked", "told"), REFUSED, ids=[str(asked) for asked, _ in REFUSED])
def test_what_cannot_draft_is_refused(assisted, peer, asked, told):
    pair, assistants = assisted(("bert", "gpt2"))
    more = {
        "none": torch.nn.Linear(2, 2),
        "other_target": peer("bert", "gpt2", vocab=(17, 61)).ours,
        "other_source": peer("bert", "gpt2", vocab=(47, 17)).ours,
        "short": peer("bert", "gpt2", **TINY, decoder_more=(("n_positions", 24),)).ours,
    }
    with pytest.raises(InputError, match=told):
        pair.ours.generate(**peers.source(pair), **{"max_new_tokens": 6, **ready(asked, assistants | more)})


def test_an_assistant_that_cannot_read_the_source_is_refused(assisted):
    pair, assistants = assisted(("bert", "gpt2"))
    source = peers.source(pair)
    given_ = {
        "encoder_outputs": pair.ours.encode(**source),
        "attention_mask": source["attention_mask"],
        "max_new_tokens": 8,
    }
    with pytest.raises(InputError, match="an encoder of its own that must read the source"):
        pair.ours.generate(**given_, assistant_model=assistants["near"])
    alone = pair.ours.generate(**given_).tolist()
    assert pair.ours.generate(**given_, assistant_model=assistants["shared"]).tolist() == alone
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pair.ours.generate(**given_, prompt_lookup_num_tokens=3).tolist() == alone
