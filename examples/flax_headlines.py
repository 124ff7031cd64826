"""Fine-tunes a joined model in JAX with optax, over all devices there are, with checkpoints by Orbax; then writes headlines.

python examples/flax_headlines.py --steps 300 --output my-model
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import orbax.checkpoint as ocp
from headlines import arguments, batches, report, show, start
from jax.sharding import Mesh

from conjoin import FlaxEncoderDecoderModel
from conjoin.flax.training import loss_function, place_batch, place_parameters, split, update

SAVE_EVERY = 100


def train(
    model: FlaxEncoderDecoderModel,
    given: Iterable[dict[str, Any]],
    *,
    learning_rate: float = 3e-4,
    dtype: str | None = None,
    fully_sharded: bool = False,
    checkpoints: Path | None = None,
) -> list[float]:
    """One update a batch; the losses. With a folder for `checkpoints` a run that was interrupted goes on from its last."""
    mesh = Mesh(np.array(jax.devices()), ("devices",))
    trained, rest = split(model)
    trained = place_parameters(trained, mesh, axis="devices" if fully_sharded else None)
    rest = place_parameters(rest, mesh)
    loss_of = loss_function(model, dtype=dtype)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(learning_rate, weight_decay=0.01))
    state = optimizer.init(trained)

    @jax.jit
    def step(trained: Any, rest: Any, state: Any, batch: Any) -> Any:
        loss, gradients = jax.value_and_grad(loss_of)(trained, rest, batch)
        changes, state = optimizer.update(gradients, state, trained)
        return optax.apply_updates(trained, changes), state, loss

    losses: list[float] = []
    manager = None if checkpoints is None else ocp.CheckpointManager(checkpoints.absolute())
    done = manager.latest_step() if manager is not None else None
    if manager is not None and done is not None:
        trained, state = manager.restore(done, args=ocp.args.StandardRestore((trained, state)))
    for number, batch in enumerate(given, 1):
        if done is not None and number <= done:
            continue
        trained, state, loss = step(trained, rest, state, place_batch(batch, mesh))
        losses.append(float(loss))
        report(number, losses[-1])
        if manager is not None and number % SAVE_EVERY == 0:
            manager.save(number, args=ocp.args.StandardSave((trained, state)))
    if manager is not None:
        manager.wait_until_finished()
        manager.close()
    update(model, trained)
    return losses


def main() -> None:
    args = arguments(__doc__ or "")
    model = start(FlaxEncoderDecoderModel, args.model)
    train(model, batches(model, args.steps, args.batch_size), checkpoints=Path(f"{args.output}-checkpoints"))
    model.save_pretrained(args.output)
    show(args.output, "jax")


if __name__ == "__main__":
    main()
