"""Random numbers for sampling in JAX, and the compiled programs that generation runs."""

from collections.abc import Callable
from dataclasses import fields
from functools import lru_cache
from typing import Any

import numpy as np
from flax import nnx

import jax
import jax.numpy as jnp
from conjoin.backends.jax.loss import is_traced
from conjoin.decoding.call import Call
from conjoin.decoding.compiled import run
from conjoin.decoding.loop import in_lanes, lanes_for
from conjoin.decoding.settings import LENGTHS, Settings
from conjoin.errors import InputError
from conjoin.seq2seq import DecoderCache

__all__ = [
    "CALLS_BACK",
    "FIXED_SHAPES",
    "all_true",
    "as_loop_array",
    "executed",
    "in_lanes",
    "lanes_for",
    "noise",
    "on_host",
    "programs",
    "run",
]

FIXED_SHAPES = True
CALLS_BACK = False  # whether steps call what a user gave
Array = Any  # a jax.Array

jax.tree_util.register_dataclass(DecoderCache, data_fields=[f.name for f in fields(DecoderCache)], meta_fields=[])


@jax.tree_util.register_pytree_node_class
class Noise:
    """A source of exponential noise for drawing tokens: (row (B,), length, scores) -> noise that broadcasts to scores.

    With a seed the noise of a step is the same for every source, and differs between hypotheses: what a source draws does
    not depend on its neighbours.
    """

    def __init__(self, key: Array, alike: bool) -> None:
        self.key, self.alike = key, alike

    def __call__(self, row: Array, length: Array, scores: Array) -> Array:
        shape = (1 if self.alike else scores.shape[0], *scores.shape[1:])
        return jax.random.exponential(jax.random.fold_in(self.key, length), shape)

    def tree_flatten(self) -> tuple[tuple[Array], bool]:
        """The key is an array, the rest a fact of the program."""
        return (self.key,), self.alike

    @classmethod
    def tree_unflatten(cls, alike: bool, children: tuple[Array]) -> "Noise":
        """The noise again."""
        return cls(*children, alike)


def noise(seed: Any, batch: int, count: int) -> Noise:
    """Noise of a seed, or where there is none of NumPy's global random state."""
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int | np.integer)):
        raise InputError(f"seed is {seed!r}; a whole number was expected.")
    return Noise(jax.random.key(np.random.randint(2**31 - 1) if seed is None else seed), seed is not None)


def executed(decoded: Callable[..., Any], model: Any, settings: Settings, call: Call, noise: Noise) -> dict[str, Any]:
    """Runs the program of a call, compiled once for its shapes and settings; within a traced call it becomes part of that."""
    (run_program,) = programs(model, settings, noise, decoded)
    found: dict[str, Any] = run_program(call.arrays())
    traced = is_traced(found["ids"])
    return found | {name: None if traced else int(found[name]) for name in ("longest", "steps")}


def programs(model: Any, settings: Settings, noise: Noise, *functions: Callable[..., Any]) -> list[Callable[..., Any]]:
    """Functions of (ops, model, settings, noise, arrays, *changing), compiled, as functions of (arrays, *changing).

    Each is compiled once for its shapes and settings, and has the parameters of now. What is `changing` is given away: its
    memory is that of the result.
    """
    graph, state = nnx.split(model)
    leaves, tree = jax.tree.flatten(state)  # so that a call of many steps goes through the model once
    lengths, fixed = settings.lengths(), settings.with_lengths(dict.fromkeys(LENGTHS, 0))

    def bound(run_program: Any) -> Callable[..., Any]:
        def run_bound(arrays: dict[str, Any], *changing: Any) -> Any:
            traced = any(is_traced(x) for x in arrays.values())
            return (run_program.__wrapped__ if traced else run_program)(leaves, lengths, noise, arrays, changing)

        return run_bound

    return [bound(program(function, graph, tree, fixed)) for function in functions]


@lru_cache(maxsize=1024)
def program(function: Callable[..., Any], graph: Any, tree: Any, fixed: Settings) -> Any:
    """A function of a model as one program of XLA, in which nothing is dropped out."""
    from conjoin.backends import jax as ops

    def run_program(leaves: list[Array], lengths: Any, noise: Noise, arrays: dict[str, Any], changing: Any) -> Any:
        model = nnx.merge(graph, jax.tree.unflatten(tree, leaves), copy=True)
        for _, module in nnx.iter_modules(model):
            if isinstance(module, nnx.Dropout):
                module.deterministic = True
        return function(ops, model, fixed.with_lengths(lengths), noise, arrays, *changing)

    return jax.jit(run_program, donate_argnames="changing")


def on_host(call: Call) -> Call:
    """The arrays of a call as NumPy's, to be padded without a compiler."""
    return Call(**{f.name: None if (x := getattr(call, f.name)) is None else np.asarray(x) for f in fields(call)})


def all_true(x: Array) -> Array:
    """Whether a vector is True everywhere."""
    return x.all()


def as_loop_array(value: Any) -> Any:
    """What a loop carries, each part an array of a fixed type."""
    return jnp.asarray(value, jnp.int32) if isinstance(value, int) else value
