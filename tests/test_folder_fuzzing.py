"""Folders whose weights, index or tokenizer somebody broke: a clean error, bounded memory, and no file beside the folder read.

LOADER_CASES=5000 pytest tests/test_folder_fuzzing.py tries as many of each kind.
"""

import copy
import json
import os
import random
import shutil
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from test_loader_fuzzing import JUNK, cases, one_line

from conjoin import EncoderDecoderModel
from conjoin.errors import CheckpointError, ConjoinError
from conjoin.tokens import AutoTokenizer

some = settings(cases, max_examples=int(os.environ.get("LOADER_CASES", "60")))
seeds = st.integers(0, 2**64)
MOST = 256 << 20  # bytes that a broken file may make the process grow by
VALUES = [*JUNK, "F32", "I4", "F64", "BF16", [16], [0], [2**62, 2**62], [-1], [0, 64], [64, 0], [2**63, 2**64], 10**400]
NAMES = [
    "../beside",
    "/etc/passwd",
    "..",
    ".",
    "model-00001-of-00002.safetensors",
    "x" * 300,
    "a\x00b",
    "config.json",
    "\\",
]


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tiny.join(tmp_path_factory.mktemp("whole") / "model", "gpt2")
    shutil.copyfile(folder / "model.safetensors", folder.parent / "beside")
    return folder


@pytest.fixture(scope="module")
def sharded(joined: Path) -> Path:
    folder = joined.parent / "sharded"
    EncoderDecoderModel.from_pretrained(joined).save_pretrained(folder, max_shard_size=9000)
    return folder


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    process = psutil.Process()
    before = process.memory_info().rss
    yield
    assert process.memory_info().rss - before < MOST


opened: list[str] = []  # what Python opens while somebody listens
listening = [False]


def heard(event: str, args: tuple[Any, ...]) -> None:
    if listening[0] and event == "open" and isinstance(args[0], str):
        opened.append(args[0])


sys.addaudithook(heard)


def clean(work: Callable[[], Any], folder: Path) -> None:
    """Runs what may fail with one sentence and reads nothing but the folder (and code, which is loaded when first used)."""
    opened.clear()
    listening[0] = True
    try:
        work()
    except ConjoinError as error:
        one_line(error)
    finally:
        listening[0] = False
    others = [
        path for path in opened if Path(path).suffix not in (".py", ".pyc") and not path.startswith(("/proc", "/sys"))
    ]
    assert all(Path(os.path.normpath(path)).is_relative_to(folder) for path in others), others


def broken(value: Any, rng: random.Random, values: list[Any]) -> Any:
    """A copy of JSON with one thing in it replaced, dropped, doubled or renamed, at any depth."""
    value = copy.deepcopy(value)
    at, depth = value, 0
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        if not keys:
            return value
        key = rng.choice(keys)
        if isinstance(at[key], dict | list) and at[key] and (depth == 0 or rng.random() < 0.8):
            at, depth = at[key], depth + 1
            continue
        kind = rng.choice(["replace", "replace", "drop", "add"])
        if kind == "drop":
            del at[key]
        elif kind == "replace":
            at[key] = rng.choice(values)
        elif isinstance(at, dict):
            at[rng.choice(["", "x", "type", "\n", *map(str, keys)])] = rng.choice([at[key], *values])
        else:
            at.insert(key, rng.choice([at[key], *values]))
        return value


def link(folder: Path, whole: Path, but: str) -> None:
    """The files of a folder in another, but for one."""
    for path in whole.iterdir():
        if path.name != but and not (folder / path.name).exists():
            (folder / path.name).symlink_to(path)


def opens(folder: Path) -> None:
    EncoderDecoderModel.from_pretrained(folder)


@some
@given(seed=seeds)
def test_a_broken_safetensors_file_is_a_clean_error(tmp_path: Path, joined: Path, seed: int) -> None:
    rng = random.Random(seed)
    data = (joined / "model.safetensors").read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header, rest = data[8 : 8 + size], data[8 + size :]
    if rng.random() < 0.8:
        fields = json.loads(header)
        for _ in range(rng.choice([1, 1, 3])):
            fields = broken(fields, rng, VALUES)
        header = json.dumps(fields).encode()
    else:
        header = bytearray(header)
        header[rng.randrange(len(header))] = rng.randrange(256)
    told = len(header) if rng.random() < 0.9 else rng.choice([0, 1, 7, len(header) + 1, 2**31, 2**40, 2**63, 2**64 - 1])
    made = struct.pack("<Q", told) + header + rest
    if rng.random() < 0.1:
        made = made[: rng.randrange(len(made))]
    (tmp_path / "model.safetensors").write_bytes(made)
    link(tmp_path, joined, "model.safetensors")
    clean(lambda: opens(tmp_path), tmp_path)


@some
@given(seed=seeds)
def test_a_broken_index_is_a_clean_error(tmp_path: Path, sharded: Path, seed: int) -> None:
    rng = random.Random(seed)
    index = json.loads((sharded / "model.safetensors.index.json").read_text())
    for _ in range(rng.choice([1, 1, 3])):
        index = broken(index, rng, [*VALUES, *NAMES, *NAMES])
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    link(tmp_path, sharded, "model.safetensors.index.json")
    clean(lambda: opens(tmp_path), tmp_path)


@some
@given(seed=seeds)
def test_a_broken_tokenizer_is_a_clean_error(tmp_path: Path, joined: Path, seed: int) -> None:
    rng = random.Random(seed)
    folder = rng.choice([joined, joined / "target_tokenizer"])
    fields = json.loads((folder / "tokenizer.json").read_text())
    for _ in range(rng.choice([1, 1, 3])):
        fields = broken(fields, rng, [*VALUES, *NAMES, "BPE", "WordPiece", "Sequence", [1, 2], {"type": "Sequence"}])
    (tmp_path / "tokenizer.json").write_text(json.dumps(fields))

    def reads() -> None:
        tokenizer = AutoTokenizer.from_pretrained(tmp_path)
        ids = tokenizer(tiny.TEXTS[0])["input_ids"]
        tokenizer.decode(ids, skip_special_tokens=True)

    clean(reads, tmp_path)


def test_what_fuzzing_found_in_tokenizers(tmp_path: Path, joined: Path) -> None:
    whole = json.loads((joined / "tokenizer.json").read_text())
    template = copy.deepcopy(whole)
    template["post_processor"]["special_tokens"].clear()  # of which the library says nothing until it is used
    prefix = copy.deepcopy(whole)
    prefix["model"] |= {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]}
    prefix["model"]["continuing_subword_prefix"] = "###"
    for fields in (template, prefix):
        (tmp_path / "tokenizer.json").write_text(json.dumps(fields))
        with pytest.raises(CheckpointError, match="is broken"):
            AutoTokenizer.from_pretrained(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json"])
def test_a_named_pipe_is_refused_and_not_waited_for(tmp_path: Path, joined: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    link(tmp_path, joined, name)
    with pytest.raises(ConjoinError) as refused:
        (AutoTokenizer if "tokenizer" in name else EncoderDecoderModel).from_pretrained(tmp_path)
    one_line(refused.value)
    assert name.removesuffix(".json") in str(refused.value)
