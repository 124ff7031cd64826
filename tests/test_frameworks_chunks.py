"""Sources longer than the encoder's positions, read in windows: against windows cut by hand, in all three frameworks."""

import functools
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import peers
import pytest
import tiny
import torch
from frameworks import ALL, compiled_frameworks, every_framework
from peers import POSITIONS

from conjoin import CheckpointError, GenerationConfig, InputError, pipeline

CLOSE = 1e-5
CLS, SEP = 4, 5  # below what peers.source draws
SOURCES = (95, 40, 63, 9, 41)  # tokens of each row, special ones included: some fit into one window
IN_CHUNKS = {"encode_in_chunks": True, "chunk_window": 24, "chunk_overlap": 6}
every_encoder = pytest.mark.parametrize("encoder", peers.ENCODERS)


@functools.cache
def loaded(name: str, folder: Path, *, special: bool = True):
    """The model of a folder, whose encoder's sources begin with CLS and end with SEP."""
    model = ALL[name].load(folder)
    if special:
        model.encoder.tokenizer = SimpleNamespace(cls_token_id=CLS, sep_token_id=SEP, bos_token_id=None, eos_token_id=None)
    return model


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


def by_hand(pair: peers.Peer, given: dict[str, np.ndarray], window: int, overlap: int) -> list[np.ndarray]:
    """The states of each row's tokens: each window encoded alone by transformers, each token from the best window."""
    return [row_by_hand(pair, ids[mask > 0], types[mask > 0], window, overlap) for ids, mask, types in zip(*given.values(), strict=True)]


def row_by_hand(pair: peers.Peer, ids: np.ndarray, types: np.ndarray, window: int, overlap: int) -> np.ndarray:
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
        found = encoded_alone(pair, ids[whole], kinds)
        if special:
            states.setdefault(0, found[0])
            states[last] = found[-1]
        for place, token in enumerate(inside):
            edge = min(place, len(inside) - 1 - place)
            if edge > context.get(token, -1):
                context[token], states[token] = edge, found[special + place]
    return np.stack([states[i] for i in range(len(ids))])


def encoded_alone(pair: peers.Peer, ids: np.ndarray, types: np.ndarray) -> np.ndarray:
    """The states (T, W) that transformers gives some tokens."""
    more = {} if pair.encoder == "bart" else {"token_type_ids": torch.tensor(types[None])}
    mask = torch.ones(1, len(ids), dtype=torch.long)
    with torch.no_grad():
        return pair.theirs.encoder(input_ids=torch.tensor(ids[None]), attention_mask=mask, **more)[0][0].numpy()


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
        for row, expected in enumerate(by_hand(pair, given, window, overlap)):
            assert near(expected, states[row, given["attention_mask"][row] > 0]), row
