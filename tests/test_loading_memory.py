"""Loading takes little more memory than the weights: measured as a fresh process's peak beyond its bare import."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from conjoin import BertConfig, EncoderDecoderConfig, EncoderDecoderModel, GPT2Config

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")]

PEAK = """
import json, pathlib, sys, warnings
import torch
torch.set_num_threads(1)
from conjoin import EncoderDecoderModel

def status(name):
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024

before = status("VmRSS")
try:
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before_peak = status("VmHWM")
except OSError:
    before_peak = status("VmHWM")
kind, *folders = sys.argv[1:]
load = EncoderDecoderModel.from_pretrained if kind == "whole" else EncoderDecoderModel.from_encoder_decoder_pretrained
model = load(*folders)
peak = status("VmHWM")
weights = sum(p.nbytes for p in model.parameters())
print(json.dumps({"weights": weights, "peak": peak - before, "hidden": before_peak - before}))
"""


def peak(kind: str, *folders: Path) -> dict[str, int]:
    """Bytes of weights, and the peak beyond what the import took."""
    code = [sys.executable, "-W", "ignore", "-c", PEAK, kind, *map(str, folders)]
    done = subprocess.run(code, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module", params=["bert", "gpt2"])
def folder(request, tmp_path_factory) -> Path:
    """A saved model of about 100 MB. GPT-2's weights lie the other way round in the file."""
    sizes = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 6, "intermediate_size": 1536}
    decoder = (
        BertConfig(vocab_size=3000, **sizes)
        if request.param == "bert"
        else GPT2Config(vocab_size=3000, n_embd=384, n_layer=6, n_head=6, n_positions=512)
    )
    config = EncoderDecoderConfig.from_encoder_decoder_configs(BertConfig(vocab_size=3000, **sizes), decoder)
    model = EncoderDecoderModel(config=config)
    path = tmp_path_factory.mktemp("memory") / request.param
    model.save_pretrained(path)
    model.encoder.save_pretrained(path / "encoder")
    model.decoder.save_pretrained(path / "decoder")
    return path


def check(measured: dict[str, int]) -> None:
    assert 80e6 < measured["weights"] < 150e6
    assert measured["hidden"] < 5e6, "the import's own peak hides what loading takes"
    assert measured["weights"] * 0.9 < measured["peak"] <= 1.2 * measured["weights"], measured


def test_loading_a_model_takes_little_more_than_its_weights(folder):
    check(peak("whole", folder))


def test_joining_two_parts_takes_little_more_than_their_weights(folder):
    check(peak("parts", folder / "encoder", folder / "decoder"))
