"""Recipes as files: what comes with the package, what is refused, groups, schedules, and what waits at first."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_training_runs import tiny_model, tiny_pairs

import conjoin.cli
from conjoin import EncoderDecoderModel
from conjoin.errors import ConfigError, ConjoinError, InputError
from conjoin.training import Pairs, Recipe, train
from conjoin.training.adapting import write_as_asked
from conjoin.training.optimiser import parameter_groups
from conjoin.training.recipes import names, parsed, written
from conjoin.training.schedule import Moment, factor, waits
from conjoin.training.tables import Group

QUICK: dict[str, Any] = {"batch_size": 8, "precision": "float32", "device": "cpu"}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def with_new(folder: Path, dropout: float = 0.0) -> EncoderDecoderModel:
    """A tiny model whose cross-attention a join made new."""
    model = tiny_model(folder, dropout)
    model.new_parameters = tuple(name for name, _ in model.named_parameters() if ".cross" in name)
    return model


def rates(recipe: Recipe, group: Any, steps: int, waited: bool = False) -> list[float]:
    """A group's learning rate in each step of a run."""
    moments = [Moment(n, n / steps, (n + 1) / steps) for n in range(steps)]
    return [float(recipe.group(group).learning_rate or 0) * factor(recipe, group, waited, m) for m in moments]


# Files.


def test_the_default_file_says_what_the_class_does() -> None:
    assert Recipe.load("default") == Recipe()


@pytest.mark.parametrize("name", names())
def test_what_is_saved_can_be_given_again(tmp_path: Path, name: str) -> None:
    recipe = Recipe.load(name, {"max_grad_norm": "none", "minutes": 2.5, "freeze": ["head"]})
    (tmp_path / "recipe.toml").write_text(written(recipe))
    assert Recipe.load(tmp_path / "recipe.toml") == recipe
    assert Recipe.from_dict(json.loads(recipe.to_json_string())) == recipe
    assert recipe.max_grad_norm is None


def test_a_file_and_changes_to_it(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        "learning_rate = 1e-4\n[encoder]\nlearning_rate = 2e-5\n[generation]\nnum_beams = 3\n"
    )
    changes = dict(parsed(one) for one in ("encoder.weight_decay=0.5", "schedule=cosine", 'freeze=["head"]'))
    recipe = Recipe.load(tmp_path / "mine.toml", {**changes, "generation.length_penalty": 0.7})
    assert (recipe.learning_rate, recipe.schedule, recipe.freeze) == (1e-4, "cosine", ("head",))
    assert recipe.encoder == Group(learning_rate=2e-5, weight_decay=0.5)
    assert recipe.generation == {"num_beams": 3, "length_penalty": 0.7}


def test_a_change_goes_before_what_the_file_says_of_groups_or_by_another_name(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("batch_tokens = 800\n[encoder]\nwarmup_steps = 5\nweight_decay = 0.5\n")
    assert Recipe.load(tmp_path / "mine.toml", {"batch_size": 4}).batch_tokens is None
    own = Recipe.load(tmp_path / "mine.toml", {"encoder.warmup_ratio": 0.2, "weight_decay": 0.1})
    assert own.group("encoder") == Group(learning_rate=5e-4, warmup_ratio=0.2, weight_decay=0.1)
    paper = Recipe.load("bertsum", {"learning_rate": 1e-4, "encoder.learning_rate": 1e-5, "warmup_ratio": 0.3})
    expected = {"encoder": 1e-5, "decoder": 1e-4, "new": 0.1}
    for name, rate in expected.items():
        group = paper.group(name)  # type: ignore[arg-type]
        assert (group.learning_rate, group.warmup_ratio, group.warmup_steps) == (rate, 0.3, None)
    words = ("encoder.learning_rate=None", "max_grad_norm=none", "compile=True")
    plain = Recipe.load("bertsum", dict(parsed(one) for one in words))
    assert (plain.group("encoder").learning_rate, plain.max_grad_norm, plain.compile) == (5e-4, None, True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lerning_rate = 1", 'recipe ".*r.toml": a recipe has no setting "lerning_rate"; the nearest known is "learning_rate"'),
        ("[encodr]\nfreeze = true", 'no setting "encodr"; the nearest known is "encoder"'),
        ("[encoder]\nfreez = true", '"encoder" of a recipe has no setting "freez"; the nearest known is "freeze"'),
        ("[encoder]\nlearning_rate = -1", "encoder.learning_rate is -1; a number from 0 to 10 or None was expected"),
        ("[decoder]\nfreeze = 1", "decoder.freeze is 1; True or False"),
        ("encoder = 3", "encoder is 3; a table of settings"),
        ('[join]\nshare = "al"', 'join.share is .al.; one of none, embeddings, all .*nearest known is "all"'),
        ("[generation]\nbeams = 2", 'generation has no setting "beams"; the nearest known is "num_beams"'),
        ('train_first = ["new"]', "for how long; both were expected"),
        ("train_first_ratio = 0.5", "both were expected"),
        ("learning_rate = ", "is not TOML: "),
        ('schedule = "noan"', 'the nearest known is "noam"'),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        Recipe.load(tmp_path / "r.toml")
    assert "\n" not in str(caught.value)


def test_a_recipe_or_a_change_that_is_not_known_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='no recipe "bert_sum"; the nearest known is "bertsum"; one of bertsum, '):
        Recipe.load("bert_sum")
    with pytest.raises(ConfigError, match=r"none.toml\" cannot be read"):
        Recipe.load(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match=r'no table "encodr" .of "encodr.freeze".; the nearest known is "encoder"'):
        Recipe.load("default", {"encodr.freeze": True})
    with pytest.raises(ConfigError, match='"freeze" sets nothing; key=value'):
        parsed("freeze")


# Groups and schedules.


def test_groups_have_rates_decays_and_freezing_of_their_own(tmp_path: Path) -> None:
    model = with_new(tmp_path)
    of = {id(p): name for name, p in model.named_parameters()}
    recipe = Recipe(
        learning_rate=1e-4,
        weight_decay=0.1,
        encoder=Group(learning_rate=1e-5, weight_decay=0.2),
        new=Group(learning_rate=1e-3),
    )
    for group in parameter_groups(model, recipe):
        for name in (of[id(p)] for p in group["params"]):
            expected = 1e-3 if ".cross" in name else 1e-5 if name.startswith("encoder.") else 1e-4
            plain = name.endswith("bias") or "norm" in name
            decay = 0.0 if plain else 0.2 if name.startswith("encoder.") else 0.1
            assert (group["base_rate"], group["weight_decay"]) == (expected, decay), name


def test_bertsum_has_two_noam_schedules() -> None:
    """At the paper's length the rates are the paper's; a short run has warm-ups of the same share."""
    recipe = Recipe.load("bertsum")
    long = {name: rates(recipe.changed(reference_steps=2000), name, 2000)[:300] for name in ("encoder", "decoder")}
    recipe = recipe.changed(reference_steps=200, encoder=Group(learning_rate=2e-3, warmup_steps=20))
    whole = rates(recipe, "encoder", 200)
    np.testing.assert_allclose(whole, [2e-3 * min(s**-0.5, s * 20**-1.5) for s in range(1, 201)])
    assert long["encoder"] != long["decoder"]
    short = rates(recipe, "encoder", 100)  # the warm-up is now 10 steps, from a higher peak
    assert int(np.argmax(short)) == 9
    assert max(short) == pytest.approx(2e-3 * 10**-0.5)
    decoder = rates(Recipe.load("bertsum"), "decoder", 400)
    assert int(np.argmax(decoder)) == 19  # 10,000 of 200,000 steps
    assert max(decoder) == pytest.approx(1e-3)  # and not 0.1 / sqrt(20): no higher than the paper's


def test_what_waits_warms_up_when_it_begins() -> None:
    recipe = Recipe(train_first=("new",), train_first_ratio=0.4, warmup_ratio=0.2, schedule="constant")
    moments = [Moment(n, n / 10, (n + 1) / 10) for n in range(10)]
    assert [waits(recipe, m) for m in moments] == [True] * 4 + [False] * 6
    assert rates(recipe, "new", 10)[:3] == [5e-4, 1e-3, 1e-3]
    assert [factor(recipe, "encoder", True, m) for m in moments[4:7]] == [0.5, 1.0, 1.0]
    steps = recipe.changed(train_first_ratio=0.0, train_first_steps=3)
    assert [waits(steps, m) for m in moments] == [True] * 3 + [False] * 7
    shrunk = steps.changed(reference_steps=6)  # 3 of 6 steps are 5 of 10
    assert [waits(shrunk, m) for m in moments] == [True] * 5 + [False] * 5


# Runs.


def changed(model: EncoderDecoderModel, before: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}


@pytest.mark.parametrize("name", ["cross_attention_first", "cross_attention_only"])
def test_cross_attention_is_trained_first_or_alone(tmp_path: Path, name: str) -> None:
    model = with_new(tmp_path)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    recipe = Recipe.load(name, {**QUICK, "max_steps": 5, "save_every": 1, "keep_checkpoints": 9, "start": "plain"})
    result = train(model, tiny_pairs(50), None, recipe, tmp_path / "out", quiet=True)
    new = set(model.new_parameters)
    early = EncoderDecoderModel.from_pretrained(tmp_path / "out/checkpoints/step-1")
    assert changed(early, before) == new
    late = changed(model, before)
    assert late == new if name.endswith("only") else {n.split(".")[0] for n in late - new} == {"encoder", "decoder"}
    assert all(p.requires_grad for p in model.parameters())
    again = Recipe.load(tmp_path / "out" / "recipe.toml")
    assert (
        again == Recipe.from_pretrained(tmp_path / "out") == recipe.changed(max_source_length=32, max_target_length=32)
    )
    # A run that is interrupted while some wait goes on as it would have.
    for stop in (1, 3):
        (tmp_path / "out/checkpoints/step-5/state.json").unlink(missing_ok=True)
        for step in range(stop + 1, 6):
            (tmp_path / f"out/checkpoints/step-{step}/state.json").unlink(missing_ok=True)
        resumed = train(with_new(tmp_path), tiny_pairs(50), None, recipe, tmp_path / "out", quiet=True)
        torch.testing.assert_close(resumed.losses, result.losses, rtol=0, atol=1e-6)


def test_a_frozen_group_stays_and_a_recipe_without_anything_to_train_is_refused(tmp_path: Path) -> None:
    model = with_new(tmp_path)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    recipe = Recipe(**QUICK, max_steps=1, encoder=Group(freeze=True), start="plain")
    train(model, tiny_pairs(20), None, recipe, tmp_path / "out", quiet=True)
    assert changed(model, before) == {name for name in before if not name.startswith("encoder.")}
    nothing = Recipe(**QUICK, max_steps=2, train_first=("projection",), train_first_ratio=0.5)
    with pytest.raises(ConfigError, match=r"train_first=.'projection'. leaves nothing to train"):
        train(with_new(tmp_path), tiny_pairs(20), None, nothing, tmp_path / "none", quiet=True)
    frozen = Recipe(encoder=Group(freeze=True), decoder=Group(freeze=True), new=Group(freeze=True))
    with pytest.raises(ConfigError, match=r"freeze=.'encoder', 'decoder', 'new'. leaves nothing to train"):
        parameter_groups(model.requires_grad_(False), frozen)


@pytest.mark.parametrize(
    "setting", [{"num_beams": 0}, {"eos_token_id": 1000}, {"min_new_tokens": 40}, {"max_length": 1}]
)
def test_generation_that_cannot_be_is_refused_before_any_work(tmp_path: Path, setting: dict[str, Any]) -> None:
    model = with_new(tmp_path)
    with pytest.raises(InputError, match=f"{next(iter(setting))}.*"):
        train(model, tiny_pairs(20), None, Recipe(**QUICK, generation=setting), tmp_path / "out", quiet=True)
    assert not (tmp_path / "out").exists()
    assert model.config.generation.num_beams is None
    write_as_asked(model, Recipe(generation={"penalty_alpha": 0.6, "top_k": 4}))  # reads one more than others do
    assert model.config.generation.top_k == 4


def test_one_word_is_enough_to_train_on(tmp_path: Path) -> None:
    """There is nothing that the new parts could be made ready to copy."""
    result = train(
        with_new(tmp_path), Pairs(["w1"], ["w1"]), None, Recipe(**QUICK, epochs=1), tmp_path / "out", quiet=True
    )
    assert math.isfinite(result.losses[0])


def test_the_papers_recipes_run_and_their_generation_is_saved(tmp_path: Path) -> None:
    losses = {}
    for name in ("rothe", "bertsum"):
        recipe = Recipe.load(name, {**QUICK, "epochs": 4, "evaluate_every": 1000})
        model = with_new(tmp_path)
        result = train(model, tiny_pairs(50), tiny_pairs(10, 1), recipe, tmp_path / name, quiet=True)
        saved = EncoderDecoderModel.from_pretrained(tmp_path / name).config.generation
        losses[name] = result.losses
        assert (saved.num_beams, saved.length_penalty) == ((4, 0.6) if name == "rothe" else (5, 0.9))
        assert saved.no_repeat_ngram_size == (None if name == "rothe" else 3)
        assert all(math.isfinite(loss) for loss in result.losses)
        assert result.losses[-1] < result.losses[0]
    assert losses["rothe"] != losses["bertsum"]


def test_the_command_takes_recipes_and_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tiny_model(tmp_path / "vocabulary")
    model.encoder.save_pretrained(tmp_path / "encoder")
    model.decoder.save_pretrained(tmp_path / "decoder")
    pairs = tiny_pairs(10)
    rows = [{"document": s, "summary": t} for s, t in zip(pairs.sources, pairs.targets, strict=True)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ["train", "--encoder", str(tmp_path / "encoder"), "--decoder", str(tmp_path / "decoder")]
    command += ["--train", str(tmp_path / "pairs.jsonl"), "--output", str(tmp_path / "out"), "--quiet"]
    command += ["--recipe", "bertsum", "--max-steps", "1", "--device", "cpu", "--label-smoothing", "0.2"]
    assert conjoin.cli.main([*command, "--set", "encoder.learning_rate=1e-3", "--set", "max_grad_norm=none"]) == 0
    found = Recipe.load(tmp_path / "out" / "recipe.toml")
    assert (found.label_smoothing, found.max_grad_norm, found.schedule) == (0.2, None, "noam")
    assert (found.encoder.learning_rate, found.encoder.warmup_steps) == (1e-3, 20_000)
    for more, message in (
        (["--set", "encoder.rate=1"], '"encoder" of a recipe has no setting "rate"'),
        (["--recipe", "bart"], 'there is no recipe "bart"'),
    ):
        assert conjoin.cli.main([*command, *more]) == 2
        assert message in capsys.readouterr().err


def test_lora_trains_adapters_saves_them_and_merges_them(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    model = with_new(tmp_path)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    recipe = Recipe.load(
        "lora", {**QUICK, "max_steps": 4, "save_every": 1, "learning_rate": 0.05, "keep_checkpoints": 9}
    )

    def score(model: EncoderDecoderModel, pairs: Any) -> dict[str, float]:
        assert changed(model, before) >= {"encoder.layers.0.attention.q.weight"}  # merged, and by its own name
        return {}

    def run(stop: int) -> Any:
        asked = recipe.changed(max_steps=4, schedule="constant", evaluate_every=stop)
        return train(
            with_new(tmp_path),
            tiny_pairs(50),
            tiny_pairs(9),
            asked,
            tmp_path / "out",
            evaluate_generation=score,
            quiet=True,
        )

    result = run(4)
    saved = EncoderDecoderModel.from_pretrained(tmp_path / "out")
    q = {f"{part}.layers.0.attention.{one}.weight" for part in ("encoder", "decoder") for one in "qkvo"}
    assert changed(saved, before) == q | set(model.new_parameters)
    # The adapters, beside the weights from before, are the saved model.
    with torch.no_grad():
        for name in model.new_parameters:
            model.get_parameter(name).copy_(saved.get_parameter(name))
    by_peft = peft.PeftModel.from_pretrained(model, str(tmp_path / "out" / "adapter")).merge_and_unload()
    torch.testing.assert_close(by_peft.state_dict(), saved.state_dict(), rtol=0, atol=1e-6)
    # A run that is interrupted goes on as it would have; beside other weights it does not.
    for step in (3, 4):
        (tmp_path / f"out/checkpoints/step-{step}/state.json").unlink()
    torch.testing.assert_close(run(4).losses, result.losses, rtol=0, atol=1e-6)
    again = EncoderDecoderModel.from_pretrained(tmp_path / "out")
    torch.testing.assert_close(again.state_dict(), saved.state_dict(), rtol=0, atol=1e-6)
    other = with_new(tmp_path)
    torch.nn.init.zeros_(other.encoder.layers[0].attention.q.weight)  # type: ignore[union-attr,arg-type]
    with pytest.raises(ConfigError, match="other pretrained weights beside its adapters"):
        train(other, tiny_pairs(50), tiny_pairs(9), recipe, tmp_path / "out", quiet=True)


def test_lora_of_one_set_of_weights_is_one_adapter(tmp_path: Path) -> None:
    """Two of them, merged into the one weight that is saved, would be another model than the one that was trained."""
    peft = pytest.importorskip("peft")
    recipe = Recipe.load("lora", {**QUICK, "max_steps": 4, "learning_rate": 0.1, "save_every": 2})
    for end in (2, 4):  # gone on with, too
        model = tiny_model(tmp_path, 0.0, share="all")
        model.new_parameters = ()
        asked = recipe.changed(max_steps=end, schedule="constant")
        train(model, tiny_pairs(50), None, asked, tmp_path / "out", quiet=True)
    fresh = tiny_model(tmp_path, 0.0, share="all").eval()
    batch = {"input_ids": torch.tensor([[2, 7, 8, 3]]), "labels": torch.tensor([[7, 3]])}
    before = fresh(**batch).loss
    beside = peft.PeftModel.from_pretrained(fresh, tmp_path / "out" / "adapter")
    torch.testing.assert_close(model(**batch).loss, beside(**batch).loss)
    assert not torch.allclose(model(**batch).loss, before, atol=1e-2)


def test_lora_of_layers_that_are_not_there_is_refused(tmp_path: Path) -> None:
    recipe = Recipe.load("lora", {**QUICK, "max_steps": 1, "lora.targets": ["query"]})
    with pytest.raises(ConfigError, match=r"lora.targets is \['query'\]; .* its layers are named .*, q, "):
        train(with_new(tmp_path), tiny_pairs(9), None, recipe, tmp_path / "out", quiet=True)


# What a step costs.


@pytest.mark.parametrize("setting", ["gradient_checkpointing", pytest.param("compile", marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # torch.compile's own, both
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_what_a_step_costs_changes_nothing_else(tmp_path: Path, setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = torch.compile  # without a compiler of C++: what torch makes of the model, run as it is
    monkeypatch.setattr(torch, "compile", lambda model, dynamic: compiled(model, dynamic=dynamic, backend="eager"))
    torch._dynamo.utils.counters.clear()
    results = []
    for on in (False, True):
        recipe = Recipe(**QUICK, max_steps=1 if setting == "compile" else 2, **{setting: on})
        model = with_new(tmp_path)
        result = train(model, tiny_pairs(20), tiny_pairs(3), recipe, tmp_path / str(on), quiet=True)
        assert not model.encoder.recompute
        results.append((result.losses, result.evaluations[-1]["loss"]))
    torch.testing.assert_close(*results, rtol=0, atol=1e-6)
    breaks = torch._dynamo.utils.counters["graph_break"]  # one alone, at the labels that count, whose number is data
    assert all("nonzero" in reason for reason in breaks), breaks


def test_what_cannot_be_compiled_is_said_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any, **options: Any) -> Any:
        raise torch._dynamo.exc.BackendCompilerFailed(print, RuntimeError("no compiler\nis here"), None)

    monkeypatch.setattr(torch, "compile", lambda model, dynamic: broken)
    recipe = Recipe(**QUICK, max_steps=1, compile=True)
    with pytest.raises(
        ConjoinError, match=r"cannot be compiled here \(.*no compiler.*\); train with compile=False"
    ) as caught:
        train(with_new(tmp_path), tiny_pairs(9), None, recipe, tmp_path / "out", quiet=True)
    assert "\n" not in str(caught.value)
