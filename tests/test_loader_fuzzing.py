"""Files that somebody broke, on purpose or not: a clean error for each, and never another one.

LOADER_CASES=5000 pytest tests/test_loader_fuzzing.py tries as many of each kind.
"""

import copy
import json
import os
import random
import struct
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conjoin.composite import EncoderDecoderConfig
from conjoin.config import read_json
from conjoin.errors import CheckpointError, ConjoinError
from conjoin.families import spec_of
from conjoin.gguf.config import config_of
from conjoin.gguf.header import read_header
from conjoin.gguf.tensors import GGUFTensors
from conjoin.gguf.tokenizer import tokenizer_of

FIXTURES = Path(__file__).parent / "fixtures" / "transformers4"
CONFIGS = [json.loads(path.read_text()) for path in sorted(FIXTURES.glob("*/config.json"))]
JUNK: list[Any] = [
    None,
    True,
    -1,
    0,
    2**63,
    1.5,
    float("nan"),
    float("inf"),
    "",
    "x" * 999,
    [],
    [[]],
    {},
    {"a": 1},
    [None] * 3,
]
NUMBERS = [0, 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1, 0x7F800000, 0x7FC00000]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
cases = settings(
    max_examples=int(os.environ.get("LOADER_CASES", "300")),
    deadline=None,
    derandomize="LOADER_CASES"
    not in os.environ,  # CI tries the same cases each time, whoever looks for more tries others
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def one_line(error: ConjoinError) -> None:
    assert "\n" not in str(error)


@cases
@given(seed=st.integers(0, 2**64))
def test_a_broken_config_is_a_clean_error(tmp_path, seed):
    rng = random.Random(seed)
    config = copy.deepcopy(rng.choice(CONFIGS))
    part = rng.choice([config, *(config[side] for side in ("encoder", "decoder") if side in config)])
    for key in rng.sample(sorted(part), k=min(rng.choice([1, 1, 3]), len(part))):
        if rng.random() < 0.2:
            del part[key]
        else:
            part[key] = rng.choice(JUNK)
    (tmp_path / "config.json").write_text(json.dumps(config))
    try:
        found = EncoderDecoderConfig.from_folder(tmp_path)
        for role in ("encoder", "decoder"):
            spec_of(getattr(found, role), role)
    except ConjoinError as error:
        one_line(error)


def test_a_number_of_thousands_of_digits_is_a_clean_error(tmp_path):
    (tmp_path / "config.json").write_text('{"a": ' + "9" * 5000 + "}")
    with pytest.raises(CheckpointError, match="not valid JSON"):
        read_json(tmp_path / "config.json")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return llama(tmp_path_factory.mktemp("gguf") / "model.gguf").read_bytes()


def llama(path: Path, **changed: Any) -> Path:
    """A GGUF file of a Llama of one layer, with a SentencePiece vocabulary."""
    tokens = changed.get("tokens", ["<unk>", "<s>", "</s>", *BYTES, "a", "b", "ab", "▁a", "▁"])
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(16)
    writer.add_block_count(1)
    writer.add_feed_forward_length(24)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([-float(i) for i in range(len(tokens))])
    writer.add_array(
        "tokenizer.ggml.token_type", changed.get("types", [2, 3, 3, *[6] * 256, *[1] * (len(tokens) - 259)])
    )
    for add, index in ((writer.add_unk_token_id, 0), (writer.add_bos_token_id, 1), (writer.add_eos_token_id, 2)):
        add(index)
    writer.add_tensor("token_embd.weight", np.zeros((len(tokens), 16), np.float32))
    writer.add_tensor("output_norm.weight", np.ones(16, np.float32))
    writer.add_tensor("blk.0.attn_q.weight", np.zeros((changed.get("rows", 16), 16), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def read_all(path: Path) -> None:
    header = read_header(path)
    config_of(header)
    tokenizer_of(header)
    tensors = GGUFTensors(path, "np")
    for name in tensors.source:
        tensors.read(name)


@cases
@given(seed=st.integers(0, 2**64))
def test_a_broken_gguf_file_is_a_clean_error(tmp_path, whole, seed):
    rng = random.Random(seed)
    data = bytearray(whole)
    for _ in range(rng.choice([1, 1, 2, 4])):
        at = rng.randrange(4, 1200 if rng.random() < 0.5 else len(data) - 8)
        kind = rng.choice(["bit", "byte", "I", "Q", "end"])
        if kind == "bit":
            data[at] ^= 1 << rng.randrange(8)
        elif kind == "byte":
            data[at] = rng.randrange(256)
        elif kind == "end":
            del data[at:]
            break
        else:
            size = struct.calcsize(kind)
            data[at : at + size] = struct.pack(f"<{kind}", rng.choice(NUMBERS) % 256**size)
    path = tmp_path / "model.gguf"
    path.write_bytes(data)
    try:
        read_all(path)
    except ConjoinError as error:
        one_line(error)


def test_gguf_files_that_fuzzing_or_reading_found(tmp_path):
    read_all(llama(tmp_path / "whole.gguf"))
    with pytest.raises(CheckpointError, match="12 rows, in heads of 8"):
        read_all(llama(tmp_path / "rows.gguf", rows=12))
    whole = (tmp_path / "whole.gguf").read_bytes()
    (tmp_path / "name.gguf").write_bytes(whole.replace(b"llama.context", b"llama.\nontext"))
    with pytest.raises(CheckpointError, match=r"it names something 'llama.\\nontext_length'"):
        read_all(tmp_path / "name.gguf")
    with pytest.raises(CheckpointError, match="whole numbers were expected"):
        read_all(llama(tmp_path / "types.gguf", types=[float("nan")] * 264))
    tokens = ["<unk>", "<s>", "</s>", *BYTES, "a" * 1_000_000]  # of which merges were sought for hours
    with pytest.raises(CheckpointError, match="a token of 1000000 characters"):
        read_all(llama(tmp_path / "long.gguf", tokens=tokens))
