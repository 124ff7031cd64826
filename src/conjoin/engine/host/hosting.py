"""The host of a framework's model: made at the first call, kept until a parameter changes; who generates, and of what.

A framework gives a backend (`backends/jax/host.py`, `backends/tensorflow/host.py`) with random numbers of its own and:

    parameters(model)        what the model has now, in an order
    remembered(parameters)   what tells later whether they are still the same
    unchanged(known, parameters)
    here(parameters)         whether all lie whole on the CPU
    has_no_values(x)         whether an array of a call is a tracer's
    reader(model, parameters) a function of a name to an array
    as_host(name, x)         a call's array as NumPy's
    from_host(x)             a result as the framework's
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from conjoin.decoding.call import INPUTS
from conjoin.engine.machine import SWITCH, has_kernels, wants_kernels
from conjoin.generation import GenerationConfig
from conjoin.inputs import bucket
from conjoin.outputs import ModelOutput

__all__ = ["Hosted", "forget", "padded_noise"]


HELD = {"float32", "bfloat16", "float16"}  # types of parameters that panels have


@dataclass(frozen=True)
class Entry:
    """A host of parameters that are known again."""

    host: Any
    known: Any
    switch: str | None


# By model, beside it rather than in it: a host is no part of what is saved, copied or traced.
HOSTS: WeakKeyDictionary[Any, Entry] = WeakKeyDictionary()


class Hosted:
    """What a framework's joined model generates with: its host on the engine where that runs, and no transformation of the
    framework's does; else itself. `host` is the framework's backend."""

    host: Any

    def searcher(
        self, config: GenerationConfig, input_ids: Any, given: dict[str, Any]
    ) -> tuple[Any, Any, dict[str, Any]]:
        """As `GeneratingModel.searcher`."""
        return hosted(self, self.host, config, input_ids, given)

    def returned(self, found: Any) -> Any:
        """In the framework's arrays."""
        return returned(self.host, found)


def hosted(
    model: Any, backend: Any, config: GenerationConfig, input_ids: Any, given: Mapping[str, Any]
) -> tuple[Any, Any, dict[str, Any]]:
    """Who generates, and of what: the model's host, with NumPy's arrays, or where it cannot the model, with its own."""
    given = dict(given)
    guided = config.guidance_scale not in (None, 1.0)  # two sources side by side, which panels are not for
    arrays = {name: x for name, x in given.items() if name in INPUTS and name != "encoder_outputs"}
    outputs = given.get("encoder_outputs")
    states = None if outputs is None else outputs[0] if isinstance(outputs, tuple) else outputs["last_hidden_state"]
    if guided or any(backend.has_no_values(x) for x in (*arrays.values(), input_ids, states)):
        return model, input_ids, given
    host = host_of(model, backend)
    if host is None:
        return model, input_ids, given
    given |= {name: backend.as_host(name, x) for name, x in arrays.items() if x is not None}
    if states is not None:
        given["encoder_outputs"] = (backend.as_host("encoder_outputs", states),)
    return host, None if input_ids is None else backend.as_host("input_ids", input_ids), given


def host_of(model: Any, backend: Any) -> Any:
    """The model's host, with its settings of now; None where it generates by itself."""
    if not has_kernels():
        return None
    parameters, switch, entry = backend.parameters(model), os.environ.get(SWITCH), HOSTS.get(model)
    if any(map(backend.has_no_values, parameters)):
        return None
    if entry is None or entry.switch != switch or not backend.unchanged(entry.known, parameters):
        forget(model)  # before the next one is made, so that memory holds one
        host = made(model, backend, parameters)
        if host is None:
            return None
        entry = HOSTS[model] = Entry(host, backend.remembered(parameters), switch)
    return entry.host.follow(model)


def forget(model: Any) -> None:
    """Gives back what a model's host holds, until it generates again."""
    HOSTS.pop(model, None)


def made(model: Any, backend: Any, parameters: Sequence[Any]) -> Any:
    """A new host, or None."""
    size = sum(int(np.prod(x.shape)) for x in parameters)
    kinds = {x.dtype.name for x in parameters}
    if not wants_kernels(size) or not backend.here(parameters) or len(kinds) != 1 or not kinds <= HELD:
        return None
    from conjoin.engine.host.model import HostModel
    from conjoin.engine.kernels.layout import Mode
    from conjoin.engine.native import check_supported
    from conjoin.engine.recording import UnsupportedError

    try:
        for part in (model.encoder, model.decoder):
            check_supported(part.spec)
        return HostModel(model, backend, backend.reader(model, parameters), Mode[kinds.pop().upper()])
    except UnsupportedError:
        return None


def returned(backend: Any, found: Any) -> Any:
    """What a host gave, as the framework's."""
    if isinstance(found, np.ndarray):
        return backend.from_host(found)
    if isinstance(found, ModelOutput):
        return type(found)({name: returned(backend, x) for name, x in found.items()})
    return tuple(returned(backend, x) for x in found) if isinstance(found, tuple) else found


def padded_noise(drawing: Any, draw: Callable[[tuple[int, ...], int], Any], batch: int) -> Callable[..., Any]:
    """The very numbers that a framework's compiled program draws, in which rows are padded.

    `drawing` is that program's noise, `draw` a function of a shape and a length to the framework's numbers.
    """

    def drawn(row: Any, length: int, scores: Any) -> Any:
        rows = 1 if drawing.alike else bucket(batch, least=1)
        found = np.asarray(draw((rows, *scores.shape[1:]), length))
        return found if drawing.alike else found[row]

    return drawn
