"""Filling a joined model on the meta device: from two parts' folders, or from the folder of a joined model."""

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from conjoin.checkpoint import TensorFolder
from conjoin.errors import ConfigError
from conjoin.families import family_of, role_of
from conjoin.joining import CrossAttentionInit, OpenPart, open_part, shared_names
from conjoin.spec import RoleName
from conjoin.tokens.finding import find_tokenizer
from conjoin.tokens.pair import TokenizerLike
from conjoin.torch.initial import copy_self_attention, initialise, materialise, place, tensor_of
from conjoin.torch.parts import Decoder, Encoder, left_on_meta, load_part, part_dtype, read_into
from conjoin.weights import Report, plan, some

__all__ = [
    "PROJECTION",
    "ROLES",
    "check_kinds",
    "initialise_projection",
    "load_folder",
    "load_sides",
    "open_side",
    "tokenizer_of",
]

logger = logging.getLogger("conjoin")
ROLES: tuple[RoleName, ...] = ("encoder", "decoder")
PROJECTION = ("enc_to_dec_proj.weight", "enc_to_dec_proj.bias")


def load_sides(
    model: Any,
    sides: Mapping[RoleName, "OpenPart | Encoder | Decoder"],
    dtype: torch.dtype | None,
    device: torch.device,
    cross_attention_init: CrossAttentionInit,
) -> None:
    """Fills a model on the meta device from two opened parts, and initialises what neither has."""
    skip = shared_names(model.config, list(model.encoder.state_dict()))
    new: list[str] = []
    for role in reversed(ROLES):  # the decoder first: where weights are shared, they are its own
        part, side = model.part(role), sides[role]
        if isinstance(side, OpenPart):
            found = load_part(part, side, dtype, device, skip if role == "encoder" else ())
            initialise(part, found, part.spec)
            if cross_attention_init == "self_attention":
                copy_self_attention(part, found)
            new += [f"{role}.{name}" for name in found]
        else:
            for name, tensor in side.state_dict().items():
                place(part, name, tensor.to(device=device, dtype=dtype or tensor.dtype, copy=True))
            new += [f"{role}.{name}" for name in side.new_parameters]
    if dtype is None and part_dtype(model.encoder) != part_dtype(model.decoder) and not skip:
        model.float()
    if model.enc_to_dec_proj is not None:
        materialise(model, PROJECTION, part_dtype(model.decoder), device)
        initialise_projection(model)
        new += PROJECTION
    model.tie()
    model.new_parameters = tuple(new)
    if new:
        logger.info("New in this join, and to be trained: %s.", some(summary(new)))


def initialise_projection(model: Any) -> None:
    """Fresh values for the projection, where there is one."""
    if model.enc_to_dec_proj is not None:
        initialise(model, PROJECTION, model.decoder.spec)


def load_folder(model: Any, path: Path, dtype: torch.dtype | None, device: torch.device) -> None:
    """Fills a model on the meta device from the folder of a joined model."""
    skip = shared_names(model.config, list(model.encoder.state_dict()))
    report, plans = Report(), {}
    with TensorFolder(path) as folder:
        for role in ROLES:
            part, own = model.part(role), f"{role}."
            available = {n.removeprefix(own): s for n, s in folder.shapes.items() if n.startswith(own)}
            gone = skip if role == "encoder" else ()
            wanted = {n: tuple(t.shape) for n, t in part.state_dict().items() if n not in gone}
            family = family_of(part.config.model_type)
            side = role_of(part.config.model_type, role)
            plans[role] = planned = plan(family, side, wanted, available, layers=range(part.spec.layers))
            report.missing |= {own + ours: own + theirs for ours, theirs in planned.report.missing.items()}
            report.mismatched += [own + one for one in planned.report.mismatched]
            if not gone:
                report.unexpected += [own + one for one in planned.report.unexpected]
        report.unexpected += [n for n in folder.shapes if not n.startswith(("encoder.", "decoder.", *PROJECTION))]
        check_projection(model, folder, report)
        report.refuse(f'"{path}"')
        for role in ROLES:
            read_into(model.part(role), plans[role], folder, dtype, device, prefix=f"{role}.")
        if model.enc_to_dec_proj is not None:
            for name in PROJECTION:
                tensor = folder.read(name)
                place(model, name, tensor.to(device=device, dtype=dtype or tensor.dtype, copy=True))
    materialise(
        model,
        [n for n in left_on_meta(model, model.state_dict()) if not shared(n, skip)],
        dtype or part_dtype(model),
        device,
    )
    model.tie()


def check_projection(model: Any, folder: TensorFolder, report: Report) -> None:
    """Adds to the report what the file has of a projection that is not there, or lacks of one that is."""
    for name in PROJECTION:
        if model.enc_to_dec_proj is None:
            report.unexpected += [name] if name in folder.shapes else []
        elif name not in folder.shapes:
            report.missing[name] = name
        elif folder.shapes[name] != tuple(tensor_of(model, name).shape):
            report.mismatched.append(
                f"{name} is {list(folder.shapes[name])}, {list(tensor_of(model, name).shape)} was expected"
            )


def shared(name: str, skip: list[str]) -> bool:
    """Whether a name of the joined model is one of the encoder's that are the decoder's tensors."""
    return name.startswith("encoder.") and name.removeprefix("encoder.") in skip


def open_side(role: RoleName, name: str | Path | None, options: dict[str, Any]) -> Any:
    """A part opened from its folder, or the ready one given as `encoder_model` or `decoder_model`."""
    ready = options.get("model")
    if ready is not None:
        check_kinds(*((ready, None) if role == "encoder" else (None, ready)))
        return ready
    if name is None:
        raise ConfigError(f"no {role} was given: pass its folder or hub id, or a ready part as {role}_model.")
    return open_part(name, role, options)


def tokenizer_of(side: "OpenPart | Encoder | Decoder") -> TokenizerLike | None:
    """A side's tokenizer, where it has one."""
    return find_tokenizer(side.folder) if isinstance(side, OpenPart) else side.tokenizer


def summary(names: list[str]) -> list[str]:
    """Names of parameters with their layer numbers folded, each once."""
    return list(dict.fromkeys(re.sub(r"\.\d+\.", ".*.", name) for name in names))


def check_kinds(encoder: object, decoder: object) -> None:
    """Raises ConfigError where a ready part is not of its side."""
    if encoder is not None and not isinstance(encoder, Encoder):
        raise ConfigError(f"encoder is a {type(encoder).__name__}; a conjoin.torch.Encoder was expected.")
    if decoder is not None and not isinstance(decoder, Decoder):
        raise ConfigError(f"decoder is a {type(decoder).__name__}; a conjoin.torch.Decoder was expected.")
