"""Run by test_frameworks_training.py with several virtual CPU devices: losses of one device, of copies, and of cut parameters.

python tests/mesh_of_devices.py jax|tensorflow FOLDER BATCH.npz -> one JSON object
"""

import json
import sys
from typing import Any

import numpy as np

STEPS = 4


def jax_losses(folder: str, batch: dict[str, np.ndarray]) -> dict[str, Any]:
    import jax
    import optax

    from conjoin import FlaxEncoderDecoderModel
    from conjoin.flax.training import loss_function, place_batch, place_parameters, split, update

    found: dict[str, Any] = {"devices": len(jax.devices())}
    optimizer = optax.adamw(1e-2)
    for name, count, axis in (("one", 1, None), ("copies", 4, None), ("cut", 4, "data")):
        model = FlaxEncoderDecoderModel.from_pretrained(folder)
        mesh = jax.make_mesh((count,), ("data",), devices=jax.devices()[:count])
        parts = [place_parameters(part, mesh, axis=axis) for part in split(model)]
        state, loss_of = optimizer.init(parts[0]), loss_function(model)

        @jax.jit
        def step(trained, rest, state, given, loss_of=loss_of):
            loss, gradients = jax.value_and_grad(loss_of)(trained, rest, given)
            changes, state = optimizer.update(gradients, state, trained)
            return optax.apply_updates(trained, changes), state, loss

        losses = []
        for _ in range(STEPS):
            parts[0], state, loss = step(*parts, state, place_batch(batch, mesh))
            losses.append(float(loss))
        leaves = jax.tree.leaves(parts[0])
        found[name] = losses
        found[f"{name}_cut"] = sum(not x.sharding.is_fully_replicated for x in leaves) / len(leaves)
        found[f"{name}_state_cut"] = sum(
            not x.sharding.is_fully_replicated for x in jax.tree.leaves(state) if np.ndim(x)
        ) / len(leaves)
        update(model, parts[0])
        ids = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
        found[f"{name}_tokens"] = np.asarray(model.generate(**ids, max_new_tokens=6)).tolist()
    return found


def tensorflow_losses(folder: str, batch: dict[str, np.ndarray]) -> dict[str, Any]:
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    import keras

    from conjoin import EncoderDecoderConfig, TFEncoderDecoderModel

    config = EncoderDecoderConfig.from_pretrained(folder)
    for part, names in (
        (config.encoder, ("hidden_dropout_prob", "attention_probs_dropout_prob")),
        (config.decoder, ("resid_pdrop", "embd_pdrop", "attn_pdrop")),
    ):
        for name in names:  # each replica would draw its own
            setattr(part, name, 0.0)
    found: dict[str, Any] = {"devices": len(tf.config.list_logical_devices("CPU"))}
    for name, devices in (("one", ["CPU:0"]), ("copies", ["CPU:0", "CPU:1"])):
        strategy = tf.distribute.MirroredStrategy(devices)
        with strategy.scope():
            model = TFEncoderDecoderModel.from_pretrained(folder, config=config)
            model.compile(optimizer=keras.optimizers.AdamW(1e-2))
        rows = tf.data.Dataset.from_tensor_slices(batch).batch(len(batch["labels"])).repeat(STEPS)
        history = model.fit(rows, steps_per_epoch=1, epochs=STEPS, verbose=0, shuffle=False)
        found[name] = history.history["loss"]
        found[f"{name}_replicas"] = strategy.num_replicas_in_sync
    return found


if __name__ == "__main__":
    kind, folder, file = sys.argv[1:]
    with np.load(file) as arrays:
        batch = dict(arrays)
    print(json.dumps({"jax": jax_losses, "tensorflow": tensorflow_losses}[kind](folder, batch)))
