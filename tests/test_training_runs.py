"""Whole runs of training in processes of their own: killed at any moment, and two at once."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

import conjoin.cli
from conjoin import BertConfig, BertTokenizer, EncoderDecoderConfig, EncoderDecoderModel
from conjoin.errors import CheckpointError
from conjoin.tokens import TokenizerPair
from conjoin.training import Pairs, Recipe, Result, train
from conjoin.training.checkpoints import Checkpoints

WORDS = [f"w{i}" for i in range(60)]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def tiny_tokenizer(folder: Path, words: Sequence[str] = WORDS) -> BertTokenizer:
    """A word-level BERT tokenizer of 65 tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    file, text = folder / "vocab.txt", "\n".join([*SPECIAL, *words]) + "\n"
    if not file.exists() or file.read_text() != text:  # two processes that share a folder find it there
        file.write_text(text)
    return BertTokenizer.from_pretrained(folder)


def tiny_model(folder: Path, dropout: float = 0.1, width: int = 16, **settings: Any) -> EncoderDecoderModel:
    """A BERT to BERT of one layer, with 32 positions."""
    sizes: dict[str, Any] = {
        "vocab_size": 65,
        "hidden_size": width,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 32,
        "hidden_dropout_prob": dropout,
        "attention_probs_dropout_prob": dropout,
    }
    torch.manual_seed(0)
    tokens: dict[str, Any] = {"decoder_start_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
    config = EncoderDecoderConfig(encoder=BertConfig(**sizes), decoder=BertConfig(**sizes), **tokens, **settings)
    model = EncoderDecoderModel(config=config)
    model.tokenizers = TokenizerPair(tokenizer := tiny_tokenizer(folder), tokenizer)
    return model


def tiny_pairs(count: int, seed: int = 0) -> Pairs:
    """Texts of 2 to 20 words, and as targets their first three."""
    draw = random.Random(seed)
    sources = [" ".join(draw.choices(WORDS, k=draw.randint(2, 20))) for _ in range(count)]
    return Pairs(sources, [" ".join(source.split()[: draw.randint(1, 3)]) for source in sources])


def tiny_run(folder: Path, output: Path, resume: bool = True, share: str = "none", **settings: Any) -> Result:
    """A run on 50 pairs."""
    recipe = Recipe(**{"batch_size": 8, "precision": "float32", "device": "cpu", "learning_rate": 0.01, **settings})
    model, held_out = tiny_model(folder, share=share), tiny_pairs(10, 1)
    return train(model, tiny_pairs(50), held_out, recipe, output, resume=resume, quiet=True)


def loads_or_is_absent(output: Path) -> None:
    """The output folder is no model, or a whole one."""
    if (output / "config.json").exists():
        assert EncoderDecoderModel.from_pretrained(output).tokenizers is not None
        assert Recipe.from_pretrained(output).batch_size == 8


KILLS: dict[str, Any] = {"epochs": 10, "save_every": 1}


def main(folder: str, output: str, kills: str) -> None:
    """What the process below does: children of its own train, and are killed; says what each left.

    Children are forked from a process that has imported everything and has no thread, so that each begins at once.
    """
    torch.set_num_threads(1)
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)])  # imports for a second or more, once
    tiny_run(Path(folder), Path(output).with_name("warm"), max_steps=1)
    draw = random.Random(7)
    for _ in range(int(kills)):
        child = os.fork()
        if child == 0:
            tiny_run(Path(folder), Path(output), **KILLS)
            os._exit(0)
        time.sleep(draw.uniform(0.05, 0.35))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        loads_or_is_absent(Path(output))
        print(json.dumps(sorted(path.name for path in (Path(output) / "checkpoints").glob("*"))), flush=True)


@pytest.mark.slow
def test_killed_at_any_moment_and_resumed(tmp_path: Path) -> None:
    expected = tiny_run(tmp_path / "model", tmp_path / "undisturbed", **KILLS)
    output = tmp_path / "killed"
    command = [sys.executable, __file__, str(tmp_path / "model"), str(output), "8"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    seen = set(done.stdout.splitlines())
    result = tiny_run(tmp_path / "model", output, **KILLS)
    assert len(seen) > 1, seen  # the kills did come on the way, how often the machine decides
    assert result.losses == expected.losses
    ours, theirs = (EncoderDecoderModel.from_pretrained(where) for where in (output, tmp_path / "undisturbed"))
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=0, atol=0)


def test_two_runs_in_one_folder_are_refused(tmp_path: Path) -> None:
    refused = []

    def second(model: EncoderDecoderModel, pairs: Pairs) -> dict[str, float]:
        with pytest.raises(CheckpointError, match="another run is training in") as caught:
            tiny_run(tmp_path / "model", tmp_path / "out", resume=False, max_steps=1)
        refused.append(str(caught.value))
        return {}

    recipe = Recipe(batch_size=8, max_steps=2, precision="float32", device="cpu", evaluate_every=1)
    model, pairs = tiny_model(tmp_path / "model"), tiny_pairs(20)
    train(model, pairs, pairs, recipe, tmp_path / "out", evaluate_generation=second, quiet=True)
    assert len(refused) == 2
    assert len(tiny_run(tmp_path / "model", tmp_path / "out", resume=False, max_steps=1).losses) == 1


@pytest.mark.parametrize("room", [2_000, 20_000])
def test_file_that_cannot_grow_stops_the_run_with_the_checkpoint_before(tmp_path: Path, room: int) -> None:
    """A limit of the system's on the size of files stands for a full disk: real writes fail, of whichever library."""
    import resource

    settings: dict[str, Any] = {"save_every": 1, "evaluate_every": 100}
    expected = tiny_run(tmp_path / "model", tmp_path / "whole", max_steps=4, **settings)
    tiny_run(tmp_path / "model", tmp_path / "out", max_steps=2, **settings)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        with pytest.raises(CheckpointError, match=r"could not be written .*(File too large|is the disk full)"):
            tiny_run(tmp_path / "model", tmp_path / "out", max_steps=4, **settings)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    loads_or_is_absent(tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out" / "checkpoints").iterdir())[:2] == ["step-1", "step-2"]
    assert len(tiny_run(tmp_path / "model", tmp_path / "out", max_steps=4, **settings).losses) == len(expected.losses)


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def test_killed_between_any_two_changes_of_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every rename and removal of a run's end, over a model that is there, is once the last thing to happen."""
    settings: dict[str, Any] = {"max_steps": 2, "save_every": 1}
    tiny_run(tmp_path / "model", tmp_path / "whole", **settings)
    expected = EncoderDecoderModel.from_pretrained(tmp_path / "whole").state_dict()
    earlier = tiny_model(tmp_path / "model", width=8)
    earlier.tokenizers = TokenizerPair(
        tiny_tokenizer(tmp_path / "model"), tiny_tokenizer(tmp_path / "other", WORDS[::-1])
    )
    earlier.save_pretrained(tmp_path / "earlier")
    shutil.copy(tmp_path / "whole" / "training.json", tmp_path / "earlier")
    changes = {name: getattr(os, name) for name in ("replace", "rename", "unlink", "rmdir")}
    for allowed in range(1, 400):
        output, left = tmp_path / f"out-{allowed}", [allowed]
        shutil.copytree(tmp_path / "earlier", output)

        def counted(name: str, left: list[int]) -> Any:
            def change(*args: Any, **options: Any) -> Any:
                left[0] -= 1
                if left[0] < 0:
                    raise Killed
                return changes[name](*args, **options)

            return change

        with monkeypatch.context() as patch:
            for name in changes:
                patch.setattr(os, name, counted(name, left))
            try:
                tiny_run(tmp_path / "model", output, **settings)
                break
            except Killed:
                pass
        loads_or_is_absent(output)
        if allowed % 4 == 0:
            tiny_run(tmp_path / "model", output, **settings)
            again = EncoderDecoderModel.from_pretrained(output)
            torch.testing.assert_close(again.state_dict(), expected)
            assert again.tokenizers is not None
            assert again.tokenizers.same
        shutil.rmtree(output)
    assert 20 < allowed < 399


def test_terminated_by_signal_saves_and_goes_on(tmp_path: Path) -> None:
    model, pairs = tiny_model(tmp_path / "model"), tiny_pairs(50)
    recipe = Recipe(batch_size=8, epochs=2, precision="float32", device="cpu", evaluate_every=5)
    whole = train(tiny_model(tmp_path / "model"), pairs, pairs, recipe, tmp_path / "whole", quiet=True)
    calls = []

    def scores(model: EncoderDecoderModel, pairs: Pairs) -> dict[str, float]:
        calls.append(1)
        torch.rand(3)  # what an evaluation draws changes nothing
        if len(calls) == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return {}

    stopped = train(model, pairs, pairs, recipe, tmp_path / "out", evaluate_generation=scores, quiet=True)
    assert (stopped.path, stopped.signal, stopped.steps) == (None, signal.SIGTERM, 5)
    assert not (tmp_path / "out" / "config.json").exists()
    assert EncoderDecoderModel.from_pretrained(stopped.newest).tokenizers is not None
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    resumed = train(tiny_model(tmp_path / "model"), pairs, pairs, recipe, tmp_path / "out", quiet=True)
    assert resumed.losses == whole.losses
    assert [e["loss"] for e in resumed.evaluations] == [e["loss"] for e in whole.evaluations]


def test_checkpoints_are_averaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_run(tmp_path / "model", tmp_path / "out", max_steps=3, save_every=1, keep_checkpoints=3)
    folders = [str(tmp_path / "out" / "checkpoints" / f"step-{step}") for step in (1, 2, 3)]
    average = ["average", "--output", str(tmp_path / "average")]
    assert conjoin.cli.main([*average, *folders]) == 0
    states = [EncoderDecoderModel.from_pretrained(folder).state_dict() for folder in folders]
    found = EncoderDecoderModel.from_pretrained(tmp_path / "average")
    for name, tensor in found.state_dict().items():
        torch.testing.assert_close(tensor, torch.stack([state[name] for state in states]).mean(0), rtol=0, atol=1e-6)
    assert found.tokenizers is not None
    tiny_model(tmp_path / "model", width=8).save_pretrained(tmp_path / "other")
    for more, message in (
        ([], "1 checkpoint was named; at least two"),
        ([str(tmp_path / "other")], "another shape"),
        ([str(tmp_path / "average")], "one of the checkpoints"),
    ):
        assert conjoin.cli.main([*average, folders[0], *more]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("optimiser.pt", "no tensors", 'optimiser.pt" is broken'),
        ("state.json", "{}", 'state.json" is broken .it has no "recipe"'),
        ("state.json", "{", "is not valid JSON"),
        ("model.safetensors", "", "is not a whole safetensors file"),
    ],
)
def test_broken_checkpoint_is_refused(tmp_path: Path, file: str, content: str, said: str) -> None:
    result = tiny_run(tmp_path / "model", tmp_path / "out", max_steps=2, save_every=1, evaluate_every=9)
    (result.newest / file).write_text(content)
    with pytest.raises(CheckpointError, match=f'{said}.* Delete ".*step-2": the same command then goes on'):
        tiny_run(tmp_path / "model", tmp_path / "out", max_steps=2)
    shutil.rmtree(result.newest)
    assert tiny_run(tmp_path / "model", tmp_path / "out", max_steps=2).losses == result.losses


def test_a_checkpoint_of_wrong_bytes_is_refused_whatever_unpickling_makes_of_them(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints" / "step-1"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "optimiser.pt", "w") as file:
        file.writestr("optimiser/data.pkl", b"\x80\x02X\x01\x00\x00\x00\xd6.")  # a text that is not UTF-8
        file.writestr("optimiser/version", b"3")
    with pytest.raises(CheckpointError, match=r"optimiser.pt. is broken"):
        Checkpoints(tmp_path, 1).load(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
