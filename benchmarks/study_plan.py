"""What the study compares, as data: how each system is joined, and what its recipe changes of the common one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["COMMON", "TABLES", "WAVES", "System", "systems"]

# What every system has unless it says otherwise: `conjoin demo`'s recipe without its clock, and sources a quarter shorter.
COMMON: dict[str, Any] = {
    "learning_rate": 3e-4,
    "new_learning_rate": 1e-3,
    "warmup_ratio": 0.08,
    "adam_beta2": 0.98,
    "batch_size": 16,
    "dropout": 0.0,
    "freeze": ["token_embeddings"],
    "max_source_length": 48,
    "max_target_length": 32,
    "generation_examples": 0,
    "keep_checkpoints": 1,
    "precision": "float32",
}
SIZES = ("batch_size", "max_source_length", "max_target_length", "generation_examples", "keep_checkpoints", "precision")
AS_THEY_COME: dict[str, Any] = {name: COMMON[name] for name in SIZES}
DEMO = {"cross_attention_init": "self_attention", "decoder_keep_layers": (0, 2, 4)}
TABLES = ("rothe", "longer", "births", "recipes", "ablation", "tenth", "language_model")
WAVES = {
    "rothe": 0,
    "births": 0,
    "longer": 1,
    "ablation": 1,
    "recipes": 1,
    "tenth": 3,
    "language_model": 3,
}  # of each table's first seed
RANDOM_RATE = 1e-3  # of sides whose weights are random: what new parameters have
WHOLE, TENTH = 1.0, 0.1
LONGER = 4.0  # times the budget
Side = Literal["encoder", "decoder", "embeddings"]


@dataclass(frozen=True)
class System:
    """One row: MiniLM (or `decoder`) joined by `join`, the weights of `random` thrown away, trained by a recipe.

    `averages` are further rows: the mean of so many of the last checkpoints, which lie `save_every` steps apart.
    """

    table: str
    name: str
    join: Mapping[str, Any] = field(default_factory=lambda: DEMO)
    random: tuple[Side, ...] = ()
    decoder: Literal["minilm", "smollm2"] = "minilm"
    recipe: str = "default"
    changes: Mapping[str, Any] = field(default_factory=dict)
    common: Mapping[str, Any] = field(default_factory=lambda: COMMON)
    pairs: float = WHOLE  # the share of the training pairs
    examples: float = 1.0  # of the budget
    seeds: int | None = None  # at most
    averages: tuple[int, ...] = ()


def paper(table: str, seeds: int | None, pairs: float = WHOLE, examples: float = 1.0) -> list[System]:
    """Rothe et al.'s five, six layers on both sides, embeddings shared and trained, cross-attention random."""
    join = {"cross_attention_init": "random", "share": "embeddings"}
    changes = {"start": "plain", "freeze": []}

    def system(name: str, random: tuple[Side, ...], **more: Any) -> System:
        rates = {f"{side}.learning_rate": RANDOM_RATE for side in random if side != "embeddings"}
        return System(
            table,
            name,
            {**join, **more},
            random,
            changes={**changes, **rates},
            pairs=pairs,
            examples=examples,
            seeds=seeds,
        )

    return [
        system("rnd2rnd", ("encoder", "decoder", "embeddings")),
        system("rnd2bert", ("encoder",)),
        system("bert2rnd", ("decoder",)),
        system("bert2bert", ()),
        system("bertShare", (), share="all"),
    ]


def births() -> list[System]:
    """The demo's model with each way in which cross-attention is born."""

    def system(name: str, init: str, start: str) -> System:
        return System("births", name, {**DEMO, "cross_attention_init": init}, changes={"start": start})

    return [
        system("random", "random", "plain"),
        system("self-attention", "self_attention", "plain"),
        system("zero gate", "zero_gate", "plain"),
        system("random, made ready to copy", "random", "copy"),
    ]


def recipes() -> list[System]:
    """The recipes of the package as they come, but for lengths and the number of examples in a batch."""
    found = []
    for name in ("default", "rothe", "bertsum", "cross_attention_first", "cross_attention_only", "lora"):
        birth = "random" if name in ("rothe", "bertsum") else "self_attention"  # as their files have it
        join = {**DEMO, "cross_attention_init": birth}
        found.append(System("recipes", name, join, recipe=name, common=AS_THEY_COME, seeds=2))
    return [*found, *of_default("recipes", {"dropout": 0.0}), *of_default("recipes", {"dropout": 0.0, "batch_size": 8})]


def of_default(table: str, changes: Mapping[str, Any], pairs: float = WHOLE) -> list[System]:
    """The default recipe as it comes with some things changed."""
    said = {"dropout": "no dropout", "batch_size": "batches of 8"}
    name = ", ".join(["default", *(said[one] for one in changes)])
    return [System(table, name, DEMO, changes=changes, common=AS_THEY_COME, pairs=pairs, seeds=2)]


def ablation() -> list[System]:
    """The demo's recipe with one thing changed."""

    def system(name: str, join: Mapping[str, Any] = DEMO, **changes: Any) -> System:
        return System("ablation", name, join, changes=changes, seeds=2)

    six = {"cross_attention_init": "self_attention"}
    constant = {"schedule": "constant", "keep_checkpoints": 5}
    return [
        system("token embeddings trained", freeze=[]),
        system("rates 5e-4 and 1e-3", learning_rate=5e-4),
        system("rates 1e-3 and 1e-3", learning_rate=1e-3),
        system("batches of 32", batch_size=32),
        system("six decoder layers", six),
        system("dropout 0.1", dropout=0.1),
        System("ablation", "rates constant after warm-up", changes=constant, seeds=2, averages=(3, 5)),
        system("six decoder layers, all shared", {**six, "share": "all"}),
        system("encoder frozen", freeze=["token_embeddings", "encoder"]),
        system("label smoothing 0.1", label_smoothing=0.1),
        system("batches of 8", batch_size=8),
        system("rates 6e-4 and 2e-3", learning_rate=6e-4, new_learning_rate=2e-3),
        system("token embeddings trained and shared", {**DEMO, "share": "embeddings"}, freeze=[]),
    ]


def language_model() -> System:
    """MiniLM before SmolLM2-135M: zero gates in five layers, only cross-attention and the projection trained."""
    join = {"cross_attention_init": "zero_gate", "cross_attention_layers": (13, 17, 21, 25, 29)}
    changes = {"start": "plain", "batch_size": 8, "train_first": ["new", "cross_attention", "projection"]}
    return System(
        "language_model",
        "MiniLM and SmolLM2-135M",
        join,
        decoder="smollm2",
        changes={**changes, "train_first_ratio": 1.0, "freeze": []},
        seeds=1,
        examples=0.5,
    )


def systems() -> list[System]:
    """All of them, in the order in which they are run."""
    demo = System("births", "self-attention, made ready to copy", changes={"keep_checkpoints": 5}, averages=(3, 5))
    tenth = System("tenth", demo.name, pairs=TENTH, seeds=2)
    dropout = [*of_default("tenth", {}, TENTH), *of_default("tenth", {"dropout": 0.0}, TENTH)]
    whole = paper("rothe", None)
    return [
        *whole,
        demo,
        *paper("longer", 2, examples=LONGER),
        System("longer", demo.name, examples=LONGER, seeds=2),
        *births(),
        *recipes(),
        *ablation(),
        *paper("tenth", 2, pairs=TENTH),
        tenth,
        *dropout,
        language_model(),
    ]
