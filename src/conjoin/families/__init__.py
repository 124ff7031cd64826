"""The architectures conjoin knows, by the `model_type` of their config.json; one small file each."""

import importlib
from dataclasses import replace
from typing import Any

from conjoin.errors import ConfigError, nearest
from conjoin.families.custom import CUSTOM
from conjoin.families.shared.crossed_layers import crossed_layers
from conjoin.spec import Family, Role, RoleName, StackSpec

__all__ = ["FAMILIES", "family_of", "role_of", "spec_of"]

MODULES = (
    "albert bart beit bert bert_generation big_bird biogpt blenderbot blenderbot_small bloom camembert convbert "
    "data2vec_text deberta deberta_v2 deit dinov2 distilbert electra ernie eurobert gemma gemma2 gemma3 gemma3_text "
    "gpt2 gpt_neo gpt_neox gptj granite hubert led llama longformer longt5 m2m_100 marian mbart megatron_bert mistral "
    "modernbert modernbert_decoder mpnet mt5 mvp nomic_bert olmo2 opt pegasus phi phi3 plbart prophetnet qwen2 qwen3 rembert "
    "roberta roberta_prelayernorm roformer smollm3 stablelm t5 trocr umt5 vit wav2vec2 whisper xglm xlm_roberta "
    "xlm_roberta_xl"
).split()
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
    if model_type is None:
        raise ConfigError('the config has no "model_type", which says of which family it is: "bert", "gpt2"...')
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
