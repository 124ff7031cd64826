"""conjoin: any pretrained encoder joined with any pretrained decoder into one sequence-to-sequence model.

The names below are loaded when they are first used; importing conjoin imports no framework.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "AutoConfig": "conjoin.composite",
    "AutoModelForCausalLM": "conjoin.auto",
    "AutoModelForSeq2SeqLM": "conjoin.auto",
    "AutoTokenizer": "conjoin.tokens",
    "BartConfig": "conjoin.families.bart",
    "BartTokenizer": "conjoin.tokens",
    "BertConfig": "conjoin.families.bert",
    "BertTokenizer": "conjoin.tokens",
    "CheckpointError": "conjoin.errors",
    "ConfigError": "conjoin.errors",
    "ConjoinError": "conjoin.errors",
    "DataError": "conjoin.errors",
    "EncoderDecoderConfig": "conjoin.composite",
    "EncoderDecoderModel": "conjoin.torch",
    "FlaxEncoderDecoderModel": "conjoin.flax",
    "GPT2Config": "conjoin.families.gpt2",
    "GPT2Tokenizer": "conjoin.tokens",
    "GenerationConfig": "conjoin.generation",
    "InputError": "conjoin.errors",
    "RobertaConfig": "conjoin.families.roberta",
    "RobertaTokenizer": "conjoin.tokens",
    "TFEncoderDecoderModel": "conjoin.tensorflow",
    "pipeline": "conjoin.pipelines",
}
__all__ = [
    "AutoConfig",
    "AutoModelForCausalLM",
    "AutoModelForSeq2SeqLM",
    "AutoTokenizer",
    "BartConfig",
    "BartTokenizer",
    "BertConfig",
    "BertTokenizer",
    "CheckpointError",
    "ConfigError",
    "ConjoinError",
    "DataError",
    "EncoderDecoderConfig",
    "EncoderDecoderModel",
    "FlaxEncoderDecoderModel",
    "GPT2Config",
    "GPT2Tokenizer",
    "GenerationConfig",
    "InputError",
    "RobertaConfig",
    "RobertaTokenizer",
    "TFEncoderDecoderModel",
    "pipeline",
]
_EXTRAS = {"torch": "torch", "jax": "jax", "flax": "jax", "tensorflow": "tensorflow", "keras": "tensorflow"}

if TYPE_CHECKING:
    from conjoin.auto import AutoModelForCausalLM, AutoModelForSeq2SeqLM
    from conjoin.composite import AutoConfig, EncoderDecoderConfig
    from conjoin.errors import CheckpointError, ConfigError, ConjoinError, DataError, InputError
    from conjoin.families.bart import BartConfig
    from conjoin.families.bert import BertConfig
    from conjoin.families.gpt2 import GPT2Config
    from conjoin.families.roberta import RobertaConfig
    from conjoin.flax import FlaxEncoderDecoderModel
    from conjoin.generation import GenerationConfig
    from conjoin.pipelines import pipeline
    from conjoin.tensorflow import TFEncoderDecoderModel
    from conjoin.tokens import AutoTokenizer, BartTokenizer, BertTokenizer, GPT2Tokenizer, RobertaTokenizer
    from conjoin.torch import EncoderDecoderModel


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f'module "conjoin" has no attribute "{name}"')
    try:
        found = getattr(importlib.import_module(_HOME[name]), name)
    except ModuleNotFoundError as error:
        framework = (error.name or "").split(".")[0]
        if framework not in _EXTRAS:
            raise
        extra = _EXTRAS[framework]
        raise ImportError(
            f'{name} needs {framework}, which is not installed; run: pip install "conjoin[{extra}]".'
        ) from None
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
