"""What cuts images into patches before a stack, as configs of ViT's kind describe it."""

from typing import Any

from conjoin.errors import ConfigError
from conjoin.senses import Patches

__all__ = ["patches"]


def pair(config: Any, name: str) -> tuple[int, int]:
    """Height and width, of one number or two. Raises ConfigError for what is neither."""
    given = getattr(config, name)
    found = tuple(given) if isinstance(given, list | tuple) else (given, given)
    if len(found) != 2 or any(type(n) is not int or n < 1 for n in found):
        raise ConfigError(f'{config.model_type}: "{name}" is {given!r}; a whole number above 0, or two, was expected.')
    return found[0], found[1]


def patches(config: Any, marks: int = 1, *, resizes: bool = False) -> Patches:
    """What stands before the stack. Raises ConfigError for patches larger than the image."""
    image, patch = pair(config, "image_size"), pair(config, "patch_size")
    if patch[0] > image[0] or patch[1] > image[1]:
        raise ConfigError(f"{config.model_type}: patches of {patch} do not fit into an image of {image} pixels.")
    if resizes and image[0] // patch[0] != image[1] // patch[1]:
        raise ConfigError(
            f'{config.model_type}: "image_size" {config.image_size!r} in patches of {patch} is no square of patches; only '
            f"squares are implemented."
        )
    return Patches(channels=config.num_channels, image=image, patch=patch, marks=marks, resizes=resizes)
