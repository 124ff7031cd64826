"""A worker of frameworks.py for the Flax and TF classes of transformers 4.57.6, in an environment that has them.

    python peers4.py flax|tf

Needs torch too, to read the folder, optax (for flax) and tf-keras (for tf). Imports nothing of conjoin.
"""

import argparse
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from worker import PAD, START, Engine, serve

os.environ["TF_USE_LEGACY_KERAS"] = "1"
STATIC = ("num_beams", "max_new_tokens", "do_sample")


def settings(new: int, beams: int) -> dict[str, Any]:
    """Arguments of `generate`. The folder names no end token, so exactly `new` tokens are made."""
    return {"num_beams": beams, "max_new_tokens": new, "do_sample": False}


class Flax:
    """FlaxEncoderDecoderModel, with one defect made good.

    Its `encode` hands a BERT encoder the positions as token types, which makes NaN, and beam search on NaN stops at once;
    here the encoder is called by name.
    """

    def __init__(self, folder: str) -> None:
        from transformers import FlaxEncoderDecoderModel

        self.model = FlaxEncoderDecoderModel.from_pretrained(folder, from_pt=True)
        self.model.encode = self.encode

    def encode(self, input_ids: Any, attention_mask: Any, params: Any = None, return_dict: bool = True) -> Any:
        return self.model.module.apply(
            {"params": params or self.model.params},
            input_ids,
            attention_mask,
            method=lambda module, ids, mask: module.encoder(input_ids=ids, attention_mask=mask),
        )

    def generators(self) -> dict[str, Callable[[np.ndarray, int, int], np.ndarray]]:
        """Plain, as its documentation has it (traced and compiled anew at each call), and under jax.jit."""
        import jax
        import jax.numpy as jnp

        compiled = jax.jit(self.model.generate, static_argnames=STATIC)

        def run(generate: Callable[..., Any], ids: np.ndarray, new: int, beams: int) -> np.ndarray:
            ids = jnp.asarray(ids)
            out = generate(ids, attention_mask=jnp.ones_like(ids), params=self.model.params, **settings(new, beams))
            return np.asarray(out.sequences)

        return {"plain": partial(run, self.model.generate), "jax.jit": partial(run, compiled)}

    def trainers(self) -> dict[str, Callable[[dict[str, np.ndarray]], float]]:
        """The step of its documented scripts. The class knows no labels: they are shifted, and the loss is taken, here."""
        import jax
        import jax.numpy as jnp
        import optax

        optimizer = optax.adamw(1e-4)

        def loss_of(params: Any, key: Any, input_ids: Any, attention_mask: Any, labels: Any) -> Any:
            told, words = labels != -100, jnp.where(labels == -100, PAD, labels)
            given = jnp.concatenate([jnp.full_like(words[:, :1], START), words[:, :-1]], axis=1)
            logits = self.model(input_ids, attention_mask, given, params=params, dropout_rng=key, train=True).logits
            return (optax.softmax_cross_entropy_with_integer_labels(logits, words) * told).sum() / told.sum()

        @partial(jax.jit, donate_argnums=(0, 1))
        def step(params: Any, state: Any, key: Any, batch: dict[str, Any]) -> Any:
            key, later = jax.random.split(key)
            loss, gradients = jax.value_and_grad(loss_of)(params, key, **batch)
            updates, state = optimizer.update(gradients, state, params)
            return optax.apply_updates(params, updates), state, later, loss

        held = [self.model.params, optimizer.init(self.model.params), jax.random.PRNGKey(0)]

        def train(batch: dict[str, np.ndarray]) -> float:
            *held[:], loss = jax.block_until_ready(step(*held, batch))
            return float(loss)

        return {"jax.jit": train}


class TF:
    """TFEncoderDecoderModel. Compiled, it does the work but writes wrong tokens after the first.

    There the cache is padded to its full length at once, and a BERT decoder takes its position, and what it may look at, from
    that length. It is left so: its time is what its users have.
    """

    def __init__(self, folder: str) -> None:
        from transformers import TFEncoderDecoderModel

        self.model = TFEncoderDecoderModel.from_pretrained(folder, from_pt=True)

    def generators(self) -> dict[str, Callable[[np.ndarray, int, int], np.ndarray]]:
        """Eager, and compiled by XLA for each shape."""
        import tensorflow as tf

        def run(generate: Callable[..., Any], ids: np.ndarray, new: int, beams: int) -> np.ndarray:
            ids = tf.constant(ids, dtype="int32")
            return generate(ids, attention_mask=tf.ones_like(ids), **settings(new, beams)).numpy()

        compiled = tf.function(self.model.generate, jit_compile=True)
        return {"eager": partial(run, self.model.generate), "XLA": partial(run, compiled)}

    def trainers(self) -> dict[str, Callable[[dict[str, np.ndarray]], float]]:
        """A gradient tape in a tf.function, and the same compiled by XLA."""
        import tensorflow as tf
        import tf_keras

        weights = [v for v in self.model.trainable_variables if "/pooler/" not in v.name]  # the pooler has no gradient
        optimizer = tf_keras.optimizers.AdamW(1e-4)
        optimizer.build(weights)

        def step(batch: dict[str, Any]) -> Any:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(self.model(**batch, training=True).loss)
            optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
            return loss

        def run(step: Callable[..., Any], batch: dict[str, np.ndarray]) -> float:
            return float(step({name: tf.constant(value, dtype="int32") for name, value in batch.items()}))

        return {
            "tf.function": partial(run, tf.function(step)),
            "XLA": partial(run, tf.function(step, jit_compile=True)),
        }


KINDS: dict[str, Callable[[str], Engine]] = {"flax": Flax, "tf": TF}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("framework", choices=KINDS)
    serve(KINDS[parser.parse_args().framework])
