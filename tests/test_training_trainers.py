"""transformers' own trainers, as foreign clients, train a joined model of ours."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_training_runs import tiny_model, tiny_pairs

from conjoin import EncoderDecoderModel
from conjoin.training.batches import collate
from conjoin.training.tokenise import Limits, tokenise

transformers = pytest.importorskip("transformers")


def trainer_of(model: EncoderDecoderModel, folder: Path, name: str = "Trainer", **settings: Any) -> Any:
    """One of transformers' trainers, over 32 pairs."""
    examples = tokenise(model, tiny_pairs(32), Limits(32, 8))
    data = [{"sources": s, "labels": t} for s, t in zip(examples.sources, examples.labels, strict=True)]

    def batch(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        some = replace(examples, sources=[r["sources"] for r in rows], labels=[r["labels"] for r in rows])
        return collate(some, np.arange(len(rows)), 0)

    common: dict[str, Any] = {
        "output_dir": str(folder),
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "max_steps": 6,
        "learning_rate": 0.02,
        "use_cpu": True,
        "report_to": [],
        "remove_unused_columns": False,
        "save_strategy": "no",
        "logging_steps": 1,
        "disable_tqdm": True,
    }
    kind = getattr(transformers, f"{name.removesuffix('Trainer')}TrainingArguments")
    arguments = kind(**{**common, **settings})
    return getattr(transformers, name)(
        model=model, args=arguments, train_dataset=data, eval_dataset=data[:8], data_collator=batch
    )


@pytest.mark.filterwarnings("ignore")  # transformers' and accelerate's own
@pytest.mark.parametrize("share", ["embeddings", "all"])
def test_transformers_saves_shared_weights_and_goes_on_from_them(tmp_path: Path, share: str) -> None:
    """safetensors takes no tensor under two names, so that a shared one must have one."""
    torch.set_num_threads(1)
    whole = tiny_model(tmp_path, 0.0, share=share)
    trainer_of(whole, tmp_path / "out", save_strategy="steps", save_steps=3).train()
    again = tiny_model(tmp_path, 0.0, share=share)
    trainer_of(again, tmp_path / "out").train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-3"))
    torch.testing.assert_close(again.state_dict(), whole.state_dict())
    assert again.encoder.embed.token.weight is again.decoder.embed.token.weight


@pytest.mark.filterwarnings("ignore")  # transformers' and accelerate's own
@pytest.mark.parametrize("name", ["Trainer", "Seq2SeqTrainer"])
def test_transformers_trains_evaluates_and_saves(tmp_path: Path, name: str) -> None:
    torch.set_num_threads(1)
    model = tiny_model(tmp_path, 0.0)
    trainer = trainer_of(model, tmp_path / "out", name)
    before = trainer.evaluate()["eval_loss"]
    trainer.train()
    assert trainer.evaluate()["eval_loss"] < before - 0.1
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == 6
    assert losses[0] == pytest.approx(before, rel=0.1)  # a mean over tokens, accumulated or not
    assert trainer.predict(trainer.eval_dataset[:4]).metrics["test_loss"] < before
    trainer.save_model(str(tmp_path / "saved"))
    model.save_pretrained(tmp_path / "saved")
    torch.testing.assert_close(EncoderDecoderModel.from_pretrained(tmp_path / "saved").state_dict(), model.state_dict())


@pytest.mark.filterwarnings("ignore")  # transformers' and accelerate's own
def test_transformers_accumulates_batches_of_unlike_many_tokens_as_one(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    curves = []
    for name, size, batches in (("one", 8, 1), ("two", 4, 2)):
        settings = {"per_device_train_batch_size": size, "gradient_accumulation_steps": batches, "learning_rate": 1e-3}
        trainer = trainer_of(tiny_model(tmp_path, 0.0), tmp_path / name, **settings)
        trainer.train()
        curves.append([entry["loss"] for entry in trainer.state.log_history if "loss" in entry])
    assert curves[1] == pytest.approx(curves[0], abs=1e-4)
