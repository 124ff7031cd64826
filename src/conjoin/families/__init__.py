"""The architectures conjoin knows, by the `model_type` of their config.json; one small file each."""

import importlib
from dataclasses import replace
from typing import Any

from conjoin.errors import ConfigError, nearest
from conjoin.families.custom import CUSTOM
from conjoin.spec import Family, Role, RoleName, StackSpec

__all__ = ["FAMILIES", "family_of", "role_of", "spec_of"]

MODULES = (
    "albert",
    "bart",
    "bart_like",
    "beit",
    "bert",
    "bert_like",
    "bert_prenorm",
    "big_bird",
    "biogpt",
    "bloom",
    "convbert",
    "deberta",
    "deberta_v2",
    "dinov2",
    "distilbert",
    "electra",
    "eurobert",
    "gemma",
    "gemma2",
    "gemma3",
    "gpt2",
    "gpt_neo",
    "gpt_neox",
    "gptj",
    "granite",
    "led",
    "llama",
    "longformer",
    "mistral",
    "modernbert",
    "mpnet",
    "nomic_bert",
    "olmo2",
    "opt",
    "phi",
    "phi3",
    "qwen",
    "rembert",
    "roberta",
    "roberta_like",
    "roformer",
    "smollm3",
    "stablelm",
    "t5",
    "trocr",
    "vit",
    "wav2vec2",
    "whisper",
    "xglm",
)
FAMILIES: dict[str, Family] = {
    family.model_type: family
    for name in MODULES
    for family in importlib.import_module(f"conjoin.families.{name}").FAMILIES
}


def family_of(model_type: object) -> Family:
    """The family of a `model_type`. Raises ConfigError with the nearest known one."""
    if isinstance(model_type, str) and model_type in FAMILIES:
        return FAMILIES[model_type]
    if model_type == CUSTOM.model_type:  # no architecture, and so not among those that are listed
        return CUSTOM
    raise ConfigError(
        f'model_type "{model_type}" is not known{nearest(str(model_type), FAMILIES)}. '
        f"`conjoin inspect` lists the {len(FAMILIES)} that conjoin reads."
    )


def role_of(model_type: object, role: RoleName) -> Role:
    """What the family is as an encoder or as a decoder. Raises ConfigError where it cannot be that."""
    family = family_of(model_type)
    found = family.encoder if role == "encoder" else family.decoder
    if found is None:
        raise ConfigError(
            f'model_type "{model_type}" cannot be the {role} of a join; `conjoin inspect` lists which families can.'
        )
    return found


def spec_of(config: Any, role: RoleName) -> StackSpec:
    """The stack that a part's config describes on its side. Raises ConfigError for what cannot be."""
    spec = role_of(config.model_type, role).read(config)
    if role == "decoder":
        place = config.cross_attention_place or spec.cross_place
        layers = crossed_layers(config.cross_attention_layers, spec.layers)
        gate = config.cross_attention_gate
        spec = replace(
            spec, causal=True, cross=config.add_cross_attention, cross_gate=gate, cross_place=place, cross_layers=layers
        )
    if not spec.head_size and spec.width % spec.heads:
        raise ConfigError(f"{role}: width {spec.width} is not a multiple of its {spec.heads} attention heads.")
    return spec


def crossed_layers(given: Any, layers: int) -> tuple[int, ...] | None:
    """The layers with cross-attention; None for all. Raises ConfigError for what names none of them."""
    if given in (None, "all"):
        return None
    if isinstance(given, str) and given.startswith("every_") and given.removeprefix("every_").isdecimal():
        step = int(given.removeprefix("every_"))
        if 1 <= step <= layers:
            return tuple(range(step - 1, layers, step))
    elif isinstance(given, list | tuple) and given and all(type(i) is int and 0 <= i < layers for i in given):
        return tuple(sorted(set(given)))
    raise ConfigError(
        f'cross_attention_layers is {given!r}; "all", "every_2", or a list of some of the layers 0 to {layers - 1} was '
        f"expected."
    )
