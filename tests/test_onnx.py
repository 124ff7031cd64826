"""Exported models: ONNX Runtime writes what PyTorch writes, from the same folder, without a framework; and what is refused."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import peers
import pytest
import tiny
import torch
import transformers
from families import CASES
from only_one_framework import MODULES

import conjoin
from conjoin import (
    BertConfig,
    EncoderDecoderConfig,
    EncoderDecoderModel,
    InputError,
    ViTConfig,
    WatermarkingConfig,
    pipeline,
)
from conjoin.cli import main
from conjoin.errors import CheckpointError, ConfigError
from conjoin.torch import Encoder

pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
pytest.importorskip("onnxscript", reason="the extra onnx is not installed")

from conjoin import OnnxEncoderDecoderModel, export_onnx
from conjoin.backends import onnx as numpy_ops
from conjoin.backends import torch as torch_ops
from conjoin.backends.torch.layers import Constant
from conjoin.onnx import export
from conjoin.onnx.layout import GRAPHS

TEXTS = ["the cat sat on the mat .", "a dog ran .", "the big red dog and the small blue cat ran under the tree ."]
TOKENS = {"decoder_start_token_id": 5, "pad_token_id": 0, "eos_token_id": 4}
SEARCHES: dict[str, dict[str, Any]] = {
    "greedy": {},
    "beams": {"num_beams": 4},
    "several": {"num_beams": 4, "num_return_sequences": 3, "early_stopping": True, "length_penalty": 2.0},
    "rules": {"repetition_penalty": 1.7, "no_repeat_ngram_size": 2, "encoder_repetition_penalty": 1.3, "min_length": 6},
    "likeliest": {"do_sample": True, "top_k": 1},
    "groups": {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.7, "num_return_sequences": 2},
    "words": {"num_beams": 4, "force_words_ids": [[9, 8], [[7], [11, 12]]]},
    "guided": {"guidance_scale": 1.5, "negative_prompt_ids": torch.tensor([[7, 8, 9, 10, 11]]), "num_beams": 2},
    "biased": {
        "sequence_bias": {(9,): -3.0, (8, 9): 2.0},
        "bad_words_ids": [[16], [12, 13]],
        "renormalize_logits": True,
    },
    "warped": {"do_sample": True, "top_k": 1, "typical_p": 0.9, "eta_cutoff": 1e-3, "top_p": 0.9, "min_p": 0.01},
}


def source(vocab: int = peers.TARGET_VOCAB, length: int = 9) -> dict[str, torch.Tensor]:
    """A full row, padding on the right, padding on the left, and a short row."""
    ids = torch.randint(6, vocab, (4, length), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    if length > 1:
        mask[1, length - 3 :] = mask[2, :2] = mask[3, 3:] = 0
    return {"input_ids": ids, "attention_mask": mask}


def arrays(given: dict[str, Any]) -> dict[str, Any]:
    """The same for NumPy."""
    return {name: x.numpy() if isinstance(x, torch.Tensor) else x for name, x in given.items()}


def peer(encoder: str, decoder: str) -> Callable[[Path], EncoderDecoderModel]:
    """One of the joins that all tests have, with a projection in it."""
    vocab = (peers.TARGET_VOCAB, peers.TARGET_VOCAB)
    return lambda folder: peers.make(folder, encoder, decoder, vocab=vocab).ours


def of_families(encoder: str, decoder: str) -> Callable[[Path], EncoderDecoderModel]:
    """A join of two of the families' cases."""
    cases = {case.name: case for case in CASES}

    def made(folder: Path) -> EncoderDecoderModel:
        for role, name in (("encoder", encoder), ("decoder", decoder)):
            cases[name].make(role, folder / role)
        torch.manual_seed(0)
        model = EncoderDecoderModel.from_encoder_decoder_pretrained(folder / "encoder", folder / "decoder")
        for name, value in TOKENS.items():
            setattr(model.config, name, value)
        return model

    return made


JOINS = {
    "bert-bert": peer("bert", "bert"),
    "roberta-gpt2": peer("roberta", "gpt2"),
    "bart-bart": peer("bart", "bart"),
    "modernbert-llama": of_families("modernbert", "llama"),  # rotary, grouped, windows
    "longt5-t5": of_families("longt5", "t5"),  # sums of blocks; scores by distance, which beams must be told
}
MARKS = {"bert-bert": [], "modernbert-llama": [pytest.mark.slow]}
MARKED = [pytest.param(name, marks=MARKS.get(name, [pytest.mark.extensive])) for name in JOINS]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """`exported(join)`: the model, and its graphs, each exported once."""
    found: dict[str, tuple[EncoderDecoderModel, Path]] = {}

    def of(name: str) -> tuple[EncoderDecoderModel, Path]:
        if name not in found:
            folder = tmp_path_factory.mktemp(name)
            model = JOINS[name](folder / "parts")
            export_onnx(model, folder / "out")
            found[name] = model, folder / "out"
        return found[name]

    return of


@pytest.mark.parametrize("name", MARKED)
@torch.no_grad()
def test_tokens_scores_and_logits_are_pytorchs(name: str, exported: Any) -> None:
    """Of lengths and batches that were never traced; prompts with padding; rows that end early and leave."""
    model, folder = exported(name)
    graphs = OnnxEncoderDecoderModel.from_pretrained(folder)
    for length in (9, 1, 23):
        given = source(length=length)
        for search in SEARCHES.values():
            settings = {**search, "max_new_tokens": 9, "return_dict_in_generate": True, "output_scores": True}
            theirs = model.generate(**given, **settings)
            ours = graphs.generate(**arrays(given | settings))
            assert ours.sequences.tolist() == theirs.sequences.tolist()
            if theirs.sequences_scores is not None:
                np.testing.assert_allclose(ours.sequences_scores, theirs.sequences_scores, atol=1e-4)
            for a, b in zip(ours.scores, theirs.scores, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
    target = torch.randint(6, peers.TARGET_VOCAB, (4, 3), generator=torch.Generator().manual_seed(2))
    hidden = torch.ones_like(target)
    hidden[0, 0] = 0
    prompt = {"decoder_input_ids": target, "decoder_attention_mask": hidden}
    given = source()
    expected = model(**given, decoder_input_ids=target).logits.numpy()
    found = graphs(**arrays(given | {"decoder_input_ids": target})).logits
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * max(1.0, np.abs(expected).max() / 4))
    for search in ({}, {"num_beams": 3}):
        theirs = model.generate(**given, **prompt, **search, max_new_tokens=4)
        assert graphs.generate(**arrays(given | prompt), **search, max_new_tokens=4).tolist() == theirs.tolist()


@pytest.fixture(scope="module")
def bert(exported: Any) -> tuple[EncoderDecoderModel, Any]:
    model, folder = exported("bert-bert")
    return model, OnnxEncoderDecoderModel.from_pretrained(folder)


@torch.no_grad()
def test_a_decoder_goes_on_from_its_cache(bert: Any) -> None:
    model, graphs = bert
    given = source()
    states = graphs.encode(**arrays(given))
    np.testing.assert_allclose(states[0][0], model.memory(model.encode(**given)[0])[0], atol=1e-5)
    ids = torch.randint(6, peers.TARGET_VOCAB, (4, 6), generator=torch.Generator().manual_seed(2))
    expected = model(**given, decoder_input_ids=ids).logits.numpy()
    cache = graphs.init_cache(4, 6, states, given["attention_mask"].numpy())
    pieces = []
    for part in ids.split([3, 1, 2], 1):
        out = graphs.decode(part.numpy(), past_key_values=cache)
        cache = out.past_key_values
        pieces.append(out.logits)
    assert cache.get_seq_length() == 6
    np.testing.assert_allclose(np.concatenate(pieces, 1), expected, rtol=1e-5, atol=1e-5)
    again = graphs.generate(
        encoder_outputs=states, attention_mask=given["attention_mask"].numpy(), max_new_tokens=5, num_beams=2
    )
    assert again.tolist() == model.generate(**given, max_new_tokens=5, num_beams=2).tolist()


def test_labels_give_the_loss(bert: Any) -> None:
    model, graphs = bert
    labels = torch.randint(6, peers.TARGET_VOCAB, (4, 6), generator=torch.Generator().manual_seed(2))
    labels[1, 3:] = -100
    with torch.no_grad():
        expected = model(**source(), labels=labels)
    found = graphs(**arrays(source() | {"labels": labels}))
    assert found.loss == pytest.approx(float(expected.loss), abs=1e-5)
    assert graphs(**arrays(source() | {"labels": labels}), return_logits=False).loss == pytest.approx(found.loss)


def test_long_sources_are_read_in_windows(bert: Any) -> None:
    model, graphs = bert
    ids = torch.randint(6, peers.TARGET_VOCAB, (2, 70), generator=torch.Generator().manual_seed(1))
    asked = {"encode_in_chunks": True, "chunk_overlap": 6, "max_new_tokens": 6}
    with pytest.raises(InputError, match="70 tokens"):
        graphs.generate(ids.numpy())
    assert graphs.generate(ids.numpy(), **asked).tolist() == model.generate(ids, **asked).tolist()


def test_a_sample_does_not_depend_on_its_neighbours(bert: Any) -> None:
    _, graphs = bert
    given = arrays(source())
    asked = {"do_sample": True, "top_k": 0, "max_new_tokens": 8, "seed": 7}
    whole = graphs.generate(**given, **asked)
    assert whole.tolist() == graphs.generate(**given, **asked).tolist()
    assert whole.tolist() != graphs.generate(**given, **{**asked, "seed": 8}).tolist()
    alone = graphs.generate(**{name: x[2:3] for name, x in given.items()}, **asked)
    assert alone[0].tolist() == whole[2, : alone.shape[1]].tolist()


def test_what_a_graph_does_not_have_is_refused(bert: Any) -> None:
    _, graphs = bert
    given = arrays(source())
    for more, said in (
        ({"output_attentions": True}, "gives no hidden states"),
        ({"position_ids": given["input_ids"]}, "reads no position_ids"),
        ({"global_attention_mask": given["input_ids"]}, "reads no global_attention_mask"),
    ):
        with pytest.raises(InputError, match=said):
            graphs.encode(**given, **more)
    with pytest.raises(InputError, match="reads input_ids"):
        graphs.generate(inputs_embeds=np.zeros((1, 3, 32), np.float32), max_new_tokens=2)
    with pytest.raises(InputError, match="PyTorch tensor; a NumPy array"):
        graphs.generate(**source())
    with pytest.raises(InputError, match="token id 61"):
        graphs.generate(given["input_ids"] * 0 + peers.TARGET_VOCAB)
    with pytest.raises(TypeError, match="num_beams"):
        graphs.generate(**given, num_beens=2)
    for asked, said in (
        ({"penalty_alpha": 0.6, "top_k": 4}, "penalty_alpha .* hidden states"),
        ({"prompt_lookup_num_tokens": 3}, "prompt_lookup_num_tokens .* PyTorch's model alone"),
        ({"watermarking_config": WatermarkingConfig(bias=2.0)}, "watermarking_config .* torch's"),
        ({"return_dict_in_generate": True, "output_attentions": True}, "gives no hidden states"),
        ({"vocabulary": [7]}, "its graphs make all logits"),
    ):
        with pytest.raises(InputError, match=said):
            graphs.generate(**given, **asked, max_new_tokens=4)


def test_python_is_called_at_each_step(bert: Any) -> None:
    """A processor, a criterion and a streamer see NumPy's arrays; and the cache that is returned is read on."""
    model, graphs = bert
    told: list[Any] = []

    class Streamer:
        def put(self, value: Any) -> None:
            told.append(value.reshape(-1).tolist())

        def end(self) -> None:
            told.append("end")

    def least(ids: Any, scores: Any) -> Any:
        return -scores

    def three(ids: Any, scores: Any) -> bool:
        return bool(ids.shape[1] >= 4)

    given = {name: x[:1] for name, x in source().items()}
    asked = {"logits_processor": [least], "stopping_criteria": [three], "max_new_tokens": 9}
    found = graphs.generate(**arrays(given), **asked, streamer=Streamer(), return_dict_in_generate=True)
    assert found.sequences.tolist() == model.generate(**given, **asked).tolist()
    assert [[5], *([token] for token in found.sequences[0, 1:].tolist()), "end"] == told
    cache = found.past_key_values
    assert cache.get_seq_length() == found.sequences.shape[1] - 1
    step = graphs.decode(found.sequences[:, -1:], past_key_values=cache).logits
    with torch.no_grad():
        expected = model(**given, decoder_input_ids=torch.tensor(found.sequences)).logits[:, -1:]
    np.testing.assert_allclose(step, expected, rtol=1e-5, atol=1e-5)


# From one folder to another.


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model with two tokenizers, and what the command made of it."""
    folder = tiny.join(tmp_path_factory.mktemp("command") / "model", "gpt2")
    out = folder.parent / "out"
    assert main(["export", str(folder), "--to", "onnx", "--output", str(out)]) == 0
    return folder, out


@pytest.mark.parametrize("settings", [{}, {"num_beams": 4}], ids=["greedy", "beams"])
def test_a_pipeline_of_an_exported_folder_writes_the_same(folders: Any, settings: dict[str, Any]) -> None:
    folder, out = folders
    plain, graphs = pipeline(folder), pipeline(out)
    assert isinstance(graphs.model, OnnxEncoderDecoderModel)
    assert graphs(TEXTS, max_new_tokens=9, **settings) == plain(TEXTS, max_new_tokens=9, **settings)
    assert "".join(graphs.stream(TEXTS[0], max_new_tokens=9, **settings)) == plain(
        TEXTS[0], max_new_tokens=9, **settings
    )
    assert not list(out.glob("*.safetensors"))


def test_the_command_line_takes_an_exported_folder(folders: Any, tmp_path: Path) -> None:
    folder, out = folders
    (tmp_path / "in.txt").write_text("\n".join(TEXTS) + "\n")
    written = []
    for one in (folder, out):
        target = tmp_path / f"{one.name}.txt"
        assert main(["generate", str(one), str(tmp_path / "in.txt"), "-o", str(target), "--max-new-tokens", "8"]) == 0
        written.append(target.read_text())
    assert written[0] == written[1]


def test_no_framework_is_needed_to_run_one(folders: Any) -> None:
    folder, out = folders
    hidden = ["onnx", "onnxscript", "transformers", *(module for names in MODULES.values() for module in names)]
    code = f"""
import json, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from only_one_framework import Hidden
sys.meta_path.insert(0, Hidden({hidden}))
import conjoin
write = conjoin.pipeline({str(out)!r})
print(json.dumps(write({TEXTS!r}, max_new_tokens=6, num_beams=2)))
try:
    conjoin.export_onnx
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    texts, refusal = done.stdout.splitlines()
    assert json.loads(texts) == pipeline(folder)(TEXTS, max_new_tokens=6, num_beams=2)
    assert refusal == 'export_onnx needs torch, which is not installed; run: pip install "conjoin[torch]".'


@pytest.mark.parametrize("missing", ["onnxruntime", "onnxscript"])
def test_what_is_not_installed_is_named_with_what_to_install(missing: str, folders: Any, tmp_path: Path) -> None:
    folder, out = folders
    argv = ["generate", str(out), str(tmp_path / "in.txt")] if missing == "onnxruntime" else []
    argv = argv or ["export", str(folder), "--to", "onnx", "--output", str(tmp_path / "new")]
    (tmp_path / "in.txt").write_text(TEXTS[0])
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from only_one_framework import Hidden
sys.meta_path.insert(0, Hidden([{missing!r}]))
from conjoin.cli import main
print(main({argv!r}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=280)
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr
    assert f'needs {missing}, which is not installed; run: pip install "conjoin[onnx]".' in done.stderr
    assert not (tmp_path / "new").exists()


@torch.no_grad()
def test_int8_is_smaller_and_nearly_the_same(tmp_path: Path) -> None:
    torch.manual_seed(0)
    sizes = {"vocab_size": 300, "hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    encoder = BertConfig(**sizes, intermediate_size=256)
    decoder = BertConfig(**sizes, intermediate_size=256, is_decoder=True, add_cross_attention=True)
    model = EncoderDecoderModel(config=EncoderDecoderConfig(encoder=encoder, decoder=decoder)).eval()
    for name, value in TOKENS.items():
        setattr(model.config, name, value)
    for kind in ("float32", "int8"):
        export_onnx(model, tmp_path / kind, dtype=kind)
    sizes_of = [sum((tmp_path / kind / name).stat().st_size for name in GRAPHS) for kind in ("float32", "int8")]
    assert sizes_of[1] < 0.4 * sizes_of[0]
    assert {path.name for path in (tmp_path / "int8").glob("*.onnx*")} == set(GRAPHS)
    given = source(300)
    target = torch.randint(6, 300, (4, 5), generator=torch.Generator().manual_seed(2))
    expected = model(**given, decoder_input_ids=target).logits.numpy()
    graphs = OnnxEncoderDecoderModel.from_pretrained(tmp_path / "int8")
    found = graphs(**arrays(given | {"decoder_input_ids": target})).logits
    spread = np.abs(expected - expected.mean(-1, keepdims=True)).mean()
    assert 1e-6 < np.abs(found - expected).mean() < 0.05 * spread


@pytest.mark.extensive
def test_a_model_stays_as_it_was(tmp_path: Path) -> None:
    """In training, in half precision; and what was exported is float32."""
    model = JOINS["bert-bert"](tmp_path / "parts").to(torch.bfloat16).train()
    before = {name: x.clone() for name, x in model.state_dict().items()}
    export_onnx(model, tmp_path / "out")
    assert model.training
    assert model.decoder.layers[0].dropout.training
    assert all(torch.equal(x, before[name]) and x.dtype == before[name].dtype for name, x in model.state_dict().items())
    graphs = OnnxEncoderDecoderModel.from_pretrained(tmp_path / "out")
    expected = model.float().eval().generate(**source(), max_new_tokens=6)
    assert graphs.generate(**arrays(source()), max_new_tokens=6).tolist() == expected.tolist()


@torch.no_grad()
def test_a_folder_for_transformers_5_has_shared_weights_twice(tmp_path: Path) -> None:
    tiny.bert(tmp_path / "bert")
    model = EncoderDecoderModel.from_encoder_decoder_pretrained(tmp_path / "bert", tmp_path / "bert", share="all")
    model.save_pretrained(tmp_path / "shared")
    argv = ["export", str(tmp_path / "shared"), "--to", "transformers", "--output", str(tmp_path / "out")]
    assert main(argv) == 0
    theirs = transformers.EncoderDecoderModel.from_pretrained(tmp_path / "out").eval()
    given = source(len(tiny.TOKENS)) | {"decoder_input_ids": source(len(tiny.TOKENS))["input_ids"][:, :3]}
    torch.testing.assert_close(theirs(**given).logits, model(**given).logits, rtol=1e-5, atol=1e-5)


# Mistakes.


def test_nothing_is_left_where_an_export_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(one: Any, folder: Path, size: int) -> None:
        (folder / one.file).write_text("half")
        raise RuntimeError("the exporter says no")

    model = JOINS["bert-bert"](tmp_path / "parts")
    monkeypatch.setattr(export, "write", failing)
    with pytest.raises(RuntimeError, match="says no"):
        export_onnx(model, tmp_path / "made" / "out")
    assert list((tmp_path / "made").iterdir()) == []


def test_what_cannot_be_exported_is_refused(tmp_path: Path) -> None:
    model = JOINS["bert-bert"](tmp_path / "parts")
    with pytest.raises(InputError, match='"float32" or "int8"'):
        export_onnx(model, tmp_path / "out", dtype="int4")
    with pytest.raises(InputError, match="a Encoder came"):
        export_onnx(model.encoder, tmp_path / "out")
    sizes = {
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "image_size": 8,
        "patch_size": 4,
    }
    seeing = EncoderDecoderModel(encoder=Encoder(ViTConfig(hidden_size=24, **sizes)), decoder=model.decoder)
    with pytest.raises(ConfigError, match="reads pixel_values"):
        export_onnx(seeing, tmp_path / "out")
    custom = EncoderDecoderModel(encoder=torch.nn.Linear(3, 24), decoder=model.decoder, encoder_hidden_size=24)
    with pytest.raises(ConfigError, match="module of your own"):
        export_onnx(custom, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def refused(capfd: pytest.CaptureFixture[str], *argv: object) -> str:
    """The one sentence of a mistake."""
    assert main([str(one) for one in argv]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1, err
    return err


def test_mistakes_on_the_command_line(folders: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder, out = folders
    target = tmp_path / "new"
    assert "--to" in refused(capfd, "export", folder, "--output", target)
    assert "tflite" in refused(capfd, "export", folder, "--to", "tflite", "--output", target)
    assert "is of --to onnx" in refused(
        capfd, "export", folder, "--to", "transformers", "--dtype", "int8", "-o", target
    )
    assert "folder of the model" in refused(capfd, "export", folder, "--to", "onnx", "--output", folder)
    assert "exported already" in refused(capfd, "export", out, "--to", "onnx", "--output", target)
    assert "does not exist" in refused(capfd, "export", tmp_path / "none", "--to", "onnx", "--output", target)
    (tmp_path / "file").write_text("")
    assert "is a file" in refused(capfd, "export", folder, "--to", "onnx", "--output", tmp_path / "file")
    (tmp_path / "file").write_text(TEXTS[0])
    assert "run on the CPU" in refused(capfd, "generate", out, tmp_path / "file", "--device", "cuda")
    assert not target.exists()


def test_folders_that_hold_no_graphs(folders: Any, tmp_path: Path) -> None:
    folder, out = folders
    with pytest.raises(CheckpointError, match=r"encoder\.onnx.*conjoin export"):
        OnnxEncoderDecoderModel.from_pretrained(folder)
    for given, said in (({"device": "cuda"}, "run on the CPU"), ({"dtype": "bfloat16"}, "exported in")):
        with pytest.raises(InputError, match=said):
            pipeline(out, **given)
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in out.iterdir():
        if path.is_file():
            (broken / path.name).write_bytes(path.read_bytes())
    (broken / "decoder.onnx").write_bytes(b"no graph")
    with pytest.raises(CheckpointError, match=r"decoder\.onnx"):
        OnnxEncoderDecoderModel.from_pretrained(broken)


# The array operations.


# What graphs are not asked for, what is of compiled programs, and what is of the engine's kernels.
ABSENT = {
    "best_of_each",
    "most",
    "normalised",
    "transposed",
    "dots",
    "permutation",
    "speculated",
    "while_loop",
    "on_host",
}


def test_every_operation_of_decoding_is_there() -> None:
    root = Path(conjoin.__file__).parent
    files = [
        *(root / "decoding").rglob("*.py"),
        root / "chunks.py",
        root / "pipelines.py",
        *(root / "seq2seq").glob("*.py"),
    ]
    used = {name for path in files for name in re.findall(r"\b(?:ops|nn)\.([a-zA-Z_]+)", path.read_text())}
    assert len(used) > 80
    assert {name for name in used - ABSENT if not hasattr(numpy_ops, name)} == set()
    assert used >= ABSENT


def test_array_operations_are_torchs() -> None:
    draw = np.random.default_rng(0)
    scores = draw.standard_normal((3, 2, 450)).astype(np.float32)  # several chunks of a top_k, and a rest
    ids = draw.integers(0, 500, (3, 2, 7))
    flags = draw.random((3, 2, 7)) < 0.5
    index = draw.integers(0, 2, (3, 4))
    for call in (
        lambda ops, s, i, f, x: ops.log_softmax(s),
        lambda ops, s, i, f, x: ops.softmax(s),
        lambda ops, s, i, f, x: ops.top_k(s, 6)[0],
        lambda ops, s, i, f, x: ops.top_k(s, 6)[1],
        lambda ops, s, i, f, x: ops.top_k(ops.reshaped(s, (1, -1)), 3)[0],
        lambda ops, s, i, f, x: ops.top_k(ops.reshaped(s, (1, -1)), 1)[1],
        lambda ops, s, i, f, x: ops.sort(s)[1],
        lambda ops, s, i, f, x: ops.marked(i, f, 450),
        lambda ops, s, i, f, x: ops.pick(s, x),
        lambda ops, s, i, f, x: ops.cumsum(f),
        lambda ops, s, i, f, x: ops.total(f),
        lambda ops, s, i, f, x: ops.added_at(s, (3, 9, 3), ops.number(f)[..., :3]),
        lambda ops, s, i, f, x: ops.places_of(ops.top_k(s, 3)[0] > -9),
        lambda ops, s, i, f, x: ops.distinct(ops.reshaped(x, (-1,)))[1],
        lambda ops, s, i, f, x: ops.where(f, 0.0, 1.0),
        lambda ops, s, i, f, x: ops.where(f, 0, -1),
        lambda ops, s, i, f, x: ops.where(s < 0, float("-inf"), s),
        lambda ops, s, i, f, x: ops.lineage(i[:, 0], f[:, 0], 3, 11),
        lambda ops, s, i, f, x: ops.grown(i[:, 0], 2, 9, 1, 7),
        lambda ops, s, i, f, x: ops.is_in(i, (3, 9)),
        lambda ops, s, i, f, x: ops.one_of((3, 9), s),
        lambda ops, s, i, f, x: ops.shift_right(ops.where(f[:, 0], -100, i[:, 0]), 5, 0, -100),
        lambda ops, s, i, f, x: ops.first_seen(f[:, 0]),
        lambda ops, s, i, f, x: ops.cross_entropy(s, ops.where(i[:, :, 0] > 449, -100, i[:, :, 0]), -100, None),
    ):
        a = call(numpy_ops, scores, ids, flags, index)
        b = call(torch_ops, *map(torch.tensor, (scores, ids, flags, index))).numpy()
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)
        assert np.asarray(a).dtype.kind == b.dtype.kind
        assert a.dtype != np.float64


# The page.


def test_the_page_on_exporting(folders: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its Python runs from top to bottom; what its loop over the bare graphs makes is what `generate` makes."""
    page = Path(__file__).parent.parent / "docs" / "export.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my-model").symlink_to(folders[0])
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, str(page), "exec"), names)
    model = names["model"]
    found = model.generate(names["ids"], attention_mask=names["seen"], max_new_tokens=8, eos_token_id=None)
    assert names["tokens"] == found[0].tolist()
    commands = re.findall(r"^conjoin export (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert [line.split()[0] for line in commands] == ["my-model"] * 4


def test_a_table_last_used_on_another_device_keeps_nothing_of_a_trace() -> None:
    table = Constant(np.ones(3, np.float32))
    table.on(torch.device("meta"))

    class Sum(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + table.on(x.device)

    torch.export.export(Sum(), (torch.zeros(3),), strict=True)
    assert table.on(torch.device("cpu")).tolist() == [1, 1, 1]
