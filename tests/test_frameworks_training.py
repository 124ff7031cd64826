"""Training in JAX and TensorFlow: PyTorch's loss curve on real data, several devices, half precision, checkpoints."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import peers
import pytest
from frameworks import ALL, compiled_frameworks
from test_frameworks import near

TESTS = Path(__file__).parent
EXAMPLES = TESTS.parent / "examples"
STEPS, BATCH = 6, 8


@pytest.fixture(scope="module")
def examples():
    """The examples as modules."""
    sys.path.insert(0, str(EXAMPLES))
    yield
    sys.path.remove(str(EXAMPLES))


@pytest.fixture(scope="module")
def curve(examples, tmp_path_factory):
    """MiniLM joined with itself in a folder, and the losses of the PyTorch example from there."""
    import headlines
    import torch_headlines

    headlines.LENGTHS.update(max_source_length=32, max_target_length=16)  # few shapes to compile
    folder = tmp_path_factory.mktemp("headlines") / "start"
    model = headlines.start(ALL["torch"].model_class)
    model.save_pretrained(folder)
    return folder, torch_headlines.train(model, headlines.batches(model, STEPS, BATCH))


def train_of(framework):
    """The `train` of a framework's example."""
    import flax_headlines
    import tensorflow_headlines

    return {"jax": flax_headlines, "tensorflow": tensorflow_headlines}[framework.name].train


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@compiled_frameworks
def test_the_example_learns_as_pytorch_does_saves_and_writes_headlines(curve, framework, tmp_path, capsys):
    import headlines

    folder, expected = curve
    model = headlines.start(framework.model_class, folder)
    losses = train_of(framework)(model, headlines.batches(model, STEPS, BATCH))
    # Keras adds Adam's epsilon before its bias correction, PyTorch and optax after it.
    assert np.abs(np.array(losses) - np.array(expected)).max() < (2e-3 if framework.name == "jax" else 1e-2)
    assert losses[-1] < losses[0] - 1
    model.save_pretrained(tmp_path / "trained")
    made = headlines.show(tmp_path / "trained", framework.name, 3)
    assert len(made) == 3
    assert made == headlines.show(tmp_path / "trained", "torch", 3)
    assert "headline:" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore")
def test_a_run_in_jax_goes_on_from_its_checkpoint(examples, peer, tmp_path, monkeypatch):
    import flax_headlines

    monkeypatch.setattr(flax_headlines, "SAVE_EVERY", 2)
    pair = peer("bert", "gpt2")
    batch = {name: x.numpy() for name, x in {**peers.source(pair), "labels": peers.labels(pair)}.items()}

    def losses(steps, **options):
        return flax_headlines.train(ALL["jax"].load(pair.folder), [batch] * steps, learning_rate=1e-2, **options)

    whole = losses(6)
    assert losses(3, checkpoints=tmp_path / "saved") == whole[:3]
    assert losses(6, checkpoints=tmp_path / "saved") == whole[2:]  # two steps were saved


def on_devices(kind, pair, tmp_path, flags):
    """What tests/mesh_of_devices.py prints."""
    batch = {k: v.numpy().astype(np.int32) for k, v in peers.source(pair).items()}
    batch["labels"] = peers.target(pair).numpy().astype(np.int32)
    np.savez(tmp_path / "batch.npz", **batch)
    script = [sys.executable, str(TESTS / "mesh_of_devices.py"), kind, str(pair.folder), str(tmp_path / "batch.npz")]
    ran = subprocess.run(script, capture_output=True, text=True, env={**os.environ, **flags}, timeout=400)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return json.loads(ran.stdout.splitlines()[-1])


def test_copies_and_cut_parameters_over_four_jax_devices_learn_as_one_does(peer, tmp_path):
    pair = peer("bert", "gpt2")
    found = on_devices(
        "jax", pair, tmp_path, {"XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=4"}
    )
    assert found["devices"] == 4
    for name in ("copies", "cut"):
        assert np.abs(np.array(found[name]) - np.array(found["one"])).max() < 1e-3
        assert found[f"{name}_tokens"] == found["one_tokens"]
    assert found["one"][-1] < found["one"][0]
    assert found["copies_cut"] == 0
    assert found["cut_cut"] > 0.6
    assert found["cut_state_cut"] > 1.2  # both moments of each


def test_a_mirrored_strategy_over_two_devices_learns_as_one_does(peer, tmp_path):
    found = on_devices("tensorflow", peer("bert", "gpt2"), tmp_path, {})
    assert found["devices"] == found["copies_replicas"] == 2
    assert np.abs(np.array(found["copies"]) - np.array(found["one"])).max() < 1e-3
    assert found["one"][-1] < found["one"][0]


@compiled_frameworks
@pytest.mark.parametrize("decoder", ["bart"])
def test_gradient_checkpointing_gives_equal_gradients(peer, framework, decoder):
    pair = peer("bert", decoder)
    batch = {**peers.source(pair), "labels": peers.labels(pair)}
    model = framework.load(pair.folder)
    loss, plain = framework.gradients(model, batch)
    model.gradient_checkpointing_enable()
    again, recomputed = framework.gradients(model, batch)
    assert abs(loss - again) < 1e-6
    assert all(near(plain[name], recomputed[name], 1e-5) for name in plain)


@compiled_frameworks
def test_frozen_parts_get_no_gradient_and_all_others_do(peer, framework):
    pair = peer("bert", "gpt2")
    batch = {**peers.source(pair), "labels": peers.labels(pair)}
    model = framework.load(pair.folder)
    model.freeze("encoder", "token_embeddings")
    torch_model = ALL["torch"].load(pair.folder)
    torch_model.freeze("encoder", "token_embeddings")
    expected, found = ALL["torch"].gradients(torch_model, batch)[1], framework.gradients(model, batch)[1]
    assert set(expected) <= set(found)
    assert not [name for name in found if name.startswith("encoder.") or name.endswith("embed.token.weight")]
    model.unfreeze("encoder")
    assert [name for name in framework.gradients(model, batch)[1] if name.startswith("encoder.layers")]
    assert model.num_parameters(only_trainable=True) < model.num_parameters()


def test_jax_computes_in_bfloat16_and_keeps_float32_gradients(peer):
    import jax

    from conjoin.flax.training import loss_function, split

    pair = peer("bert", "gpt2")
    model = ALL["jax"].load(pair.folder)
    batch = ALL["jax"].arrays({**peers.source(pair), "labels": peers.labels(pair)})
    trained, rest = split(model)
    exact = float(loss_function(model)(trained, rest, batch))
    loss, gradients = jax.value_and_grad(loss_function(model, dtype="bfloat16"))(trained, rest, batch)
    assert loss.dtype == "float32"
    assert 1e-5 < abs(float(loss) - exact) < 0.05
    assert {x.dtype.name for x in jax.tree.leaves(gradients)} == {"float32"}


@pytest.mark.filterwarnings("ignore")
def test_keras_trains_in_mixed_bfloat16_with_float32_variables(peer):
    import keras
    import tensorflow as tf

    from conjoin import InputError

    pair = peer("bert", "gpt2")
    batch = {**peers.source(pair), "labels": peers.labels(pair)}
    rows = {name: x.numpy().astype(np.int32) for name, x in batch.items()}
    losses = {}
    for policy in ("float32", "mixed_bfloat16"):
        keras.mixed_precision.set_global_policy(policy)
        try:
            model = ALL["tensorflow"].load(pair.folder)
        finally:
            keras.mixed_precision.set_global_policy("float32")
        assert {v.dtype for v in model.trainable_variables} == {"float32"}
        exact = model(**ALL["tensorflow"].arrays(batch)).loss
        assert exact.dtype == tf.float32
        losses[policy] = float(exact)
        model.compile(optimizer=keras.optimizers.AdamW(1e-2))
        history = model.fit(tf.data.Dataset.from_tensors(rows).repeat(8), epochs=1, verbose=0, shuffle=False)
        assert float(model(**ALL["tensorflow"].arrays(batch)).loss) < losses[policy] - 1
        assert np.isfinite(history.history["loss"]).all()
    assert 1e-5 < abs(losses["float32"] - losses["mixed_bfloat16"]) < 0.05
    model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy")
    with pytest.raises(InputError, match="leave loss out, or give labels apart"):
        model.fit(rows, verbose=0)


def test_dropout_in_jax_is_drawn_from_the_key(peer):
    import jax

    from conjoin.flax.training import loss_function, split

    pair = peer("bert", "gpt2")
    model = ALL["jax"].load(pair.folder)
    batch = ALL["jax"].arrays({**peers.source(pair), "labels": peers.labels(pair)})
    loss = loss_function(model)

    def one(key=None):
        return float(loss(*split(model), batch, key))

    assert one(jax.random.key(1)) == one(jax.random.key(1)) != one(jax.random.key(2))
    assert one() == one() != one(jax.random.key(1))


def test_nnx_and_its_optimizer_train_the_model_as_any_module(peer):
    import optax
    from flax import nnx

    pair = peer("bert", "gpt2")
    model = ALL["jax"].load(pair.folder)
    model.freeze("encoder")
    batch = ALL["jax"].arrays({**peers.source(pair), "labels": peers.labels(pair)})
    optimizer = nnx.Optimizer(model, optax.adamw(1e-2), wrt=nnx.Param)
    before = ALL["jax"].named(model)
    model.train()

    @nnx.jit
    def step(model, optimizer, batch):
        loss, gradients = nnx.value_and_grad(lambda m: m(**batch, return_logits=False).loss)(model)
        optimizer.update(model, gradients)
        return loss

    losses = [float(step(model, optimizer, batch)) for _ in range(12)]
    assert losses[-1] < losses[0] - 0.5
    after = ALL["jax"].named(model)
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed
    assert not [name for name in changed if name.startswith("encoder.")]
    model.eval()
    same = {float(model(**batch).loss) for _ in range(2)}
    assert len(same) == 1


def test_a_batch_without_labels_or_of_odd_rows_is_refused(peer):
    import jax
    from jax.sharding import Mesh

    from conjoin import InputError
    from conjoin.flax.training import loss_function, place_batch, place_parameters, split

    model = ALL["jax"].load(peer("bert", "gpt2").folder)
    with pytest.raises(InputError, match="a loss needs labels"):
        loss_function(model)(*split(model), {"input_ids": np.ones((1, 3), int)})
    mesh = Mesh(np.array(jax.devices() * 1), ("data",))
    assert place_batch({"input_ids": np.ones((3, 2), int)}, mesh)["input_ids"].shape == (3, 2)
    with pytest.raises(InputError, match='axis is "model"; the mesh has data'):
        place_parameters(split(model)[0], mesh, axis="model")
