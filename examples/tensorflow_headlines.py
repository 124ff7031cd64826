"""Fine-tunes a joined model in TensorFlow with `compile` and `fit` on a `tf.data` pipeline; then writes headlines.

python examples/tensorflow_headlines.py --steps 300 --output my-model
"""

from collections.abc import Iterable
from typing import Any

import tensorflow as tf
from headlines import arguments, batches, report, show, start

from conjoin import TFEncoderDecoderModel

import keras  # isort: skip  # after conjoin, which chooses Keras's backend


class Losses(keras.callbacks.Callback):
    """Keeps the loss of each step: Keras itself only has the mean so far."""

    def __init__(self) -> None:
        super().__init__()
        self.losses: list[float] = []

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        mean = float((logs or {})["loss"])
        self.losses.append(mean * (batch + 1) - sum(self.losses))
        report(batch + 1, self.losses[-1])


def train(model: TFEncoderDecoderModel, given: Iterable[dict[str, Any]], *, learning_rate: float = 3e-4) -> list[float]:
    """One update a batch; the losses."""
    rows, shape = list(given), tf.TensorSpec((None, None), tf.int32)
    pairs = tf.data.Dataset.from_generator(lambda: rows, output_signature=dict.fromkeys(rows[0], shape))
    pairs = pairs.apply(tf.data.experimental.assert_cardinality(len(rows)))
    model.compile(optimizer=keras.optimizers.AdamW(learning_rate, weight_decay=0.01, epsilon=1e-8, global_clipnorm=1.0))
    seen = Losses()
    model.fit(pairs.prefetch(tf.data.AUTOTUNE), shuffle=False, verbose=0, callbacks=[seen])
    return seen.losses


def main() -> None:
    args = arguments(__doc__ or "")
    model = start(TFEncoderDecoderModel, args.model)
    train(model, batches(model, args.steps, args.batch_size))
    model.save_pretrained(args.output)
    show(args.output, "tensorflow")


if __name__ == "__main__":
    main()
