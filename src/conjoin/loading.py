"""Filling a joined model: from two parts' folders, or from the folder of a joined model; in whichever framework it is."""

import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from conjoin.checkpoint import NARROW, TensorFolder, Tensors, narrow_type
from conjoin.errors import ConfigError, InputError
from conjoin.extending import POSITIONS, PositionInit, resized_table
from conjoin.families import spec_of
from conjoin.initial import copy_self_attention, initialise
from conjoin.joining import CrossAttentionInit, OpenPart, open_part, shared_names
from conjoin.processors import find_processor
from conjoin.spec import RoleName
from conjoin.tokens.finding import find_tokenizer
from conjoin.tokens.pair import TokenizerLike
from conjoin.weights import Plan, Report, from_file, some

__all__ = [
    "PROJECTION",
    "ROLES",
    "initialise_projection",
    "kept_in",
    "load_folder",
    "load_part",
    "load_sides",
    "open_side",
    "placed",
    "processor_of",
    "public_name",
    "read_into",
    "tokenizer_of",
]

logger = logging.getLogger("conjoin")
ROLES: tuple[RoleName, ...] = ("encoder", "decoder")
PROJECTION = ("enc_to_dec_proj.weight", "enc_to_dec_proj.bias")
NEW_IN_A_JOIN = (".cross", "head.")


def load_part(ops: Any, part: Any, opened: OpenPart, where: Any, skip: Iterable[str] = ()) -> tuple[str, ...]:
    """Reads a blank part from its own folder; returns what the folder does not have and a join makes new."""
    gone = set(skip)
    with opened.tensors(ops.FILES) as folder:
        wanted = {name: shape for name, shape in ops.shapes(part).items() if name not in gone}
        planned = opened.plan({**wanted, **opened.as_saved(wanted)}, folder.shapes)
        new = tuple(n for n in planned.report.missing if is_new_in_a_join(n, planned))
        for name in new:
            del planned.report.missing[name]
        planned.report.refuse(f'"{opened.folder}" (as {opened.role})')
        read_into(ops, part, planned, folder, where, new_positions=opened.new_positions)
    ops.materialise(part, wanted, where)
    return new


def is_new_in_a_join(name: str, planned: Plan) -> bool:
    """Cross-attention, and a head of which the file has nothing, may be new; half of one may not."""
    if not any(mark in name for mark in NEW_IN_A_JOIN):
        return False
    mark = "head." if "head." in name else ".cross"
    return not any(mark in ours for read in planned.reads for ours in read.ours)


def read_into(
    ops: Any,
    part: Any,
    planned: Plan,
    folder: Tensors,
    where: Any,
    prefix: str = "",
    new_positions: PositionInit = "tile",
) -> None:
    """Reads each tensor into a part, one at a time, each into memory of its own."""
    for read in planned.reads:
        for name, array in from_file(read, folder.read(prefix + read.theirs)):
            fits = name != POSITIONS or len(array) == part.spec.positions
            found = array if fits else resized_table(ops, array, part.spec, new_positions)
            ops.place(part, name, found, where)


def load_sides(
    ops: Any, model: Any, sides: Mapping[RoleName, Any], where: Any, cross_attention_init: CrossAttentionInit
) -> None:
    """Fills a blank model from two sides, opened or ready, and initialises what neither has."""
    skip = shared_names(model.config, list(ops.shapes(model.encoder)))
    new: list[str] = []
    for role in reversed(ROLES):  # the decoder first: where weights are shared, they are its own
        part, side = model.part(role), sides[role]
        if isinstance(side, OpenPart):
            found = load_part(ops, part, side, where, skip if role == "encoder" else ())
            initialise(ops, part, found, part.spec)
            if cross_attention_init != "random":
                copy_self_attention(ops, part, found)
            new += [f"{role}.{name}" for name in found]
        else:
            if part is side:  # a module of the user's own, which stays the same one
                side.move(where)
            else:
                for name, array in ops.named_arrays(side).items():
                    ops.place(part, name, array, where)
            new += [f"{role}.{name}" for name in side.new_parameters]
    if where.dtype is None and not skip and ops.dtype_name(model.encoder) != ops.dtype_name(model.decoder):
        ops.unified(model)
    if model.enc_to_dec_proj is not None:
        kind = ops.dtype_name(model.decoder) if where.dtype is None else where.dtype
        ops.materialise(model, PROJECTION, ops.placement(kind, where.device))
        initialise_projection(ops, model)
        new += PROJECTION
    model.tie()
    model.new_parameters = tuple(new)
    if new:
        logger.info("New in this join, and to be trained: %s.", some(summary(new)))


def initialise_projection(ops: Any, model: Any) -> None:
    """Fresh values for the projection, where there is one."""
    if model.enc_to_dec_proj is not None:
        initialise(ops, model, PROJECTION, model.decoder.spec)


def load_folder(ops: Any, model: Any, path: Path, where: Any) -> None:
    """Fills a blank model from the folder of a joined model."""
    skip = shared_names(model.config, list(ops.shapes(model.encoder)))
    narrow = narrow_type(path)
    if narrow is not None:
        ops.load_narrow(model, path / NARROW[narrow], [f"encoder.{name}" for name in skip], where)
        model.tie()
        return
    report, plans = Report(), {}
    with TensorFolder(path, ops.FILES) as folder:
        for role in ROLES:
            own = f"{role}."
            available = {n.removeprefix(own): s for n, s in folder.shapes.items() if n.startswith(own)}
            gone = skip if role == "encoder" else ()
            plans[role] = planned = model.part(role).plan(available, gone)
            report.missing |= {own + ours: own + theirs for ours, theirs in planned.report.missing.items()}
            report.mismatched += [own + one for one in planned.report.mismatched]
            if not gone:
                report.unexpected += [own + one for one in planned.report.unexpected]
        report.unexpected += [n for n in folder.shapes if not n.startswith(("encoder.", "decoder.", *PROJECTION))]
        check_projection(ops, model, folder, report)
        report.refuse(f'"{path}"')
        for role in ROLES:
            model.part(role).read(plans[role], folder, where)
        for name in PROJECTION if model.enc_to_dec_proj is not None else ():
            ops.place(model, name, folder.read(name), where)
    ops.materialise(model, [n for n in ops.shapes(model) if not shared(n, skip)], where)
    model.tie()


def check_projection(ops: Any, model: Any, folder: TensorFolder, report: Report) -> None:
    """Adds to the report what the file has of a projection that is not there, or lacks of one that is."""
    expected = ops.shapes(model) if model.enc_to_dec_proj is not None else {}
    for name in PROJECTION:
        if not expected:
            report.unexpected += [name] if name in folder.shapes else []
        elif name not in folder.shapes:
            report.missing[name] = name
        elif folder.shapes[name] != expected[name]:
            report.mismatched.append(f"{name} is {list(folder.shapes[name])}, {list(expected[name])} was expected")


def shared(name: str, skip: list[str]) -> bool:
    """Whether a name of the joined model is one of the encoder's that are the decoder's tensors."""
    return name.startswith("encoder.") and name.removeprefix("encoder.") in skip


def open_side(role: RoleName, name: str | Path | None, options: dict[str, Any], *kinds: type) -> Any:
    """A part opened from its folder, or the ready one, of these kinds, given as `encoder_model` or `decoder_model`."""
    ready = options.get("model")
    if ready is not None:
        check_kind(role, ready, *kinds)
        return ready
    if name is None:
        raise ConfigError(f"no {role} was given: pass its folder or hub id, or a ready part as {role}_model.")
    return open_part(name, role, options)


def tokenizer_of(side: Any) -> TokenizerLike | None:
    """A side's tokenizer, where it has one; what lies beside an encoder of images or sounds is not its own."""
    if isinstance(side, OpenPart):
        return find_tokenizer(side.folder) if spec_of(side.config, side.role).front is None else None
    found: TokenizerLike | None = side.tokenizer
    return found


def processor_of(side: Any) -> dict[str, str]:
    """The processor's files of an encoder of images or sounds."""
    if isinstance(side, OpenPart):
        return {} if spec_of(side.config, side.role).front is None else find_processor(side.folder)
    found: dict[str, str] = side.processor_files
    return found


def summary(names: list[str]) -> list[str]:
    """Names of parameters with their layer numbers folded, each once."""
    return list(dict.fromkeys(re.sub(r"\.\d+\.", ".*.", name) for name in names))


def check_kind(role: RoleName, part: object, kind: type, *others: type) -> None:
    """Raises ConfigError where a ready part is not of its side."""
    if part is not None and not isinstance(part, (kind, *others)):
        raise ConfigError(f"{role} is a {public_name(type(part))}; a {public_name(kind)} was expected.")


def public_name(kind: type) -> str:
    """What a class is called; with the package where it is one of ours, since every framework has an Encoder."""
    package = kind.__module__.partition(".")[0]
    if package == "conjoin":
        return f"{kind.__module__.rpartition('.')[0]}.{kind.__name__}"
    return f"transformers.{kind.__name__}" if package == "transformers" else kind.__name__


def kept_in(ops: Any, folder: Path, dtype: Any) -> Any:
    """The type that a folder's model is loaded in: what was asked for, or the whole numbers that the folder holds."""
    kind = narrow_type(folder)
    if kind is None:
        return dtype
    if kind not in ops.NARROW_TYPES:
        raise InputError(
            f'"{folder}" holds an {kind} model, which runs in PyTorch only; give the folder that it was made from.'
        )
    if dtype in (None, "auto", kind):
        return kind
    raise InputError(f'dtype is {dtype!r}, and "{folder}" holds {kind} weights; leave dtype out.')


def placed(ops: Any, dtype: Any, device: Any) -> Any:
    """The type and the place that a model is loaded into; "auto" is the framework's best device."""
    auto = isinstance(device, str) and device == "auto"
    return ops.placement(dtype, ops.best_device() if auto else device)
