"""Recipe: every setting of a training run, checked when it is made, and saved beside the model as training.json."""

import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, Self, get_args

from conjoin.config import read_json
from conjoin.errors import ConfigError, nearest
from conjoin.parameters import PartName

__all__ = ["RECIPE_FILE", "Precision", "Recipe", "Schedule"]

RECIPE_FILE = "training.json"
DEFAULT_EPOCHS = 3
Schedule = Literal["linear", "cosine", "constant"]
Precision = Literal["auto", "float32", "bfloat16"]
Device = Literal["auto", "cpu"]
Start = Literal["plain", "copy"]

# Of each number: its type, the least and the most that it can be, and whether None is a value.
NUMBERS: dict[str, tuple[type, float, float, bool]] = {
    "learning_rate": (float, 0.0, 10.0, False),
    "new_learning_rate": (float, 0.0, 10.0, False),
    "warmup_ratio": (float, 0.0, 1.0, False),
    "warmup_steps": (int, 0, 1e9, True),
    "weight_decay": (float, 0.0, 1.0, False),
    "adam_beta1": (float, 0.0, 0.999999, False),
    "adam_beta2": (float, 0.0, 0.999999, False),
    "adam_epsilon": (float, 1e-20, 1.0, False),
    "max_grad_norm": (float, 1e-9, 1e9, True),
    "label_smoothing": (float, 0.0, 0.999999, False),
    "dropout": (float, 0.0, 0.999999, True),
    "batch_size": (int, 1, 1e6, False),
    "batch_tokens": (int, 1, 1e9, True),
    "gradient_accumulation_steps": (int, 1, 1e6, False),
    "epochs": (int, 1, 1e6, True),
    "max_steps": (int, 1, 1e9, True),
    "minutes": (float, 1e-9, 1e6, True),
    "max_source_length": (int, 1, 1e9, True),
    "max_target_length": (int, 2, 1e9, True),
    "evaluate_every": (int, 1, 1e9, True),
    "save_every": (int, 1, 1e9, True),
    "generation_examples": (int, 0, 1e9, False),
    "keep_checkpoints": (int, 1, 1000, False),
    "seed": (int, 0, 2**32 - 1, False),
}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings of a run. Raises ConfigError for a value that cannot be.

    A step is one update of the weights. It sees `batch_size` examples, times `gradient_accumulation_steps`, times the
    number of processes. Training ends at the first of `epochs`, `max_steps` and `minutes` that is reached; without any,
    after three epochs. With `minutes` the schedule follows the clock, evaluations on the way included.
    """

    learning_rate: float = 5e-4  # of pretrained weights
    new_learning_rate: float = 1e-3  # of what the join made new
    schedule: Schedule = "linear"  # to 0 at the end; "cosine" too; "constant" stays
    warmup_ratio: float = 0.1  # of the run
    warmup_steps: int | None = None  # in place of warmup_ratio
    weight_decay: float = 0.01  # not of biases, norms and gates
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adam_epsilon: float = 1e-8
    max_grad_norm: float | None = 1.0
    label_smoothing: float = 0.0
    dropout: float | None = None  # in place of every dropout of the model, while it trains
    batch_size: int = 32  # examples
    batch_tokens: int | None = None  # in place of batch_size: source and target tokens, padding included
    gradient_accumulation_steps: int = 1
    epochs: int | None = None
    max_steps: int | None = None
    minutes: float | None = None
    precision: Precision = "auto"  # of the arithmetic; weights and optimiser stay in float32
    device: Device = "auto"
    freeze: tuple[PartName, ...] = ()
    encode_in_chunks: bool = False  # read sources too long for the encoder in windows, then and ever after
    max_source_length: int | None = (
        None  # tokens; the encoder's positions, or all that there are where it reads in windows
    )
    max_target_length: int | None = None  # tokens; the decoder's positions
    evaluate_every: int | None = None  # steps; at the end of each epoch
    save_every: int | None = None  # steps; at each evaluation
    generation_examples: int = 200  # how many validation pairs are generated for at an evaluation
    keep_checkpoints: int = 2  # the newest, and the best beside them
    start: Start = "copy"  # what the join made new is first made ready to copy (start.py), where it can; or "plain"
    seed: int = 42

    def __post_init__(self) -> None:
        for name, rule in NUMBERS.items():
            check_number(name, getattr(self, name), *rule)
        for name, kind in (
            ("schedule", Schedule),
            ("precision", Precision),
            ("device", Device),
            ("start", Start),
        ):
            check_choice(name, getattr(self, name), get_args(kind))
        if not isinstance(self.encode_in_chunks, bool):
            raise ConfigError(f"encode_in_chunks is {self.encode_in_chunks!r}; True or False was expected.")
        if not isinstance(self.freeze, tuple):
            raise ConfigError(f'freeze is {self.freeze!r}; a tuple of parts was expected, such as ("embeddings",).')
        for part in self.freeze:
            check_choice("freeze", part, get_args(PartName))
        if self.epochs is None and self.max_steps is None and self.minutes is None:
            object.__setattr__(self, "epochs", DEFAULT_EPOCHS)

    def changed(self, **changes: Any) -> Self:
        """A copy with some settings changed, checked again."""
        return replace(self, **changes)

    @classmethod
    def from_dict(cls, found: dict[str, Any]) -> Self:
        """From what training.json holds. Raises ConfigError for a setting that is not known."""
        known = [f.name for f in fields(cls)]
        for name in found:
            if name not in known:
                raise ConfigError(f'a recipe has no setting "{name}"{nearest(name, known)}.')
        if isinstance(found.get("freeze"), list):
            found = {**found, "freeze": tuple(found["freeze"])}
        return cls(**found)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """The recipe that the model of a folder was trained with. Raises CheckpointError where there is none."""
        recipe: dict[str, Any] = read_json(Path(folder) / RECIPE_FILE).get("recipe", {})
        return cls.from_dict(recipe)

    def to_dict(self) -> dict[str, Any]:
        """Every setting, as JSON can hold it."""
        return {**asdict(self), "freeze": list(self.freeze)}

    def to_json_string(self) -> str:
        """Every setting as JSON."""
        return json.dumps(self.to_dict(), indent=2, sort_keys=True) + "\n"


def check_number(name: str, value: Any, kind: type, low: float, high: float, optional: bool) -> None:
    """Raises ConfigError unless the value is a number of the kind, in the range, or None where that may be."""
    if value is None and optional:
        return
    kinds = (int, float) if kind is float else (int,)
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
        what = "a whole number" if kind is int else "a number"
        raise ConfigError(
            f"{name} is {value!r}; {what} from {low:g} to {high:g}{' or None' if optional else ''} was expected."
        )


def check_choice(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    """Raises ConfigError unless the value is one of the choices."""
    if value not in choices:
        near = nearest(value, choices) if isinstance(value, str) else ""
        raise ConfigError(f"{name} is {value!r}; one of {', '.join(choices)} was expected{near}.")
