"""AutoModelForSeq2SeqLM and AutoModelForCausalLM: transformers' names for loading a joined model."""

from pathlib import Path
from typing import Any

from conjoin.composite import COMPOSITES, EncoderDecoderConfig
from conjoin.config import CONFIG_FILE, read_config
from conjoin.errors import ConfigError
from conjoin.families import family_of
from conjoin.hub import resolve
from conjoin.torch import EncoderDecoderModel

__all__ = ["AutoModelForCausalLM", "AutoModelForSeq2SeqLM"]

HUB_OPTIONS = ("revision", "token", "local_files_only", "cache_dir")


def load_joined(name: str | Path, options: dict[str, Any], asked: str) -> EncoderDecoderModel:
    """The joined model of a folder or hub id; of a single model only the config is fetched, to say what it is."""
    hub = {key: options[key] for key in HUB_OPTIONS if key in options}
    folder = resolve(name, files=[CONFIG_FILE], **hub)
    model_type = read_config(folder).get("model_type")
    if model_type not in COMPOSITES:
        family_of(model_type)  # says which are known
        raise ConfigError(
            f'"{name}" is a single model of model_type "{model_type}", and {asked} loads joined ones; join it with '
            f"EncoderDecoderModel.from_encoder_decoder_pretrained(encoder, decoder)."
        )
    return EncoderDecoderModel.from_pretrained(name, **options)


class AutoModelForSeq2SeqLM:
    """Loads any sequence-to-sequence model that conjoin reads: a joined one."""

    @classmethod
    def from_config(cls, config: EncoderDecoderConfig) -> EncoderDecoderModel:
        """A joined model of random weights."""
        return EncoderDecoderModel(config)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **options: Any) -> EncoderDecoderModel:
        """The joined model of a folder or hub id; options as of `EncoderDecoderModel.from_pretrained`.

        Raises ConfigError for a single model, CheckpointError for a folder that cannot be read, TypeError for an
        unknown option.
        """
        return load_joined(pretrained_model_name_or_path, options, cls.__name__)


class AutoModelForCausalLM:
    """The same as AutoModelForSeq2SeqLM: transformers' documentation loads joined models by this name too."""

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **options: Any) -> EncoderDecoderModel:
        """As `AutoModelForSeq2SeqLM.from_pretrained`."""
        return load_joined(pretrained_model_name_or_path, options, cls.__name__)
