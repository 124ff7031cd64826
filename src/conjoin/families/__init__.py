"""The architectures conjoin knows, by the `model_type` of their config.json; one small file each."""

from conjoin.errors import ConfigError, nearest
from conjoin.families import bart, bert, gpt2, roberta
from conjoin.families.custom import CUSTOM
from conjoin.spec import Family, Role, RoleName

__all__ = ["FAMILIES", "family_of", "role_of"]

FAMILIES: dict[str, Family] = {
    family.model_type: family for family in (bart.BART, bert.BERT, gpt2.GPT2, roberta.ROBERTA)
}


def family_of(model_type: object) -> Family:
    """The family of a `model_type`. Raises ConfigError with the nearest known one."""
    if isinstance(model_type, str) and model_type in FAMILIES:
        return FAMILIES[model_type]
    if model_type == CUSTOM.model_type:  # no architecture, and so not among those that are listed
        return CUSTOM
    raise ConfigError(
        f'model_type "{model_type}" is not known{nearest(str(model_type), FAMILIES)}. '
        f"conjoin reads {', '.join(sorted(FAMILIES))}."
    )


def role_of(model_type: object, role: RoleName) -> Role:
    """What the family is as an encoder or as a decoder. Raises ConfigError where it cannot be that."""
    family = family_of(model_type)
    found = family.encoder if role == "encoder" else family.decoder
    if found is None:
        able = sorted(n for n, f in FAMILIES.items() if (f.encoder if role == "encoder" else f.decoder))
        raise ConfigError(f'model_type "{model_type}" cannot be the {role} of a join; these can: {", ".join(able)}.')
    return found
