"""`pipeline`: texts in, texts out, with a folder's model and tokenizers; and transformers' pipelines by task."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

from conjoin.batching import BatchLimit
from conjoin.decoding.callbacks import CALLBACKS
from conjoin.decoding.modes import checked
from conjoin.decoding.stream import streams
from conjoin.errors import InputError, nearest, refuse_unknown
from conjoin.families.custom import is_custom
from conjoin.frameworks import Backend, model_class
from conjoin.generating import GeneratingModel
from conjoin.generation import GENERATION_FIELDS, GenerationConfig
from conjoin.inputs import bucket
from conjoin.joining import check_vocabulary
from conjoin.loading import public_name
from conjoin.onnx.layout import is_exported
from conjoin.outputs import GenerateOutput
from conjoin.pieces import several_pieces
from conjoin.senses import refuse_senses
from conjoin.tokens.pair import TokenizerLike, TokenizerPair, as_tokenizer

__all__ = ["SourceTooLongError", "TaskPipeline", "Writer", "pipeline"]

# What the results of transformers' tasks are called.
TASKS = {"summarization": "summary_text", "text2text-generation": "generated_text", "translation": "translation_text"}
TRANSLATION = re.compile(r"^translation_\w+_to_\w+$")
# What transformers' pipelines do where neither the caller nor the model says otherwise.
NEW_TOKENS, TASK_BEAMS = 256, 4
LENGTHS = ("max_length", "max_new_tokens")
HUB_OPTIONS = ("revision", "token", "local_files_only", "cache_dir")
# A pipeline gives texts, so what says how ids and scores are returned has no meaning.
OUTPUTS = {
    "return_dict_in_generate",
    *(f"output_{name}" for name in ("scores", "logits", "attentions", "hidden_states")),
}
SETTINGS = (*sorted(GENERATION_FIELDS - OUTPUTS), *CALLBACKS, "seed", "vocabulary", "generation_config")
CALL_OPTIONS = ("batch_size", "max_batch_tokens", "truncation")

TokenizerChoice = TokenizerLike | TokenizerPair | tuple[TokenizerLike, TokenizerLike] | str | Path


class SourceTooLongError(InputError):
    """A source has more tokens than the encoder has positions."""

    def __init__(self, index: int, tokens: int, limit: int, *, alone: bool) -> None:
        which = "the source" if alone else f"the source at index {index}"
        super().__init__(
            f"{which} has {tokens} tokens and the encoder has positions for {limit}; shorten it, pass truncation=True "
            f"to drop its end, or encode_in_chunks=True to read all of it in windows."
        )
        self.index, self.tokens, self.limit = index, tokens, limit


class Writer:
    """A model with its tokenizers: `write(text)` -> text, `write([texts])` -> [texts] in the same order.

    `defaults` are settings that give way to the model's own; `settings` win over them, and those of a call over both.
    """

    def __init__(
        self,
        model: GeneratingModel,
        tokenizers: TokenizerPair,
        *,
        batch_size: int | None = None,
        max_batch_tokens: int | None = None,
        truncation: bool = False,
        settings: Mapping[str, Any] | None = None,
        defaults: Mapping[str, Any] | None = None,
    ) -> None:
        self.model = model
        self.tokenizers = tokenizers
        self.batch_limit = BatchLimit().or_asked(batch_size, max_batch_tokens)
        self.truncation = truncation
        self.settings = dict(settings or {})
        self.defaults = dict(defaults or {})

    def limit(self, asked: Mapping[str, Any]) -> int | None:
        """How many tokens a source may have under the settings of a call; None where it is read in windows."""
        own = self.model.config.generation.encode_in_chunks
        in_chunks = own if asked.get("encode_in_chunks") is None else asked["encode_in_chunks"]
        return None if in_chunks else int(self.model.encoder.spec.max_length)

    @overload
    def __call__(self, texts: str, **settings: Any) -> str: ...
    @overload
    def __call__(self, texts: Sequence[str], **settings: Any) -> list[str]: ...
    def __call__(self, texts: str | Sequence[str], **settings: Any) -> str | list[str]:
        """What the model writes of a text, or of each of a list of texts.

        `settings` are fields of GenerationConfig, a `generation_config`, `seed`, `batch_size` (texts at once; by default as
        many as have `max_batch_tokens` tokens, padding included) and `truncation` (whether the end of a source that the
        encoder has no positions for is dropped; with `encode_in_chunks` it has them all, and reads a long source in
        windows). Without a length, at most 256 new tokens are made.

        Raises InputError for what is no text, empty or too long, TypeError for an unknown setting.
        """
        if (spelled(settings).get("num_return_sequences") or 1) > 1:
            raise InputError("one text for each source is written; ask write.candidates(...) for num_return_sequences.")
        several = self.candidates([texts] if isinstance(texts, str) else texts, **settings)
        first = [written[0] for written in several]
        return first[0] if isinstance(texts, str) else first

    def candidates(self, texts: Sequence[str], **settings: Any) -> list[list[str]]:
        """For each text, the `num_return_sequences` texts that the model writes, the best first."""
        found: dict[int, list[str]] = {}
        for index, written in self.batches(texts, **settings):
            found |= dict(zip(index, written, strict=True))
        return [found[i] for i in range(len(texts))]

    def batches(self, texts: Sequence[str], **settings: Any) -> Iterator[tuple[list[int], list[list[str]]]]:
        """As `candidates`, batch by batch as they are written, longest sources first: indices, and texts for each."""
        refuse_unknown("pipeline()", settings, [*SETTINGS, *CALL_OPTIONS])
        limit = self.batch_limit.or_asked(settings.pop("batch_size", None), settings.pop("max_batch_tokens", None))
        truncation = bool(settings.pop("truncation", self.truncation))
        asked = self.resolved(settings)
        rows = self.encoded(texts, truncation, self.limit(asked))
        lengths = [bucket(len(row)) if self.model.ops.FIXED_SHAPES else len(row) for row in rows]
        lanes = self.model.ops.lanes_for(self.model, asked)
        batches = limit.batches(lengths, lanes)

        def made(index: list[int]) -> Any:
            source, mask = self.padded([rows[i] for i in index])
            return self.model.generate(source, attention_mask=mask, **asked)

        for index, found in zip(batches, self.model.ops.in_lanes(lanes, made, batches), strict=True):
            ids = found["sequences"] if isinstance(found, GenerateOutput) else found
            written = self.tokenizers.target.batch_decode(self.model.ops.id_lists(ids), skip_special_tokens=True)
            each = len(written) // len(index)
            yield index, [written[i * each : (i + 1) * each] for i in range(len(index))]

    @overload
    def stream(self, texts: str, **settings: Any) -> Iterator[str]: ...
    @overload
    def stream(self, texts: Sequence[str], **settings: Any) -> Iterator[tuple[int, str]]: ...
    def stream(self, texts: str | Sequence[str], **settings: Any) -> Iterator[str] | Iterator[tuple[int, str]]:
        """What a call writes in pieces, as they are made: of a text its pieces, of a list of texts (index, piece).

        Joined, a text's pieces are what a call writes. None ends within a character, and none is taken back: with beams
        a piece comes when every hypothesis that can still win begins with it.
        """
        refuse_unknown("pipeline()", settings, [*SETTINGS, "truncation"])
        truncation = bool(settings.pop("truncation", self.truncation))
        asked = self.resolved(settings)
        rows = self.encoded([texts] if isinstance(texts, str) else texts, truncation, self.limit(asked))
        if not rows:
            return iter(())
        ids, mask = self.padded(rows)
        coming = streams(self.model, ids, {"attention_mask": mask, **asked})
        found = several_pieces(coming, self.tokenizers.target)
        return (piece for _, piece in found) if isinstance(texts, str) else found

    def resolved(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The settings of one call, with what applies where nobody says anything."""
        given: dict[str, Any] = {}
        for layer in map(spelled, (self.settings, settings)):
            # max_new_tokens wins over max_length, so one that was set before must go where a length is given now.
            given |= {"max_new_tokens": None, **layer} if layer.get("max_length") is not None else layer
        own = self.model.config.generation
        for name, value in self.defaults.items():
            if given.get(name) is None and getattr(own, name) is None:
                given[name] = value
        if all(given.get(name) is None and getattr(own, name) is None for name in LENGTHS):
            given["max_new_tokens"] = min(NEW_TOKENS, int(self.model.decoder.spec.max_length))
        return {**given, "return_dict_in_generate": False, "tokenizer": self.tokenizers.target}

    def check_settings(self) -> None:
        """Raises InputError for settings of its own that cannot be, whatever the texts."""
        given = {name: value for name, value in self.resolved({}).items() if name in GENERATION_FIELDS}
        checked(self.model.config.generation.updated(given), 1, self.model.decoder.spec)

    def encoded(self, texts: Sequence[str], truncation: bool, limit: int | None) -> list[list[int]]:
        """The ids of each text. Raises InputError for what is no text, empty, or too long."""
        if not isinstance(texts, list | tuple):
            raise InputError(f"a text or a list of texts was expected, not {type(texts).__name__}.")
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise InputError(f"the source at index {i} is a {type(text).__name__}; a text was expected.")
            if not text.strip():
                raise InputError(f"the source at index {i} is empty; a text was expected.")
        if not texts:
            return []
        cut = truncation and limit is not None
        rows = self.tokenizers.source(list(texts), truncation=cut, max_length=limit if cut else None)["input_ids"]
        for i, row in enumerate(rows):
            if limit is not None and len(row) > limit:
                raise SourceTooLongError(i, len(row), limit, alone=len(rows) == 1)
        return [list(row) for row in rows]

    def padded(self, rows: Sequence[Sequence[int]]) -> tuple[Any, Any]:
        """Ids and attention mask (B, S) of some rows of ids, for the model."""
        source = self.tokenizers.source
        pad = next((i for i in (source.pad_token_id, source.eos_token_id) if i is not None), 0)
        longest = max(len(row) for row in rows)
        ids = np.full((len(rows), longest), pad, dtype=np.int64)
        mask = np.zeros_like(ids)
        for i, row in enumerate(rows):
            ids[i, : len(row)], mask[i, : len(row)] = row, 1
        return self.model.ops.on_device(ids, self.model), self.model.ops.on_device(mask, self.model)


class TaskPipeline:
    """A Writer with the results of transformers' pipelines: a list of dictionaries with one key, `key`."""

    def __init__(self, writer: Writer, task: str, key: str) -> None:
        self.writer = writer
        self.model = writer.model
        self.tokenizer = writer.tokenizers.source
        self.task = task
        self.key = key

    def __call__(self, texts: str | Sequence[str], **settings: Any) -> list[Any]:
        """One dictionary for each text; with num_return_sequences, for a list of texts, a list of them for each."""
        found = self.writer.candidates([texts] if isinstance(texts, str) else texts, **settings)
        results = [[{self.key: text} for text in written] for written in found]
        if isinstance(texts, str):
            return results[0]
        return [one[0] for one in results] if all(len(one) == 1 for one in results) else results


def spelled(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with those of a `generation_config` among them, over which what is named wins."""
    config = settings.get("generation_config")
    own = {} if config is None else GenerationConfig.of(config).to_dict()
    return own | {name: value for name, value in settings.items() if name != "generation_config"}


def pipeline(
    task: str | Path | GeneratingModel | None = None,
    model: str | Path | GeneratingModel | None = None,
    *,
    tokenizer: TokenizerChoice | None = None,
    backend: Backend = "torch",
    device: Any = None,
    device_map: Any = None,
    dtype: Any = None,
    torch_dtype: Any = None,
    batch_size: int | None = None,
    max_batch_tokens: int | None = None,
    truncation: bool = False,
    **options: Any,
) -> Any:
    """A function from texts to texts.

    `write = pipeline(model)`, of a folder, a hub id or a model, is a Writer: `write(text, num_beams=4)` -> text, a list
    -> a list in order, `write.stream(text)` -> pieces. `pipeline("summarization", model=...)`, or
    "text2text-generation", "translation", "translation_en_to_de", is transformers' pipeline of that name: a list of
    dictionaries, with 4 beams unless the model or the caller says otherwise.

    `backend` is the framework that a folder is loaded in: "torch", "jax" or "tensorflow"; they write the same. A folder that
    `conjoin export --to onnx` wrote is run by ONNX Runtime; "onnx" says so of a hub id.
    `tokenizer` is one for both sides, a pair of source and target, or a folder; the model's own by default. `device` is
    a name or a number; 0 is the first accelerator, or the CPU where there is none; by default that too, and -1 the CPU.
    Sources go in batches of like lengths, of `batch_size` texts or, by default, of at most `max_batch_tokens` tokens
    (padding included).
    A model that is passed is moved where `device` and `dtype` (`torch_dtype` is its older name) say, and stays as it is
    without; `use_fast` and `trust_remote_code` are taken for compatibility. `options` are the hub's
    (`revision`, `token`, `local_files_only`, `cache_dir`) and generation settings for every call.

    Raises InputError, CheckpointError, ConfigError, or TypeError for an unknown option.
    """
    options = {name: value for name, value in options.items() if name not in ("use_fast", "trust_remote_code")}
    dtype = torch_dtype if dtype is None else dtype
    refuse_unknown("pipeline()", options, [*HUB_OPTIONS, *SETTINGS, *PIPELINE_ARGUMENTS])
    key, chosen = task_and_model(task, model)
    hub = {name: options.pop(name) for name in HUB_OPTIONS if name in options}
    if device is None and device_map != "auto":
        device = device_map
    ready = opened(chosen, backend, device, dtype, hub)
    refuse_senses(ready.encoder.spec.front, "pipeline() reads")
    writer = Writer(
        ready,
        chosen_tokenizers(ready, tokenizer, hub),
        batch_size=batch_size,
        max_batch_tokens=max_batch_tokens,
        truncation=truncation,
        settings=options,
        defaults=None if key is None else {"num_beams": TASK_BEAMS},
    )
    return writer if key is None else TaskPipeline(writer, str(task), key)


PIPELINE_ARGUMENTS = (
    "task",
    "model",
    "tokenizer",
    "backend",
    "device",
    "device_map",
    "dtype",
    *CALL_OPTIONS,
)


def task_and_model(task: Any, model: Any) -> tuple[str | None, str | Path | GeneratingModel]:
    """The key of the task's results, or None for a Writer; and the model. Raises InputError where either is missing."""
    if isinstance(task, str) and not (model is None and Path(task).is_dir()):
        key = TASKS["translation"] if TRANSLATION.match(task) else TASKS.get(task)
        if key is not None and model is None:
            raise InputError(f'pipeline("{task}") needs a model: pass model=, a folder or a hub id.')
        if key is None and model is not None:
            raise InputError(
                f'there is no task "{task}"{nearest(task, TASKS)}; one of {", ".join(TASKS)} and translation_xx_to_yy.'
            )
        if key is not None:
            return key, model
    elif task is not None and model is not None:
        raise InputError("pipeline() was given two models; pass one, or a task by name and a model.")
    chosen = model if task is None else task
    if chosen is None:
        raise InputError("pipeline() needs a model: a folder, a hub id, or an EncoderDecoderModel.")
    return None, chosen


def opened(model: object, backend: Backend, device: Any, dtype: Any, hub: Mapping[str, Any]) -> GeneratingModel:
    """The model itself, moved where it was asked to, or loaded from its folder or hub id."""
    if isinstance(model, str | Path):
        exported = is_exported(Path(model))
        if exported and backend in ("jax", "tensorflow"):
            raise InputError(
                f'backend is "{backend}", and "{model}" holds ONNX graphs, which ONNX Runtime alone runs; leave backend out, or '
                f"give the folder that was exported."
            )
        kind: Any = model_class("onnx" if backend == "torch" and exported else backend)
        found: GeneratingModel = kind.from_pretrained(model, device=kind.ops.chosen_device(device), dtype=dtype, **hub)
        return found
    if not isinstance(model, GeneratingModel):
        raise InputError(f"a folder, a hub id or a model of conjoin was expected, not {public_name(type(model))}.")
    if hub:
        raise InputError(f"{', '.join(hub)}: a model that is loaded already has no use for it.")
    if device is not None or dtype is not None:
        model.ops.moved(model, device, dtype)
    return model


def chosen_tokenizers(
    model: GeneratingModel, tokenizer: TokenizerChoice | None, hub: Mapping[str, Any]
) -> TokenizerPair:
    """The source and the target tokenizer. Raises InputError where there are none, or one for two vocabularies."""
    if tokenizer is None:
        if model.tokenizers is None:
            raise InputError(
                "the model came without tokenizers; pass tokenizer=, one for both sides or a pair (source, target)."
            )
        return model.tokenizers
    if isinstance(tokenizer, str | Path):
        pair = TokenizerPair.from_pretrained(tokenizer, **hub)
    elif isinstance(tokenizer, TokenizerPair):
        pair = tokenizer
    elif isinstance(tokenizer, tuple):
        if len(tokenizer) != 2:
            raise InputError(f"tokenizer is a tuple of {len(tokenizer)}; a pair (source, target) was expected.")
        pair = TokenizerPair(as_tokenizer(tokenizer[0]), as_tokenizer(tokenizer[1]))
    else:
        one = as_tokenizer(tokenizer)
        pair = TokenizerPair(one, one)
    sizes = model.config.encoder.vocab_size, model.config.decoder.vocab_size
    if pair.source is pair.target and sizes[0] != sizes[1] and not is_custom(model.config.encoder):
        raise InputError(
            f"one tokenizer was passed, and the two sides have vocabularies of {sizes[0]} and {sizes[1]}; pass "
            f"tokenizer=(source, target)."
        )
    check_vocabulary(model.config, pair)
    return pair
