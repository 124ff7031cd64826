"""The errors that a user can cause, and the sentence each one says: what came, what was expected, what to do."""

import difflib
from collections.abc import Iterable, Sequence

__all__ = [
    "FLOATS",
    "CheckpointError",
    "ConfigError",
    "ConjoinError",
    "DataError",
    "InputError",
    "json_kind",
    "nearest",
    "no_dtype",
    "refuse_unknown",
]

FLOATS = ("float32", "bfloat16", "float16", "float64")  # types that a model may have in every framework


class ConjoinError(ValueError):
    """Anything that a user can mend. The command line prints its one sentence and exits with 2.

    ConjoinError
    ├── ConfigError       a config.json, a field or an argument that cannot be
    ├── CheckpointError   a folder or a file of weights that cannot be read or written
    ├── InputError        ids, masks, labels or generation settings that do not fit the model
    └── DataError         training or test data that cannot be used
    """

    ag_pass_through = True  # TensorFlow's AutoGraph then leaves it as it is, within a tf.function


class ConfigError(ConjoinError):
    """A config.json, a field of a config, or an argument has a value that cannot be."""


class CheckpointError(ConjoinError):
    """A folder or file of weights or of a tokenizer is missing, broken, unsafe, or does not fit its config."""


class InputError(ConjoinError):
    """What a model or a tokenizer was called with does not fit it."""


class DataError(ConjoinError):
    """Training or test data is missing, malformed or empty."""


def json_kind(value: object) -> str:
    """What a value is called where it came as JSON, or in a row of a table."""
    kinds = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "a text",
        list: "a list",
        dict: "an object",
    }
    return "null" if value is None else kinds.get(type(value), f"a {type(value).__name__}")


def nearest(name: str, known: Iterable[str]) -> str:
    """`; the nearest known is "x"`, or nothing where none is near."""
    found = difflib.get_close_matches(name, [k for k in known if k != name], n=1, cutoff=0.5)
    return f'; the nearest known is "{found[0]}"' if found else ""


def no_dtype(dtype: object, more: Sequence[str] = ()) -> InputError:
    """What is said to a dtype that no model has; `more` are those that a framework has beside the common ones."""
    *names, last = (f'"{name}"' for name in ("auto", *FLOATS, *more))
    return InputError(f"dtype is {dtype!r}; {', '.join(names)} or {last} was expected.")


# What transformers' scripts say, and what to say here.
INSTEAD = {
    "use_auth_token": "pass token=",
    "load_in_8bit": 'pass dtype="int8"',
    "load_in_4bit": 'pass dtype="int4_weight_only"',
    "quantization_config": 'pass dtype="int8" or "int4_weight_only"',
    "ignore_mismatched_sizes": "load as it is, then resize_token_embeddings",
    "output_loading_info": "what is new in a join is in model.new_parameters, and anything else that does not fit is refused",
    "subfolder": "pass the folder itself",
    "variant": "pass a folder with model.safetensors",
    "framework": 'pass backend="torch", "jax" or "tensorflow"',
    "model_kwargs": "pass dtype and the like themselves",
    "generate_kwargs": "pass the settings themselves",
    "torchscript": "`conjoin export --to onnx` writes graphs",
    "params": "the model holds its own parameters (flax.nnx.split gives them)",
    "train": "call model.train() or model.eval() before",
    "dropout_rng": "call model.train() before; the model holds its random state",
    "prng_key": "pass seed=",
    "gradient_checkpointing": "call model.gradient_checkpointing_enable()",
}


def refuse_unknown(what: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Raises TypeError, as Python does for a misspelt argument, with the nearest known name.

    `what` names the call, as in `EncoderDecoderModel.generate()`.
    """
    known = list(known)
    for name in names:
        if name not in known:
            bare = name.removeprefix("encoder_").removeprefix("decoder_")
            said = f"; {INSTEAD[bare]}" if bare in INSTEAD else nearest(name, known)
            raise TypeError(f'{what} has no argument "{name}"{said}.')
