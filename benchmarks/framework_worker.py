"""A worker of frameworks.py for conjoin's classes: python framework_worker.py flax|tf|torch."""

import argparse
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from worker import Engine, serve

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
VARIANT = ""  # ours are called in one way


def settings(new: int, beams: int) -> dict[str, Any]:
    """Arguments of `generate`."""
    return {"num_beams": beams, "max_new_tokens": new, "min_new_tokens": new, "do_sample": False}


class Torch:
    """EncoderDecoderModel."""

    def __init__(self, folder: str) -> None:
        from conjoin import EncoderDecoderModel

        self.model = EncoderDecoderModel.from_pretrained(folder)

    def generators(self) -> dict[str, Callable[[np.ndarray, int, int], np.ndarray]]:
        """As generation.py has it."""
        import torch

        def run(ids: np.ndarray, new: int, beams: int) -> np.ndarray:
            ids = torch.from_numpy(ids)
            return self.model.generate(ids, attention_mask=torch.ones_like(ids), **settings(new, beams)).numpy()

        return {VARIANT: run}

    def trainers(self) -> dict[str, Callable[[dict[str, np.ndarray]], float]]:
        """The loss alone, and the fused AdamW of conjoin train."""
        import torch

        self.model.train()
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, fused=True)

        def train(batch: dict[str, np.ndarray]) -> float:
            given = {name: torch.from_numpy(value) for name, value in batch.items()}
            loss = self.model(**given, return_logits=False).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            return float(loss)

        return {VARIANT: train}


class Flax:
    """FlaxEncoderDecoderModel."""

    def __init__(self, folder: str) -> None:
        from conjoin import FlaxEncoderDecoderModel

        self.model = FlaxEncoderDecoderModel.from_pretrained(folder)

    def generators(self) -> dict[str, Callable[[np.ndarray, int, int], np.ndarray]]:
        """As a user calls it."""
        import jax.numpy as jnp

        def run(ids: np.ndarray, new: int, beams: int) -> np.ndarray:
            ids = jnp.asarray(ids)
            out = self.model.generate(ids, attention_mask=jnp.ones_like(ids), **settings(new, beams))
            return np.asarray(out.sequences)

        return {VARIANT: run}

    def trainers(self) -> dict[str, Callable[[dict[str, np.ndarray]], float]]:
        """The loss alone, optax's AdamW, one nnx.jit around it all."""
        import jax
        import jax.numpy as jnp
        import optax
        from flax import nnx

        self.model.train()
        optimizer = nnx.Optimizer(self.model, optax.adamw(1e-4), wrt=nnx.Param)

        @partial(nnx.jit, donate_argnums=(0, 1))
        def step(model: Any, optimizer: Any, batch: dict[str, Any]) -> Any:
            loss, gradients = nnx.value_and_grad(lambda model: model(**batch, return_logits=False).loss)(model)
            optimizer.update(model, gradients)
            return loss

        def train(batch: dict[str, np.ndarray]) -> float:
            loss = step(self.model, optimizer, {name: jnp.asarray(value) for name, value in batch.items()})
            jax.block_until_ready(nnx.state(self.model))
            return float(loss)

        return {VARIANT: train}


class TF:
    """TFEncoderDecoderModel."""

    def __init__(self, folder: str) -> None:
        from conjoin import TFEncoderDecoderModel

        self.model = TFEncoderDecoderModel.from_pretrained(folder)

    def generators(self) -> dict[str, Callable[[np.ndarray, int, int], np.ndarray]]:
        """As a user calls it."""
        import tensorflow as tf

        def run(ids: np.ndarray, new: int, beams: int) -> np.ndarray:
            ids = tf.constant(ids, dtype="int32")
            return np.asarray(self.model.generate(ids, attention_mask=tf.ones_like(ids), **settings(new, beams)))

        return {VARIANT: run}

    def trainers(self) -> dict[str, Callable[[dict[str, np.ndarray]], float]]:
        """Keras's own step with its AdamW."""
        import keras
        import tensorflow as tf

        optimizer = keras.optimizers.AdamW(1e-4)
        optimizer.build(self.model.trainable_variables)
        self.model.compile(optimizer=optimizer)

        def train(batch: dict[str, np.ndarray]) -> float:
            given = {name: tf.constant(value, dtype="int32") for name, value in batch.items()}
            return float(np.mean(self.model.train_on_batch(given)))

        return {VARIANT: train}


KINDS: dict[str, Callable[[str], Engine]] = {"flax": Flax, "tf": TF, "torch": Torch}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("framework", choices=KINDS)
    serve(KINDS[parser.parse_args().framework])
