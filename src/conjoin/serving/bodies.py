"""What requests hold: any generation parameter beside a text, each field typed, none that is not known."""

import dataclasses
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, create_model

from conjoin.constraints import Constraint
from conjoin.generation import GenerationConfig
from conjoin.pipelines import OUTPUTS

__all__ = ["NAMES", "Completion", "Generate", "Looking", "Parameters"]


class Strict(BaseModel):
    """A body whose fields are what they say, and no others."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Watermark(Strict):
    """The fields of a WatermarkingConfig."""

    greenlist_ratio: float | None = None
    bias: float | None = None
    hashing_key: Annotated[int, Field(ge=0, lt=1 << 31)] | None = None
    seeding_scheme: str | None = None
    context_width: Annotated[int, Field(ge=1, le=64)] | None = None


# What has no meaning here: how ids are returned, how steps run, and objects of Python.
LEFT_OUT = {*OUTPUTS, "constraints", "cache_implementation", "compile_config", "disable_compile"}
LISTS = 256  # entries of a setting that is a list: each costs time at every step
STOPS = 8  # stop strings
Whole = Annotated[int, Field(ge=-(1 << 31), lt=1 << 31)]
CHARACTERS = 64  # of each: the table that finds them grows by all their characters
Stop = Annotated[str, Field(max_length=CHARACTERS)]
Ids = Annotated[list[int], Field(max_length=LISTS)]
AS_LIST = Field(strict=False)  # JSON has no tuples: a list is taken for one
TYPES: dict[str, Any] = {
    "length_penalty": Annotated[float, Field(ge=-64, le=64)] | None,  # a length to this power is still a number
    "eos_token_id": int | Ids | None,
    "forced_eos_token_id": int | Ids | None,
    "sequence_bias": Annotated[list[Annotated[tuple[Ids, float], AS_LIST]], Field(max_length=LISTS)] | None,
    "watermarking_config": Watermark | None,
    "exponential_decay_length_penalty": Annotated[tuple[int, float], AS_LIST] | None,
    "stop_strings": Stop | Annotated[list[Stop], Field(max_length=STOPS)] | None,
    "bad_words_ids": Annotated[list[Ids], Field(max_length=LISTS)] | None,
    "force_words_ids": Annotated[list[Ids | Annotated[list[Ids], Field(max_length=LISTS)]], Field(max_length=STOPS)]
    | None,
    "suppress_tokens": Ids | None,
    "begin_suppress_tokens": Ids | None,
}


def bounded(hint: Any) -> Any:
    """A type whose whole numbers fit into 32 bits, as everything does that has a meaning here."""
    if hint is int:
        return Whole
    kinds = get_args(hint)
    if get_origin(hint) is Annotated:
        return Annotated[(bounded(kinds[0]), *kinds[1:])]
    if not kinds or get_origin(hint) is Literal:
        return hint
    within = tuple(bounded(kind) for kind in kinds)
    return Union[within] if get_origin(hint) in (Union, UnionType) else get_origin(hint)[within]  # noqa: UP007


def parameters() -> type[Strict]:
    """A body of every setting of `generate`, with the types that GenerationConfig gives them."""
    hints = get_type_hints(GenerationConfig, localns={"Constraint": Constraint})
    names = [f.name for f in dataclasses.fields(GenerationConfig) if f.name not in LEFT_OUT]
    fields: dict[str, Any] = {name: (bounded(TYPES.get(name, hints[name])), None) for name in names}
    return create_model("Parameters", __base__=Strict, **fields)


Parameters: Any = parameters()
NAMES = frozenset(Parameters.model_fields)
TokenId = Annotated[int, Field(strict=False, ge=0, lt=1 << 31)]  # a text of digits, where it is a key of JSON
Seed = Annotated[int, Field(ge=0, lt=1 << 63)]


class Generate(Parameters):  # type: ignore[misc]
    """One text or several, and settings for all of them: docs/generation.md says what each does."""

    text: str | None = Field(None, description="The source.")
    texts: list[str] | None = Field(None, description="Several sources.", min_length=1)
    model: str | None = Field(None, description="Which model, where the server has several.")
    truncation: bool = Field(False, description="Drop the end of a source that is too long, instead of refusing it.")
    seed: Seed | None = Field(None, description="Makes a sample the same again.")

    def settings(self) -> dict[str, Any]:
        """The settings that were given."""
        given: dict[str, Any] = self.model_dump(include={*NAMES, "seed"}, exclude_none=True)
        return given if given else {}


class Looking(Strict):
    """A source, and a text that was written of it."""

    source: str
    text: str
    model: str | None = None


class Completion(Parameters):  # type: ignore[misc]
    """OpenAI's request for completions, as far as it has a meaning here, and any generation parameter beside."""

    model: str
    prompt: str | Annotated[list[str], Field(min_length=1)]
    max_tokens: Whole | None = None
    n: Whole | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=STOPS)] | None = None
    stream: bool | None = False
    truncation: bool = False
    stream_options: dict[str, bool] | None = None
    seed: Seed | None = None
    user: str | None = None
    logit_bias: Annotated[dict[TokenId, float], Field(max_length=LISTS)] | None = None
    best_of: int | None = None
    echo: bool | None = None
    logprobs: int | None = None
    suffix: str | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None

    def settings(self) -> dict[str, Any]:
        """The settings of `generate` that mean the same."""
        given: dict[str, Any] = self.model_dump(include={*NAMES, "seed"}, exclude_none=True)
        for ours, theirs in (
            ("max_new_tokens", self.max_tokens),
            ("num_return_sequences", self.n),
            ("stop_strings", self.stop),
        ):
            if theirs is not None:
                given[ours] = theirs
        if given.get("temperature") == 0:
            given |= {"do_sample": False}
            del given["temperature"]
        elif "do_sample" not in given and {"temperature", "top_p"} & given.keys():
            given["do_sample"] = True
        if self.logit_bias:
            given["sequence_bias"] = [([token], bias) for token, bias in self.logit_bias.items()]
        return given

    @property
    def stops(self) -> list[str]:
        """The strings before which its texts end."""
        return [self.stop] if isinstance(self.stop, str) else self.stop or []

    def meaningless(self) -> str | None:
        """The field, if any, that asks for what there is not."""
        asked = {
            "echo": self.echo,
            "logprobs": self.logprobs is not None,
            "suffix": self.suffix,
            "presence_penalty": self.presence_penalty,
            "frequency_penalty": self.frequency_penalty,
            "best_of": self.best_of not in (None, self.n or 1),
        }
        return next((name for name, value in asked.items() if value), None)
