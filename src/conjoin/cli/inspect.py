"""`conjoin inspect`: what a model is, its sizes and tokens, and what a join would add; no weights are loaded."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import prod
from pathlib import Path
from typing import Annotated, Any

import typer

from conjoin.checkpoint import NARROW, SCALES, TensorFolder, narrow_type
from conjoin.composite import EncoderDecoderConfig, any_config, part_config
from conjoin.config import CONFIG_FILE, ModelConfig, read_config
from conjoin.errors import CheckpointError, ConfigError
from conjoin.families import family_of, role_of, spec_of
from conjoin.families.custom import CustomConfig
from conjoin.generation import GENERATION_FILE, SPECIAL_TOKENS
from conjoin.gguf import is_gguf
from conjoin.hub import resolve
from conjoin.joining import shared_names
from conjoin.parameters import PartName, members
from conjoin.shapes import parameter_shapes
from conjoin.spec import NO_LIMIT, RoleName, StackSpec
from conjoin.tokens.finding import TOKENIZER_FILES, find_pair
from conjoin.tokens.pair import TokenizerLike
from conjoin.weights import canonical, choose_prefix, instances

__all__ = ["describe", "inspect"]

Shape = tuple[int, ...]
ROLES: tuple[RoleName, ...] = ("encoder", "decoder")
PARTS: tuple[PartName, ...] = ("encoder", "decoder", "projection", "embeddings", "cross_attention", "head")
WEIGHTS = (".safetensors", ".bin")
DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "U8": "uint8"}


def inspect(
    model: Annotated[
        str | None,
        typer.Argument(metavar="[DIR|FILE.gguf|HUB_ID]", help="A joined model, or a single one.", show_default=False),
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="Of a hub id: a branch, tag or commit.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what a model is: families, sizes, parameters, special tokens, tokenizers, files.

    Of a single model: what would be new if it were the encoder or the decoder of a join. No weights are loaded; of a
    hub id none are fetched. Without a model: the families that there are, and what each can be.
    """
    if model is None:
        families(as_json)
        return
    found = describe(model, revision=revision)
    if as_json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return
    from conjoin.cli.inspect_view import show

    show(found)


def families(as_json: bool) -> None:
    """Prints every family."""
    from conjoin.cli.inspect_families import listed, show_families

    if as_json:
        print(json.dumps([asdict(one) for one in listed()], indent=2))
    else:
        show_families()


@dataclass
class Stored:
    """What the files of weights hold, without the weights: shapes, and how many numbers there are of each type."""

    shapes: dict[str, Shape] = field(default_factory=dict)
    dtypes: Counter[str] = field(default_factory=Counter)
    narrow: bool = False  # whether names are ours, as those of a model in whole numbers


def describe(name: str | Path, *, revision: str | None = None) -> dict[str, Any]:
    """What a folder, GGUF file or hub id is, as plain data. Reads configs, tokenizers, and the headers of files of weights.

    Raises CheckpointError, ConfigError.
    """
    folder = resolve(name, files=[CONFIG_FILE, GENERATION_FILE, *TOKENIZER_FILES], revision=revision)
    document = read_config(folder)
    config = any_config(document)
    remote = folder != Path(name).expanduser()
    stored = hub_stored(str(name), revision) if remote else folder_stored(folder)
    found: dict[str, Any] = {"name": str(name), "model_type": document.get("model_type")}
    if isinstance(config, EncoderDecoderConfig):
        found |= joined(EncoderDecoderConfig.from_folder(folder), stored)
        found["special_tokens"] = special_tokens(EncoderDecoderConfig.from_folder(folder), folder)
    else:
        found |= single(config, stored)
    found["tokenizers"] = tokenizers(folder, config)
    found["dtypes"] = dict(stored.dtypes.most_common())
    found["files"] = {} if remote else files(folder)
    return found


def joined(config: EncoderDecoderConfig, stored: Stored) -> dict[str, Any]:
    """What is said of a joined model."""
    counts: dict[str, int] = {}
    for role in ROLES:
        own = {n.removeprefix(f"{role}."): s for n, s in stored.shapes.items() if n.startswith(f"{role}.")}
        ours = sizes_of(own) if stored.narrow else parameter_counts(config.part(role), role, own)
        gone = shared_names(config, list(ours)) if role == "encoder" else []
        counts |= {f"{role}.{n}": count for n, count in ours.items() if n not in gone}
    counts |= {n: prod(s) for n, s in stored.shapes.items() if n.startswith("enc_to_dec_proj.")}
    names = list(counts)
    by_part: dict[str, int] = {part: sum(counts[n] for n in members([part], names, ())) for part in PARTS}
    sides: dict[str, Any] = {role: sizes(config.part(role), config.spec(role)) for role in ROLES}
    parameters: dict[str, int] = {**by_part, "total": sum(counts.values())} if counts else {}
    settings = {k: v for k, v in config.generation.to_dict().items() if k not in SPECIAL_TOKENS}
    return {"joined": True, **sides, "share": config.share, "parameters": parameters, "generation": settings}


def single(config: ModelConfig, stored: Stored) -> dict[str, Any]:
    """What is said of a single model: what it would be, and what would be new, on either side of a join."""
    found: dict[str, Any] = {"joined": False, "parameters": {"total": sum(map(prod, stored.shapes.values()))}}
    for role in ROLES:
        try:
            role_of(config.model_type, role)
        except ConfigError as error:
            found[role] = {"cannot": str(error)}
            continue
        part = part_config(config, role)
        new = new_counts(part, role, stored.shapes) if stored.shapes else {}
        found[role] = {**sizes(part, spec_of(part, role)), "new": new}
    return found


def sizes(config: ModelConfig, spec: StackSpec) -> dict[str, Any]:
    """The sizes of a stack; of a module of the user's own only the width is known."""
    if isinstance(config, CustomConfig):
        unknown = dict.fromkeys(("layers", "heads", "ffn", "positions", "vocabulary"))
        return {"family": config.class_name, "width": spec.width, **unknown}
    return {
        "family": config.model_type,
        "layers": spec.layers,
        "width": spec.width,
        "heads": spec.heads,
        "ffn": spec.ffn,
        "positions": "any" if spec.max_length == NO_LIMIT else spec.max_length,
        "vocabulary": spec.vocab,
    }


def parameter_counts(config: ModelConfig, role: RoleName, shapes: Mapping[str, Shape]) -> dict[str, int]:
    """How many numbers each of our parameters has, of those that a part's file holds."""
    family, side, spec = family_of(config.model_type), role_of(config.model_type, role), spec_of(config, role)
    if isinstance(config, CustomConfig):
        return {f"module.{name}": count for name, count in sizes_of(shapes).items()}
    names = canonical(list(shapes), family.old_names)
    prefix, ours_shapes = choose_prefix(side, range(spec.layers), names), parameter_shapes(spec)
    counts: dict[str, int] = {}
    for row, ours, theirs, also in instances(side, range(spec.layers)):
        candidates = (theirs if row.rooted else prefix + theirs, *also)
        if ours[0] in ours_shapes and any(c in names for c in candidates):
            counts |= {name: prod(ours_shapes[name]) for name in ours}
    return counts


def sizes_of(shapes: Mapping[str, Shape]) -> dict[str, int]:
    """How many numbers each has."""
    return {name: prod(shape) for name, shape in shapes.items()}


def new_counts(config: ModelConfig, role: RoleName, shapes: Mapping[str, Shape]) -> dict[str, int]:
    """How many numbers a join would have to make up for a part, by kind: cross-attention, head."""
    there = parameter_counts(config, role, shapes)
    new: Counter[str] = Counter()
    for name, shape in parameter_shapes(spec_of(config, role)).items():
        if name not in there and ".cross" in name:
            new["cross_attention"] += prod(shape)
        elif name not in there and name.startswith(("head.", "output.")):
            new["head"] += prod(shape)
    return dict(new)


def special_tokens(config: EncoderDecoderConfig, folder: Path) -> dict[str, Any]:
    """Each special token's id or ids, and the strings that the target tokenizer has for them."""
    pair = find_pair(folder)
    found = {}
    for name in SPECIAL_TOKENS:
        value = getattr(config.generation, name)
        ids = value if isinstance(value, list) else [] if value is None else [value]
        texts = [] if pair is None else [pair.target.convert_ids_to_tokens(one) for one in ids]
        found[name] = {"ids": ids, "tokens": texts}
    return found


def tokenizers(folder: Path, config: ModelConfig | EncoderDecoderConfig) -> dict[str, Any]:
    """The class and the number of tokens of the source and of the target tokenizer; images and sounds have none."""
    joined_model = isinstance(config, EncoderDecoderConfig)
    encoder = config.encoder if isinstance(config, EncoderDecoderConfig) else config
    reads = family_of(encoder.model_type).encoder is not None
    senses = reads and spec_of(part_config(encoder, "encoder"), "encoder").front is not None
    pair = find_pair(folder) if joined_model or not senses else None
    if pair is None:
        return {}

    def said(one: TokenizerLike) -> dict[str, Any]:
        return {"class": type(one).__name__, "vocabulary": len(one)}

    if senses:
        return {"target": said(pair.target)}
    return {"source": said(pair.source)} if pair.same else {"source": said(pair.source), "target": said(pair.target)}


def files(folder: Path) -> dict[str, int]:
    """The files of a folder, or the one GGUF file, with their bytes."""
    if is_gguf(folder):
        return {folder.name: folder.stat().st_size}
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
    return {str(p.relative_to(folder)): p.stat().st_size for p in paths}


def folder_stored(folder: Path) -> Stored:
    """What the headers of a folder's safetensors files say; a .bin file is mapped, for its tensors have no header."""
    if is_gguf(folder):
        return gguf_stored(folder)
    kind = narrow_type(folder)
    if kind is not None:
        return narrow_stored(folder / NARROW[kind], kind)
    if not any(p.suffix in WEIGHTS for p in folder.iterdir()):
        return Stored()
    found = Stored()
    with TensorFolder(folder, "pt" if not any(folder.glob("*.safetensors*")) else "np") as tensors:
        found.shapes |= tensors.shapes
        headers: dict[str, dict[str, str]] = {}
        for name, file in tensors.file_of.items():
            if file.endswith(".bin"):
                dtype = str(tensors.read(name).dtype).removeprefix("torch.")
            else:
                dtype = headers.setdefault(file, {}).get(name) or header_types(folder / file, headers[file])[name]
            found.dtypes[DTYPES.get(dtype, dtype)] += prod(tensors.shapes[name])
    return found


def narrow_stored(path: Path, kind: str) -> Stored:
    """What the header of a file of whole numbers says, under our names, int4 numbers counted one by one."""
    from safetensors import safe_open

    found = Stored(narrow=True)
    with safe_open(path, framework="np") as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        types = {name: file.get_slice(name).get_dtype() for name in shapes}
    for name, shape in shapes.items():
        if name + SCALES in shapes:
            found.shapes[name] = (*shape[:-1], shape[-1] * (2 if types[name] == "U8" else 1))
            found.dtypes[kind] += prod(found.shapes[name])
        elif not name.endswith(SCALES):
            found.shapes[name] = shape
            found.dtypes[DTYPES.get(types[name], types[name])] += prod(shape)
    return found


def gguf_stored(path: Path) -> Stored:
    """What the header of a GGUF file says, under transformers' names."""
    from conjoin.gguf.tensors import GGUFTensors

    tensors = GGUFTensors(path, "np")
    found = Stored(dict(tensors.shapes))
    for name, shape in tensors.shapes.items():
        found.dtypes[DTYPES.get(tensors.kind(name), tensors.kind(name))] += prod(shape)
    return found


def header_types(path: Path, types: dict[str, str]) -> dict[str, str]:
    """Fills `types` with the type of each tensor of a safetensors file: 8 bytes of length, then JSON."""
    with path.open("rb") as opened:
        size = int.from_bytes(opened.read(8), "little")
        header = json.loads(opened.read(size))
    types |= {name: entry["dtype"] for name, entry in header.items() if name != "__metadata__"}
    return types


def hub_stored(name: str, revision: str | None) -> Stored:
    """What the headers of a hub repository's safetensors files say, without fetching the weights."""
    from huggingface_hub import get_safetensors_metadata
    from huggingface_hub.errors import HTTPError, NotASafetensorsRepoError  # type: ignore[attr-defined]

    found = Stored()
    try:
        metadata = get_safetensors_metadata(name, revision=revision)
    except NotASafetensorsRepoError:
        return found  # a .bin cannot be looked into without fetching it
    except (HTTPError, OSError) as error:
        first = str(error).partition("\n")[0]
        raise CheckpointError(
            f'the weights of "{name}" could not be looked at ({first}); try again, or pass a folder.'
        ) from None
    for file in metadata.files_metadata.values():
        for tensor, info in file.tensors.items():
            found.shapes[tensor] = tuple(info.shape)
            found.dtypes[DTYPES.get(info.dtype, info.dtype)] += prod(info.shape)
    return found
