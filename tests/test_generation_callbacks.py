"""What the caller of `generate` may have called at each step: processors, criteria, prefixes, stop strings, streamers."""

import itertools
import threading
import time

import peers
import pytest
import tiny
import torch
import transformers
from test_generation_parity import LENGTH, SOME, TINY, ids
from test_generation_rules import MODES, agree, both
from transformers.generation import logits_process as t
from transformers.generation import stopping_criteria as criteria

from conjoin import AutoTokenizer, EncoderDecoderModel, InputError
from conjoin.decoding import stop_strings

every_mode = pytest.mark.parametrize("mode", MODES)


class EndsEvenly(criteria.StoppingCriteria):
    """Ends a row after a token of an even number in column 4 or later."""

    def __call__(self, input_ids, scores, **kwargs):
        return (input_ids[:, -1] % 2 == 0) & (input_ids.shape[1] > 4)


def no_seven_twice(input_ids, scores):
    """A processor that knows its rows."""
    seen = (input_ids == 7).any(1)
    scores = scores.clone()
    scores[seen, 7] = -torch.inf
    return scores


def after(source, sent):
    """Tokens that may follow, which hang on the source and on what was made."""
    return [4, (int(sent[-1]) * 3 + source) % 17, (int(sent[-1]) + 5) % 17]


@every_mode
@pytest.mark.parametrize(("encoder", "decoder"), SOME[:2])
def test_processors_of_the_user_and_of_transformers_work_as_there(peer, encoder, decoder, mode):
    pair = peer(encoder, decoder, **TINY)
    own = [
        t.RepetitionPenaltyLogitsProcessor(1.4),
        no_seven_twice,
        t.SequenceBiasLogitsProcessor([[[9], 2.0]]),
        t.LogitNormalization(),
    ]
    agree(*both(pair, **MODES[mode], logits_processor=transformers.LogitsProcessorList(own)))


@every_mode
@pytest.mark.parametrize(("encoder", "decoder"), SOME[:2])
def test_allowed_prefixes_are_transformers(peer, encoder, decoder, mode):
    pair = peer(encoder, decoder, **TINY)
    theirs, ours = both(pair, **MODES[mode], prefix_allowed_tokens_fn=after)
    agree(theirs, ours)
    each = len(ours.sequences) // 4 if "num_beams" in MODES[mode] else 1  # as transformers counts
    for i, row in enumerate(ours.sequences.tolist()):
        for token, then in itertools.pairwise(row):
            if token in (peers.EOS, pair.pad):
                break
            assert then in after(i // each, [token])


@every_mode
def test_criteria_of_the_user_end_rows_as_in_transformers(peer, mode):
    for encoder, decoder in SOME[:2]:
        pair = peer(encoder, decoder, **TINY)
        theirs, ours = both(pair, **MODES[mode], stopping_criteria=criteria.StoppingCriteriaList([EndsEvenly()]))
        agree(theirs, ours)
        plain = both(pair, **MODES[mode])[1]
        assert plain.sequences.tolist() != ours.sequences.tolist()


def test_a_criterion_may_answer_for_all_and_reads_the_scores_so_far(peer):
    pair = peer("bert", "gpt2", **TINY)
    told = []

    def third(input_ids, scores):
        told.append((tuple(input_ids.shape), scores))
        return input_ids.shape[1] >= 4

    made = pair.ours.generate(**ids(pair), stopping_criteria=[third], eos_token_id=None)
    assert made.shape == (6, 4)
    assert [shape for shape, _ in told] == [(6, 2), (6, 3), (6, 4)]
    assert told[0][1] is None
    told.clear()
    asked = {"return_dict_in_generate": True, "output_scores": True, "num_beams": 2, "max_new_tokens": 5}
    pair.ours.generate(**ids(pair), stopping_criteria=[third], **asked)
    kept = 2 * 2
    assert told[0][0] == (6 * kept, 2)
    assert [len(scores) for _, scores in told] == list(range(1, len(told) + 1))  # this step's included
    assert told[-1][1][0].shape == (6 * 2, 17)


def test_time_runs_out(peer):
    pair = peer("bert", "gpt2", **TINY)

    def slow(input_ids, scores):
        time.sleep(0.02)
        return scores

    for mode in MODES.values():
        asked = {**ids(pair), **mode, "eos_token_id": None, "max_new_tokens": 30}
        made = pair.ours.generate(**asked, max_time=0.1, logits_processor=[slow])
        assert 2 <= made.shape[1] < 12
        assert pair.ours.generate(**asked, max_time=60.0).shape[1] == 31
    assert pair.ours.generate(**ids(pair), max_time=0.0, eos_token_id=None).shape[1] == 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"logits_processor": no_seven_twice}, "logits_processor is a function; a list"),
        ({"logits_processor": [3]}, "logits_processor holds 3, which cannot be called"),
        ({"logits_processor": [t.LogitNormalization]}, "holds the class LogitNormalization; an object"),
        ({"logits_processor": [lambda i, s: None]}, "returned NoneType; scores of shape"),
        ({"logits_processor": [lambda i, s: s[:, :3]]}, r"returned \(6, 3\); scores of shape \(6, 17\)"),
        ({"stopping_criteria": EndsEvenly()}, "stopping_criteria is a EndsEvenly; a list"),
        ({"stopping_criteria": [lambda i, s: "no"]}, "returned 'no'; True or False"),
        ({"stopping_criteria": [lambda i, s: torch.zeros(2)]}, r"returned \(2,\); True or False was expected, or .* 6"),
        ({"prefix_allowed_tokens_fn": [3]}, "prefix_allowed_tokens_fn is .3.; a function"),
        ({"prefix_allowed_tokens_fn": lambda i, s: []}, "allows nothing after"),
        ({"streamer": print}, r"an object with the methods put\(ids\) and end\(\)"),
        ({"max_time": -1.0}, "max_time is -1.0; a number from 0"),
        ({"stop_strings": ["a"]}, "came without a tokenizer"),
        ({"stop_strings": []}, "stop_strings is .*; a string or a list of strings"),
        ({"stop_strings": ["a", ""], "tokenizer": 3}, "none of them empty"),
        ({"stop_strings": ["a"], "tokenizer": 3}, "A tokenizer was expected"),
    ],
    ids=lambda given: ", ".join(given) if isinstance(given, dict) else given,
)
def test_what_cannot_be_called_is_refused(peer, given, message):
    pair = peer("bert", "gpt2", **TINY)
    with pytest.raises(InputError, match=message):
        pair.ours.generate(**ids(pair), **given)


# Stop strings.


@pytest.fixture(scope="module", params=["bert", "gpt2"])
def texts(request, tmp_path_factory):
    """Models of conjoin and transformers that write texts, and both tokenizers."""
    folder = tiny.join(tmp_path_factory.mktemp("joined") / request.param, request.param)
    ours = EncoderDecoderModel.from_pretrained(folder)
    theirs = transformers.EncoderDecoderModel.from_pretrained(folder).eval()
    target = folder if request.param == "bert" else folder / "target_tokenizer"
    return ours, theirs, transformers.AutoTokenizer.from_pretrained(target)


SOURCES = ["the cat sat on the mat .", "a dog ran .", "the big red dog and the small blue cat ran .", "it was here !"]


def read(texts):
    ours = texts[0]
    source = ours.tokenizers.source(SOURCES, padding=True, return_tensors="pt")
    return {"input_ids": source["input_ids"], "attention_mask": source["attention_mask"]}


@every_mode
def test_stop_strings_end_texts_as_in_transformers(texts, mode, monkeypatch):
    # transformers writes "abcdef" before each token, which a vocabulary of few words has not.
    monkeypatch.setattr(criteria.StopStringCriteria.clean_tokenizer_vocab, "__defaults__", ("cat", None))
    ours, theirs, tokenizer = texts
    given = {**read(texts), **MODES[mode], "max_new_tokens": 14, "suppress_tokens": [3]}
    plain = tokenizer.batch_decode(made(ours, given), skip_special_tokens=True)
    word = plain[0].split()[-1] if " " in plain[0].strip() else plain[0][3:6]
    changed = 0
    for strings in (word, [plain[0][2:7], plain[-1][4:5]], ["nowhere", plain[1][1:9]], plain[0][5:6]):
        found = [made(model, {**given, "stop_strings": strings, "tokenizer": tokenizer}) for model in (theirs, ours)]
        assert found[0].tolist() == found[1].tolist(), strings
        own = made(ours, {**given, "stop_strings": strings})  # by the model's own tokenizer
        assert own.tolist() == found[1].tolist()
        changed += found[0].tolist() != made(ours, given).tolist()
    assert changed


def made(model, given):
    torch.manual_seed(3)
    return model.generate(**given)


@pytest.mark.parametrize("strings", [("a",), ("abab", "bb"), ("aab", "ab", "b☃"), ("☃☃",), ("abcabcabd",)], ids=str)
def test_the_table_of_stop_strings_finds_what_a_search_finds(strings):
    draw = torch.Generator().manual_seed(0)
    tokens = [
        b"a",
        b"b",
        b"c",
        b"ab",
        b"bab",
        b"abcab",
        "☃".encode(),
        "☃".encode()[:1],
        "☃".encode()[1:],
        b"",
        b"xaabx",
    ]
    follow, states = stop_strings.table(tokens, strings), stop_strings.state_count(strings)
    for _ in range(300):
        state, text = 0, b""
        for token in torch.randint(len(tokens), (12,), generator=draw).tolist():
            state, hit = divmod(int(follow[token * states + state]), 2)
            before, text = len(text), text + tokens[token]
            ends = (i + len(s.encode()) for s in strings for i in range(len(text)) if text[i:].startswith(s.encode()))
            assert bool(hit) == any(end > before for end in ends)


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_the_bytes_of_tokens_join_to_their_text(tmp_path, kind):
    folder = (tiny.bert if kind == "bert" else tiny.gpt2)(tmp_path / kind)
    for tokenizer in (AutoTokenizer.from_pretrained(folder), transformers.AutoTokenizer.from_pretrained(folder)):
        text = "the dogs sat on the mat . don ' t !" if kind == "bert" else "naïve ☃ café"
        made = tokenizer(text, add_special_tokens=False)["input_ids"]
        known = stop_strings.token_bytes(tokenizer)
        joined = b"".join(known[token] for token in made).decode()
        assert joined.strip() == tokenizer.decode(made)


# Streamers.


class Told:
    """What a streamer is told."""

    def __init__(self):
        self.puts, self.ended = [], 0

    def put(self, value):
        self.puts.append(value)

    def end(self):
        self.ended += 1


@pytest.mark.parametrize("mode", ["greedy", "sample"])
def test_a_streamer_is_told_what_transformers_tells_it(peer, mode):
    for encoder, decoder in SOME[:2]:
        pair = peer(encoder, decoder, **TINY)
        told = []
        for model in (pair.theirs, pair.ours):
            torch.manual_seed(5)
            told.append(Told())
            model.generate(**ids(pair), **MODES[mode], max_new_tokens=LENGTH, streamer=told[-1])
        assert [one.tolist() for one in told[0].puts] == [one.tolist() for one in told[1].puts]
        assert told[0].ended == told[1].ended == 1


def test_a_streamer_of_beams_is_told_the_best_as_soon_as_it_is_certain(peer):
    early = 0
    for encoder, decoder in SOME:
        pair = peer(encoder, decoder, **TINY)
        for row in range(4):
            given = {k: v[row : row + 1] for k, v in ids(pair).items()}
            told, steps = Told(), []
            asked = {"num_beams": 3, "length_penalty": 2.0, "max_new_tokens": LENGTH}
            counting = [lambda i, s, steps=steps, told=told: steps.append(len(told.puts)) or s]
            made = pair.ours.generate(**given, **asked, streamer=told, logits_processor=counting)
            assert torch.cat([one.reshape(-1) for one in told.puts]).tolist() == made[0].tolist()
            assert told.ended == 1
            early += steps[-1] > 1
    assert early > 4
    with pytest.raises(InputError, match="streamer was given for 6 sources with num_beams=3"):
        pair.ours.generate(**ids(pair), num_beams=3, streamer=Told())


def test_transformers_text_streamers_work(texts):
    ours, _, tokenizer = texts
    for mode in ({}, {"num_beams": 3}):
        given = {k: v[:1] for k, v in read(texts).items()} | mode | {"max_new_tokens": 12}
        streamer = transformers.TextIteratorStreamer(tokenizer, skip_special_tokens=True, timeout=30)
        thread = threading.Thread(target=ours.generate, kwargs={**given, "streamer": streamer})
        thread.start()
        found = list(streamer)
        thread.join()
        assert "".join(found) == tokenizer.decode(ours.generate(**given)[0], skip_special_tokens=True)
