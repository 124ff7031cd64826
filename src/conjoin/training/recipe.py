"""Recipe: every setting of a training run, checked when it is made, and saved beside the model as recipe.toml."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, Self, get_args

from conjoin.config import read_json
from conjoin.errors import ConfigError, nearest
from conjoin.generation import GENERATION_FIELDS
from conjoin.parameters import PartName
from conjoin.training.checks import check_choice, check_flag, check_number, check_parts
from conjoin.training.tables import Group, GroupName, Join, Lora

__all__ = ["RESULT_FILE", "Precision", "Recipe", "Schedule", "Sharding"]

RESULT_FILE = "training.json"
DEFAULT_EPOCHS = 3
Schedule = Literal["linear", "cosine", "noam", "constant"]
Precision = Literal["auto", "float32", "bfloat16"]
Device = Literal["auto", "cpu"]
Start = Literal["plain", "copy"]
Sharding = Literal["none", "fsdp"]

# Of each number: its type, the least and the most that it can be, and whether None is a value.
NUMBERS: dict[str, tuple[type, float, float, bool]] = {
    "learning_rate": (float, 0.0, 10.0, False),
    "new_learning_rate": (float, 0.0, 10.0, False),
    "warmup_ratio": (float, 0.0, 1.0, False),
    "warmup_steps": (int, 0, 1e9, True),
    "reference_steps": (int, 1, 1e9, True),
    "train_first_ratio": (float, 0.0, 1.0, False),
    "train_first_steps": (int, 0, 1e9, True),
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
CHOICES = {"schedule": Schedule, "precision": Precision, "device": Device, "start": Start, "sharding": Sharding}
FLAGS = ("encode_in_chunks", "gradient_checkpointing", "compile")
PARTS = ("freeze", "train_first")
TABLES: dict[str, type] = {"encoder": Group, "decoder": Group, "new": Group, "lora": Lora, "join": Join}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings of a run. Raises ConfigError for a value that cannot be.

    A step is one update of the weights. It sees `batch_size` examples, times `gradient_accumulation_steps`, times the
    number of processes. Training ends at the first of `epochs`, `max_steps` and `minutes` that is reached; without any,
    after three epochs. With `minutes` the schedule follows the clock, evaluations on the way included.

    Parameters are in three groups: what the join made new, and the rest of encoder and decoder. `encoder`, `decoder` and
    `new` set for one of them what is otherwise set for all. Recipes that come with the package: `Recipe.load("bertsum")`.
    """

    learning_rate: float = 5e-4  # of pretrained weights
    new_learning_rate: float = 1e-3  # of what the join made new
    schedule: Schedule = (
        "linear"  # to 0 at the end; "cosine" too; "constant" stays; "noam" (schedule.py) falls by the root
    )
    warmup_ratio: float = 0.1  # of the run
    warmup_steps: int | None = None  # in place of warmup_ratio
    reference_steps: int | None = None  # of so many steps are those above: what they are of these, they are of the run
    weight_decay: float = 0.01  # not of biases, norms and gates
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adam_epsilon: float = 1e-8
    max_grad_norm: float | None = 1.0
    label_smoothing: float = 0.0
    dropout: float | None = None  # in place of every dropout of the model, while it trains
    batch_size: int = 16  # examples
    batch_tokens: int | None = None  # in place of batch_size: source and target tokens, padding included
    gradient_accumulation_steps: int = 1
    epochs: int | None = None
    max_steps: int | None = None
    minutes: float | None = None
    precision: Precision = "auto"  # of the arithmetic; weights and optimiser stay in float32
    device: Device = "auto"
    gradient_checkpointing: bool = False  # layers are computed again in the backward pass: less memory, a third slower
    compile: bool = False  # by torch.compile: minutes at first, then faster on a GPU
    sharding: Sharding = "none"  # of several processes: a copy of the model in each, or "fsdp": a part in each
    freeze: tuple[PartName, ...] = ()
    train_first: tuple[PartName, ...] = ()  # the only parts that are trained at first...
    train_first_ratio: float = 0.0  # ...for so much of the run (1: to its end)...
    train_first_steps: int | None = None  # ...or for so many steps
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
    encoder: Group = field(default_factory=Group)
    decoder: Group = field(default_factory=Group)
    new: Group = field(default_factory=Group)
    lora: Lora = field(default_factory=Lora)
    join: Join = field(default_factory=Join)
    generation: Mapping[str, Any] = field(default_factory=dict)  # what the model is to generate by, saved with it

    def __post_init__(self) -> None:
        for name, rule in NUMBERS.items():
            check_number(name, getattr(self, name), *rule)
        for name, kind in CHOICES.items():
            check_choice(name, getattr(self, name), get_args(kind))
        for name in FLAGS:
            check_flag(name, getattr(self, name))
        for name in PARTS:
            check_parts(name, getattr(self, name))
        if bool(self.train_first) != bool(self.train_first_ratio or self.train_first_steps):
            raise ConfigError(
                "train_first says which parts are trained alone at first, and train_first_ratio or train_first_steps for "
                "how long; both were expected, or neither."
            )
        for name in (*TABLES, "generation"):
            if not isinstance(getattr(self, name), TABLES.get(name, Mapping)):
                raise ConfigError(f"{name} is {getattr(self, name)!r}; a table of settings was expected.")
        expect_known(self.generation, GENERATION_FIELDS, "generation has")
        if self.epochs is None and self.max_steps is None and self.minutes is None:
            object.__setattr__(self, "epochs", DEFAULT_EPOCHS)

    def changed(self, **changes: Any) -> Self:
        """A copy with some settings changed, checked again."""
        return replace(self, **changes)

    def group(self, name: GroupName) -> Group:
        """One group's settings, with the recipe's own where it has none; warm-up stays as it was set."""
        found: Group = getattr(self, name)
        rate = self.new_learning_rate if name == "new" else self.learning_rate
        own: dict[str, Any] = {"learning_rate": rate, "weight_decay": self.weight_decay}
        if found.warmup_steps is None and found.warmup_ratio is None:
            own |= {"warmup_steps": self.warmup_steps, "warmup_ratio": self.warmup_ratio}
        return replace(found, **{key: value for key, value in own.items() if getattr(found, key) is None})

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        """From what a file holds, tables as dictionaries. Raises ConfigError for a setting that is not known."""
        expect_known(found, [f.name for f in fields(cls)], "a recipe has")
        given: dict[str, Any] = {
            name: tuple(v) if name in PARTS and isinstance(v, list) else v for name, v in found.items()
        }
        for name, kind in TABLES.items():
            if isinstance(given.get(name), Mapping):
                given[name] = table(name, kind, given[name])
        return cls(**given)

    @classmethod
    def load(cls, name: str | Path, changes: Mapping[str, Any] | None = None) -> Self:
        """A recipe of the package by its name, or one of a file that ends in .toml.

        `changes` are settings in place of the file's, those of tables as "encoder.learning_rate". Raises ConfigError for a
        recipe or a setting that is not known.
        """
        from conjoin.training.recipes import read

        return cls.from_dict(read(name, changes or {}))

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """The recipe that the model of a folder was trained with. Raises CheckpointError where there is none."""
        recipe: dict[str, Any] = read_json(Path(folder) / RESULT_FILE).get("recipe", {})
        return cls.from_dict(recipe)

    def to_dict(self) -> dict[str, Any]:
        """Every setting, as JSON can hold it."""
        found: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return found

    def to_json_string(self) -> str:
        """Every setting as JSON."""
        return json.dumps(self.to_dict(), indent=2, sort_keys=True) + "\n"


def expect_known(found: Mapping[str, Any], known: Any, what: str) -> None:
    """Raises ConfigError for a setting that is not known, with the nearest that is."""
    for name in found:
        if name not in known:
            raise ConfigError(f'{what} no setting "{name}"{nearest(name, known)}.')


def table(name: str, kind: type, found: Mapping[str, Any]) -> Any:
    """One table of a recipe. Raises ConfigError, with the table's name, for what cannot be."""
    expect_known(found, [f.name for f in fields(kind)], f'"{name}" of a recipe has')
    try:
        return kind(**found)
    except ConfigError as error:
        raise ConfigError(f"{name}.{error}") from None
