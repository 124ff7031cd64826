"""Random numbers for sampling in TensorFlow, and the compiled programs that generation runs."""

import contextlib
import weakref
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np

import tensorflow as tf
from conjoin.backends.tensorflow.loss import is_traced
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
# Of each model, for the variables that it had: by function and settings.
PROGRAMS: "weakref.WeakKeyDictionary[Any, tuple[list[Any], dict[Any, Any]]]" = weakref.WeakKeyDictionary()


def flattened(cache: DecoderCache) -> tuple[tuple[()], tuple[Any, ...]]:
    """What tf.nest makes of a cache: it may go into a tf.function and come out of one."""
    return (), tuple(getattr(cache, f.name) for f in fields(cache))


def unflattened(cls: type[DecoderCache], metadata: tuple[()], parts: tuple[Any, ...]) -> DecoderCache:
    """The cache again."""
    return cls(*parts)


DecoderCache.__tf_flatten__ = flattened  # type: ignore[attr-defined]
DecoderCache.__tf_unflatten__ = classmethod(unflattened)  # type: ignore[attr-defined]


class Noise:
    """A source of exponential noise for drawing tokens: (row (B,), length, scores) -> noise that broadcasts to scores.

    With a seed the noise of a step is the same for every source, and differs between hypotheses: what a source draws does
    not depend on its neighbours.
    """

    def __init__(self, key: tf.Tensor, alike: bool) -> None:
        self.key, self.alike = key, alike

    def __call__(self, row: tf.Tensor, length: Any, scores: tf.Tensor) -> tf.Tensor:
        return drawn(self.key, length, (1 if self.alike else scores.shape[0], *scores.shape[1:]))


def drawn(key: tf.Tensor, length: Any, shape: tuple[int, ...]) -> tf.Tensor:
    """Exponential noise of a key for a length."""
    seed = tf.stack([key, tf.cast(length, tf.int64)])
    return -tf.math.log(tf.random.stateless_uniform(shape, seed, minval=np.finfo(np.float32).tiny))


def noise(seed: Any, batch: int, count: int) -> Noise:
    """Noise of a seed, or where there is none of TensorFlow's global random state."""
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int | np.integer)):
        raise InputError(f"seed is {seed!r}; a whole number was expected.")
    if seed is None:
        return Noise(tf.random.uniform((), maxval=2**63 - 1, dtype=tf.int64), False)
    return Noise(tf.constant(int(seed) % 2**63, tf.int64), True)


def executed(decoded: Callable[..., Any], model: Any, settings: Settings, call: Call, noise: Noise) -> dict[str, Any]:
    """Runs the program of a call, compiled once for its shapes and settings; within a traced call it becomes part of that."""
    (run_program,) = programs(model, settings, noise, decoded)
    found: dict[str, Any] = run_program(call.arrays())
    traced = is_traced(found["ids"])
    return found | {name: None if traced else int(found[name]) for name in ("longest", "steps")}


def programs(model: Any, settings: Settings, noise: Noise, *functions: Callable[..., Any]) -> list[Callable[..., Any]]:
    """Functions of (ops, model, settings, noise, arrays, *changing), compiled, as functions of (arrays, *changing).

    Each is compiled once for its shapes and settings. What is `changing` is copied: a tf.function cannot be given memory.
    """
    lengths = {name: tf.constant(length, tf.int32) for name, length in settings.lengths().items()}
    fixed = settings.with_lengths(dict.fromkeys(LENGTHS, 0))
    known = programs_of(model)

    def bound(run_program: Any) -> Callable[..., Any]:
        def run_bound(*arrays: Any) -> Any:
            with tf.init_scope() if tf.executing_eagerly() else contextlib.nullcontext():  # where no tape records
                return run_program(lengths, noise.key, *arrays)

        return run_bound

    for function in functions:
        if (function, fixed, noise.alike) not in known:
            known[function, fixed, noise.alike] = program(function, weakref.ref(model), fixed, noise.alike)
    return [bound(known[function, fixed, noise.alike]) for function in functions]


def programs_of(model: Any) -> dict[Any, Any]:
    """The programs of a model as it is: variables are part of them, so that new ones need new programs."""
    variables = model.variables
    then, known = PROGRAMS.get(model, ([], {}))
    if len(then) != len(variables) or any(a is not b for a, b in zip(then, variables, strict=True)):
        known = {}
        PROGRAMS[model] = variables, known
    return known


def program(function: Callable[..., Any], model: Any, fixed: Settings, alike: bool) -> Any:
    """A function of a model as one program of XLA; one trace for each shape."""
    from conjoin.backends import tensorflow as ops

    @tf.function(jit_compile=True, autograph=False)  # type: ignore[untyped-decorator]
    def run(lengths: dict[str, tf.Tensor], key: tf.Tensor, *arrays: Any) -> Any:
        return function(ops, model(), fixed.with_lengths(lengths), Noise(key, alike), *arrays)

    return run


def on_host(call: Call) -> Call:
    """The arrays of a call as they are: TensorFlow pads them without a compiler."""
    return call


def all_true(x: tf.Tensor) -> tf.Tensor:
    """Whether a vector is True everywhere."""
    return tf.reduce_all(x)


def as_loop_array(value: Any) -> Any:
    """What a loop carries, each part an array of a fixed type."""
    return tf.constant(value, tf.int32) if isinstance(value, int) else value
