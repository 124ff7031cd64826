"""Sources longer than the encoder's positions, read in windows: against windows cut by hand, in all three frameworks."""

import functools
from pathlib import Path

import numpy as np
import peers
import pytest
import tiny
import torch
from frameworks import ALL, every_framework
from peers import POSITIONS

from conjoin import InputError, pipeline

pytestmark = pytest.mark.usefixtures("engine")
CLOSE = 1e-5


class Ends:
    """A tokenizer, as far as chunks ask it."""

    cls_token_id, sep_token_id, bos_token_id, eos_token_id = 4, 5, None, None


CLS, SEP = 4, 5  # below what peers.source draws
SOURCES = (95, 40, 63, 9, 41)  # tokens of each row, special ones included: some fit into one window
IN_CHUNKS = {"encode_in_chunks": True, "chunk_window": 24, "chunk_overlap": 6}
SPECIAL = Ends()
LONG = " ".join(["the big red dog ran under the tree and the small blue cat sat on the mat ."] * 4)
every_encoder = pytest.mark.parametrize("encoder", peers.ENCODERS)


@functools.cache
def loaded(name: str, folder: Path, *, special: bool = True):
    """The model of a folder, whose encoder's sources begin with CLS and end with SEP."""
    model = ALL[name].load(folder)
    return with_special_tokens(model) if special else model


def sources(pair: peers.Peer, *, left: bool = False, special: bool = True) -> dict[str, np.ndarray]:
    """Ids, mask and types of rows of unlike lengths, each between CLS and SEP, padded."""
    draw = np.random.default_rng(3)
    longest, pad = max(SOURCES), peers.PAD[pair.encoder]
    ids = np.full((len(SOURCES), longest), pad)
    mask, types = np.zeros_like(ids), np.zeros_like(ids)
    for row, length in enumerate(SOURCES):
        at = slice(longest - length, longest) if left else slice(0, length)
        tokens = draw.integers(6, peers.SOURCE_VOCAB, length)
        if special:
            tokens[0], tokens[-1] = CLS, SEP
        ids[row, at], mask[row, at], types[row, at] = tokens, 1, draw.integers(0, 2, length)
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}


def starts(length: int, room: int, overlap: int) -> list[int]:
    """Where windows of `room` tokens start: as few as overlap enough, evenly."""
    count = 1
    while count * room - (count - 1) * overlap < length:
        count += 1
    return [i * max(0, length - room) // max(1, count - 1) for i in range(count)]


def by_hand(encode, given: dict[str, np.ndarray], window: int, overlap: int) -> list[torch.Tensor]:
    """The states of each row's tokens: each window encoded alone, each token from the best window."""
    rows = zip(given["input_ids"], given["attention_mask"], given["token_type_ids"], strict=True)
    return [row_by_hand(encode, ids[mask > 0], types[mask > 0], window, overlap) for ids, mask, types in rows]


def row_by_hand(encode, ids: np.ndarray, types: np.ndarray, window: int, overlap: int) -> torch.Tensor:
    """The same of one row without padding."""
    special = int(ids[0] == CLS)
    body, last = np.arange(special, len(ids) - special), len(ids) - 1
    states, context = {}, {}
    for start in starts(len(body), window - 2 * special, overlap):
        inside = body[start : start + window - 2 * special]
        whole = np.array([0, *inside, last]) if special else inside
        kinds = types[whole]
        if special and inside[0] != body[0]:
            kinds[0] = types[inside[0]]
        if special and inside[-1] != body[-1]:
            kinds[-1] = types[inside[-1]]
        found = encode(ids[whole], kinds)
        if special:
            states.setdefault(0, found[0])
            states[last] = found[-1]
        for place, token in enumerate(inside):
            edge = min(place, len(inside) - 1 - place)
            if edge > context.get(token, -1):
                context[token], states[token] = edge, found[special + place]
    return torch.stack([states[i] for i in range(len(ids))])


def alone(encoder, kind: str):
    """A function from the ids and types of one window to its states (T, W)."""

    def encode(ids: np.ndarray, types: np.ndarray) -> torch.Tensor:
        more = {} if kind == "bart" else {"token_type_ids": torch.tensor(types[None])}
        mask = torch.ones(1, len(ids), dtype=torch.long)
        return encoder(input_ids=torch.tensor(ids[None]), attention_mask=mask, **more)[0][0]

    return encode


def padded(rows: list[torch.Tensor]) -> torch.Tensor:
    """Rows of states as one array, zeros after their ends."""
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


def near(expected: np.ndarray, found: np.ndarray) -> bool:
    assert expected.shape == found.shape, (expected.shape, found.shape)
    return float(np.abs(expected - found).max()) < CLOSE * max(1.0, float(np.abs(expected).max()))


@every_framework
@every_encoder
@pytest.mark.parametrize("left", [False, True], ids=["right", "left"])
@torch.no_grad()
def test_states_are_those_of_the_best_window_for_each_token(peer, framework, encoder, left):
    pair = peer(encoder, "bert")
    model, given = loaded(framework.name, pair.folder), sources(pair, left=left)
    for window, overlap in ((24, 6), (40, 0), (20, 13)):
        out = model.encode_in_chunks(**framework.arrays(given), window=window, overlap=overlap)
        assert np.array_equal(framework.number(out.attention_mask), given["attention_mask"] > 0)
        states = framework.number(out.last_hidden_state)
        assert states.shape[:2] == given["input_ids"].shape
        assert np.isfinite(states).all()
        for row, expected in enumerate(by_hand(alone(pair.theirs.encoder, encoder), given, window, overlap)):
            assert near(expected.numpy(), states[row, given["attention_mask"][row] > 0]), row


@every_framework
@torch.no_grad()
def test_sources_without_special_tokens_are_cut_without_and_of_the_size_that_is_left(peer, framework):
    pair = peer("bert", "gpt2")
    for special in (True, False):  # whether the model has any: those of this source are none
        model, given = loaded(framework.name, pair.folder, special=special), sources(pair, special=False)
        states = model.encode_in_chunks(**framework.arrays(given), window=24, overlap=6).last_hidden_state
        for row, expected in enumerate(by_hand(alone(pair.theirs.encoder, "bert"), given, 24, 6)):
            assert near(expected.numpy(), framework.number(states)[row, : len(expected)]), row


@every_framework
@every_encoder
def test_a_source_of_one_window_has_the_very_states_of_encode(peer, framework, encoder):
    pair = peer(encoder, "bert")
    model = loaded(framework.name, pair.folder)
    given = framework.arrays(peers.source(pair, length=POSITIONS))
    whole = framework.number(model.encode(**given).last_hidden_state)
    assert np.array_equal(whole, framework.number(model.encode_in_chunks(**given).last_hidden_state))
    unmasked = {"input_ids": given["input_ids"]}  # the mask is then inferred, as ever
    out = model.encode_in_chunks(**unmasked)
    assert np.array_equal(framework.number(model.encode(**unmasked)[0]), framework.number(out[0]))
    assert np.array_equal(
        framework.number(out.attention_mask), framework.number(given["input_ids"]) != peers.PAD[encoder]
    )


@every_framework
def test_losses_and_gradients_go_through_all_windows(peer, framework):
    pair = peer("bert", "gpt2")
    given = sources(pair)
    labels = peers.labels(pair, rows=len(SOURCES))
    states = padded(by_hand(alone(pair.ours.encoder, "bert"), given, 24, 6))
    mask = torch.tensor(given["attention_mask"])
    pair.ours.zero_grad(set_to_none=True)
    expected = pair.ours(encoder_outputs=(states,), attention_mask=mask, labels=labels).loss
    expected.backward()
    model = reading_in_chunks(framework, pair.folder)
    loss, gradients = framework.gradients(model, {**given, "labels": labels})
    assert abs(loss - expected.item()) < CLOSE
    checked = 0
    for name, parameter in pair.ours.named_parameters():
        if parameter.grad is not None:
            assert near(parameter.grad.numpy(), gradients[name]), name
            checked += name.startswith("encoder.")
    assert checked > 30


@every_framework
def test_generate_reads_in_chunks_by_its_own_or_the_models_settings(peer, framework, tmp_path):
    pair = peer("bert", "gpt2", vocab=(peers.SOURCE_VOCAB, 17))
    model, given = loaded(framework.name, pair.folder), sources(pair)
    with torch.no_grad():
        states = padded(by_hand(alone(pair.theirs.encoder, "bert"), given, 24, 6))
    saved = reading_in_chunks(framework, pair.folder)
    saved.save_pretrained(tmp_path / "saved")
    again = with_special_tokens(framework.load(tmp_path / "saved"))
    assert again.config.encode_in_chunks is True
    arrays = framework.arrays(given)
    out = model.encode_in_chunks(**arrays, window=24, overlap=6)
    ready = {"encoder_outputs": out, "attention_mask": out.attention_mask}
    seen = set()
    for settings in ({}, {"num_beams": 3, "num_return_sequences": 2}):
        asked = {**settings, "max_new_tokens": 12}
        mask = torch.tensor(given["attention_mask"])
        expected = pair.ours.generate(encoder_outputs=(states,), attention_mask=mask, **asked).tolist()
        assert framework.tokens(model.generate(**arrays, **asked, **IN_CHUNKS)) == expected
        assert framework.tokens(model.generate(**ready, **asked)) == expected
        assert framework.tokens(again.generate(**arrays, **asked)) == expected
        seen.update(map(tuple, expected))
    assert len(seen) > 3


@every_framework
def test_a_call_and_encode_read_in_chunks_where_the_model_says_so(peer, framework):
    pair = peer("bert", "bert")
    model, given = reading_in_chunks(framework, pair.folder), framework.arrays(sources(pair))
    target = framework.arrays({"decoder_input_ids": peers.target(pair, rows=len(SOURCES))})
    out = model.encode_in_chunks(**given, window=24, overlap=6)
    whole = model(**given, **target, output_hidden_states=True)
    parted = model(encoder_outputs=out, attention_mask=out.attention_mask, **target)
    assert np.array_equal(framework.number(whole.logits), framework.number(parted.logits))
    assert np.array_equal(framework.number(model.encode(**given)[0]), framework.number(out[0]))
    assert np.array_equal(framework.number(whole.encoder_hidden_states[-1]), framework.number(out[0]))
    assert len(whole.encoder_hidden_states) == 3


@every_framework
def test_what_cannot_be_is_said_in_one_sentence(peer, framework):
    pair = peer("bert", "gpt2")
    model, given = loaded(framework.name, pair.folder), framework.arrays(sources(pair))
    for settings, words in (
        ({"window": 41}, "chunk_window is 41; a whole number from 4 to 40"),
        ({"window": 3}, "chunk_window is 3"),
        ({"window": 10, "overlap": 8}, "chunk_overlap is 8; a whole number from 0 to 7"),
        ({"overlap": True}, "chunk_overlap is True"),
    ):
        with pytest.raises(InputError, match=words):
            model.encode_in_chunks(**given, **settings)
    for settings, words in (
        ({"encode_in_chunks": "yes"}, "encode_in_chunks is 'yes'; True or False"),
        ({"encode_in_chunks": True, "chunk_window": 99}, "chunk_window is 99"),
        ({}, "95 tokens came and it has positions for 40; .*encode_in_chunks=True"),
    ):
        with pytest.raises(InputError, match=words):
            model.generate(**given, **settings)
    with pytest.raises(InputError, match=r"attention_mask has shape \(5, 94\); \(5, 95\) was expected"):
        model.encode_in_chunks(given["input_ids"], given["attention_mask"][:, 1:])
    with pytest.raises(InputError, match="token id 47 came"):
        model.encode_in_chunks(framework.array(np.full((1, 50), 47)))


def test_lengths_that_are_known_only_when_the_program_runs(peer):
    import tensorflow as tf

    pair, framework = peer("bert", "gpt2"), ALL["tensorflow"]
    model, plain = reading_in_chunks(framework, pair.folder), reading_in_chunks(ALL["torch"], pair.folder)
    unknown = tf.TensorSpec((None, None), tf.int32)
    program = tf.function(
        lambda ids, mask, labels: model(input_ids=ids, attention_mask=mask, labels=labels).loss,
        input_signature=[unknown] * 3,
        autograph=False,
    )
    for length in (95, 30, 24, 7):
        given = {name: x[:, :length] for name, x in sources(pair).items() if name != "token_type_ids"}
        labels = peers.labels(pair, rows=len(SOURCES))
        with torch.no_grad():  # held against windows cut by hand above
            expected = plain(**ALL["torch"].arrays({**given, "labels": labels})).loss.item()
        found = program(*(tf.constant(x, tf.int32) for x in (given["input_ids"], given["attention_mask"], labels)))
        assert abs(float(found) - expected) < CLOSE, length


@every_framework
def test_a_pipeline_writes_of_long_texts(chunky, framework):
    write = pipeline(chunky, backend=framework.name, device="cpu" if framework.name == "torch" else None)
    torch_write = pipeline(chunky, device="cpu")
    texts = [LONG, "the cat sat .", " ".join(reversed(LONG.split()))]
    source = torch_write.tokenizers.source
    expected = []
    for text in texts:
        ids = source(text, return_tensors="pt")["input_ids"]
        out = torch_write.model.encode_in_chunks(ids)
        made = torch_write.model.generate(encoder_outputs=out, attention_mask=out.attention_mask, max_new_tokens=9)
        expected.append(torch_write.tokenizers.target.decode(made[0], skip_special_tokens=True))
    assert len(set(expected)) == 3
    asked = {"max_new_tokens": 9, "encode_in_chunks": True}
    assert write(texts, **asked) == expected
    assert write(texts, **asked, truncation=True) == expected  # there is nothing to cut
    assert "".join(write.stream(LONG, **asked)) == expected[0]
    assert write(texts[1], max_new_tokens=9) == expected[1]
    with pytest.raises(InputError, match=r"positions for 24; .*encode_in_chunks=True to read all of it"):
        write(LONG)
    always = pipeline(write.model, encode_in_chunks=True, max_new_tokens=9)
    assert always(texts) == expected
    with pytest.raises(InputError, match="positions for 24"):
        always(LONG, encode_in_chunks=False)


@pytest.fixture(scope="module")
def chunky(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A joined model with tokenizers and 24 positions."""
    return tiny.join(tmp_path_factory.mktemp("chunky") / "model", "gpt2")


def with_special_tokens(model):
    """The model, whose encoder's sources begin with CLS and end with SEP."""
    model.encoder.tokenizer = SPECIAL
    return model


def reading_in_chunks(framework, folder: Path):
    """A model of its own that reads in windows of 24 tokens, of which 6 overlap."""
    return with_special_tokens(framework.load(folder, **IN_CHUNKS))
