"""conjoin: any pretrained encoder joined with any pretrained decoder into one sequence-to-sequence model.

The names below are loaded when they are first used; importing conjoin imports no framework.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "AlbertConfig": "conjoin.families.albert",
    "AutoConfig": "conjoin.composite",
    "AutoModelForCausalLM": "conjoin.auto",
    "AutoModelForSeq2SeqLM": "conjoin.auto",
    "AutoTokenizer": "conjoin.tokens",
    "BartConfig": "conjoin.families.bart",
    "BartTokenizer": "conjoin.tokens",
    "BartTokenizerFast": "conjoin.tokens",
    "BeitConfig": "conjoin.families.beit",
    "BertConfig": "conjoin.families.bert",
    "BertGenerationConfig": "conjoin.families.bert_generation",
    "BertTokenizer": "conjoin.tokens",
    "BertTokenizerFast": "conjoin.tokens",
    "BigBirdConfig": "conjoin.families.big_bird",
    "BioGptConfig": "conjoin.families.biogpt",
    "BlenderbotConfig": "conjoin.families.blenderbot",
    "BlenderbotSmallConfig": "conjoin.families.blenderbot_small",
    "BloomConfig": "conjoin.families.bloom",
    "CamembertConfig": "conjoin.families.camembert",
    "CheckpointError": "conjoin.errors",
    "CompileConfig": "conjoin.compiling",
    "ConfigError": "conjoin.errors",
    "ConjoinError": "conjoin.errors",
    "ConstraintsNotMetWarning": "conjoin.constraints",
    "ConvBertConfig": "conjoin.families.convbert",
    "Data2VecTextConfig": "conjoin.families.data2vec_text",
    "DataError": "conjoin.errors",
    "DebertaConfig": "conjoin.families.deberta",
    "DebertaV2Config": "conjoin.families.deberta_v2",
    "DeiTConfig": "conjoin.families.deit",
    "Dinov2Config": "conjoin.families.dinov2",
    "DisjunctiveConstraint": "conjoin.constraints",
    "DistilBertConfig": "conjoin.families.distilbert",
    "ElectraConfig": "conjoin.families.electra",
    "EncoderDecoderConfig": "conjoin.composite",
    "EncoderDecoderModel": "conjoin.torch",
    "ErnieConfig": "conjoin.families.ernie",
    "EuroBertConfig": "conjoin.families.eurobert",
    "FlaxEncoderDecoderModel": "conjoin.flax",
    "GPT2Config": "conjoin.families.gpt2",
    "GPT2Tokenizer": "conjoin.tokens",
    "GPT2TokenizerFast": "conjoin.tokens",
    "GPTJConfig": "conjoin.families.gptj",
    "GPTNeoConfig": "conjoin.families.gpt_neo",
    "GPTNeoXConfig": "conjoin.families.gpt_neox",
    "Gemma2Config": "conjoin.families.gemma2",
    "Gemma3Config": "conjoin.families.gemma3",
    "Gemma3TextConfig": "conjoin.families.gemma3_text",
    "GemmaConfig": "conjoin.families.gemma",
    "GenerationConfig": "conjoin.generation",
    "GraniteConfig": "conjoin.families.granite",
    "HubertConfig": "conjoin.families.hubert",
    "InputError": "conjoin.errors",
    "LEDConfig": "conjoin.families.led",
    "LlamaConfig": "conjoin.families.llama",
    "LongT5Config": "conjoin.families.longt5",
    "LongformerConfig": "conjoin.families.longformer",
    "M2M100Config": "conjoin.families.m2m_100",
    "MBartConfig": "conjoin.families.mbart",
    "MPNetConfig": "conjoin.families.mpnet",
    "MT5Config": "conjoin.families.mt5",
    "MarianConfig": "conjoin.families.marian",
    "MegatronBertConfig": "conjoin.families.megatron_bert",
    "MistralConfig": "conjoin.families.mistral",
    "ModernBertConfig": "conjoin.families.modernbert",
    "ModernBertDecoderConfig": "conjoin.families.modernbert_decoder",
    "MvpConfig": "conjoin.families.mvp",
    "NomicBertConfig": "conjoin.families.nomic_bert",
    "OPTConfig": "conjoin.families.opt",
    "Olmo2Config": "conjoin.families.olmo2",
    "OnnxEncoderDecoderModel": "conjoin.onnx.model",
    "PLBartConfig": "conjoin.families.plbart",
    "PegasusConfig": "conjoin.families.pegasus",
    "Phi3Config": "conjoin.families.phi3",
    "PhiConfig": "conjoin.families.phi",
    "PhrasalConstraint": "conjoin.constraints",
    "ProphetNetConfig": "conjoin.families.prophetnet",
    "Qwen2Config": "conjoin.families.qwen2",
    "Qwen3Config": "conjoin.families.qwen3",
    "RemBertConfig": "conjoin.families.rembert",
    "RoFormerConfig": "conjoin.families.roformer",
    "RobertaConfig": "conjoin.families.roberta",
    "RobertaPreLayerNormConfig": "conjoin.families.roberta_prelayernorm",
    "RobertaTokenizer": "conjoin.tokens",
    "RobertaTokenizerFast": "conjoin.tokens",
    "SmolLM3Config": "conjoin.families.smollm3",
    "StableLmConfig": "conjoin.families.stablelm",
    "T5Config": "conjoin.families.t5",
    "TFEncoderDecoderModel": "conjoin.tensorflow",
    "TrOCRConfig": "conjoin.families.trocr",
    "UMT5Config": "conjoin.families.umt5",
    "ViTConfig": "conjoin.families.vit",
    "VocabularyMap": "conjoin.decoding.shortlist",
    "WatermarkingConfig": "conjoin.generation",
    "Wav2Vec2Config": "conjoin.families.wav2vec2",
    "WhisperConfig": "conjoin.families.whisper",
    "XGLMConfig": "conjoin.families.xglm",
    "XLMRobertaConfig": "conjoin.families.xlm_roberta",
    "XLMRobertaXLConfig": "conjoin.families.xlm_roberta_xl",
    "export_onnx": "conjoin.onnx.export",
    "pipeline": "conjoin.pipelines",
}
__all__ = [
    "AlbertConfig",
    "AutoConfig",
    "AutoModelForCausalLM",
    "AutoModelForSeq2SeqLM",
    "AutoTokenizer",
    "BartConfig",
    "BartTokenizer",
    "BartTokenizerFast",
    "BeitConfig",
    "BertConfig",
    "BertGenerationConfig",
    "BertTokenizer",
    "BertTokenizerFast",
    "BigBirdConfig",
    "BioGptConfig",
    "BlenderbotConfig",
    "BlenderbotSmallConfig",
    "BloomConfig",
    "CamembertConfig",
    "CheckpointError",
    "CompileConfig",
    "ConfigError",
    "ConjoinError",
    "ConstraintsNotMetWarning",
    "ConvBertConfig",
    "Data2VecTextConfig",
    "DataError",
    "DebertaConfig",
    "DebertaV2Config",
    "DeiTConfig",
    "Dinov2Config",
    "DisjunctiveConstraint",
    "DistilBertConfig",
    "ElectraConfig",
    "EncoderDecoderConfig",
    "EncoderDecoderModel",
    "ErnieConfig",
    "EuroBertConfig",
    "FlaxEncoderDecoderModel",
    "GPT2Config",
    "GPT2Tokenizer",
    "GPT2TokenizerFast",
    "GPTJConfig",
    "GPTNeoConfig",
    "GPTNeoXConfig",
    "Gemma2Config",
    "Gemma3Config",
    "Gemma3TextConfig",
    "GemmaConfig",
    "GenerationConfig",
    "GraniteConfig",
    "HubertConfig",
    "InputError",
    "LEDConfig",
    "LlamaConfig",
    "LongT5Config",
    "LongformerConfig",
    "M2M100Config",
    "MBartConfig",
    "MPNetConfig",
    "MT5Config",
    "MarianConfig",
    "MegatronBertConfig",
    "MistralConfig",
    "ModernBertConfig",
    "ModernBertDecoderConfig",
    "MvpConfig",
    "NomicBertConfig",
    "OPTConfig",
    "Olmo2Config",
    "OnnxEncoderDecoderModel",
    "PLBartConfig",
    "PegasusConfig",
    "Phi3Config",
    "PhiConfig",
    "PhrasalConstraint",
    "ProphetNetConfig",
    "Qwen2Config",
    "Qwen3Config",
    "RemBertConfig",
    "RoFormerConfig",
    "RobertaConfig",
    "RobertaPreLayerNormConfig",
    "RobertaTokenizer",
    "RobertaTokenizerFast",
    "SmolLM3Config",
    "StableLmConfig",
    "T5Config",
    "TFEncoderDecoderModel",
    "TrOCRConfig",
    "UMT5Config",
    "ViTConfig",
    "VocabularyMap",
    "WatermarkingConfig",
    "Wav2Vec2Config",
    "WhisperConfig",
    "XGLMConfig",
    "XLMRobertaConfig",
    "XLMRobertaXLConfig",
    "export_onnx",
    "pipeline",
]
_EXTRAS = {
    "torch": "torch",
    "jax": "jax",
    "flax": "jax",
    "tensorflow": "tensorflow",
    "keras": "tensorflow",
    "onnxruntime": "onnx",
}

if TYPE_CHECKING:
    from conjoin.auto import AutoModelForCausalLM, AutoModelForSeq2SeqLM
    from conjoin.compiling import CompileConfig
    from conjoin.composite import AutoConfig, EncoderDecoderConfig
    from conjoin.decoding.shortlist import VocabularyMap
    from conjoin.errors import CheckpointError, ConfigError, ConjoinError, DataError, InputError
    from conjoin.families.albert import AlbertConfig
    from conjoin.families.bart import BartConfig
    from conjoin.families.beit import BeitConfig
    from conjoin.families.bert import BertConfig
    from conjoin.families.bert_generation import BertGenerationConfig
    from conjoin.families.big_bird import BigBirdConfig
    from conjoin.families.biogpt import BioGptConfig
    from conjoin.families.blenderbot import BlenderbotConfig
    from conjoin.families.blenderbot_small import BlenderbotSmallConfig
    from conjoin.families.bloom import BloomConfig
    from conjoin.families.camembert import CamembertConfig
    from conjoin.families.convbert import ConvBertConfig
    from conjoin.families.data2vec_text import Data2VecTextConfig
    from conjoin.families.deberta import DebertaConfig
    from conjoin.families.deberta_v2 import DebertaV2Config
    from conjoin.families.deit import DeiTConfig
    from conjoin.families.dinov2 import Dinov2Config
    from conjoin.families.distilbert import DistilBertConfig
    from conjoin.families.electra import ElectraConfig
    from conjoin.families.ernie import ErnieConfig
    from conjoin.families.eurobert import EuroBertConfig
    from conjoin.families.gemma import GemmaConfig
    from conjoin.families.gemma2 import Gemma2Config
    from conjoin.families.gemma3 import Gemma3Config
    from conjoin.families.gemma3_text import Gemma3TextConfig
    from conjoin.families.gpt2 import GPT2Config
    from conjoin.families.gpt_neo import GPTNeoConfig
    from conjoin.families.gpt_neox import GPTNeoXConfig
    from conjoin.families.gptj import GPTJConfig
    from conjoin.families.granite import GraniteConfig
    from conjoin.families.hubert import HubertConfig
    from conjoin.families.led import LEDConfig
    from conjoin.families.llama import LlamaConfig
    from conjoin.families.longformer import LongformerConfig
    from conjoin.families.longt5 import LongT5Config
    from conjoin.families.m2m_100 import M2M100Config
    from conjoin.families.marian import MarianConfig
    from conjoin.families.mbart import MBartConfig
    from conjoin.families.megatron_bert import MegatronBertConfig
    from conjoin.families.mistral import MistralConfig
    from conjoin.families.modernbert import ModernBertConfig
    from conjoin.families.modernbert_decoder import ModernBertDecoderConfig
    from conjoin.families.mpnet import MPNetConfig
    from conjoin.families.mt5 import MT5Config
    from conjoin.families.mvp import MvpConfig
    from conjoin.families.nomic_bert import NomicBertConfig
    from conjoin.families.olmo2 import Olmo2Config
    from conjoin.families.opt import OPTConfig
    from conjoin.families.pegasus import PegasusConfig
    from conjoin.families.phi import PhiConfig
    from conjoin.families.phi3 import Phi3Config
    from conjoin.families.plbart import PLBartConfig
    from conjoin.families.prophetnet import ProphetNetConfig
    from conjoin.families.qwen2 import Qwen2Config
    from conjoin.families.qwen3 import Qwen3Config
    from conjoin.families.rembert import RemBertConfig
    from conjoin.families.roberta import RobertaConfig
    from conjoin.families.roberta_prelayernorm import RobertaPreLayerNormConfig
    from conjoin.families.roformer import RoFormerConfig
    from conjoin.families.smollm3 import SmolLM3Config
    from conjoin.families.stablelm import StableLmConfig
    from conjoin.families.t5 import T5Config
    from conjoin.families.trocr import TrOCRConfig
    from conjoin.families.umt5 import UMT5Config
    from conjoin.families.vit import ViTConfig
    from conjoin.families.wav2vec2 import Wav2Vec2Config
    from conjoin.families.whisper import WhisperConfig
    from conjoin.families.xglm import XGLMConfig
    from conjoin.families.xlm_roberta import XLMRobertaConfig
    from conjoin.families.xlm_roberta_xl import XLMRobertaXLConfig
    from conjoin.flax import FlaxEncoderDecoderModel
    from conjoin.generation import GenerationConfig, WatermarkingConfig
    from conjoin.onnx.export import export_onnx
    from conjoin.onnx.model import OnnxEncoderDecoderModel
    from conjoin.pipelines import pipeline
    from conjoin.tensorflow import TFEncoderDecoderModel
    from conjoin.tokens import (
        AutoTokenizer,
        BartTokenizer,
        BartTokenizerFast,
        BertTokenizer,
        BertTokenizerFast,
        GPT2Tokenizer,
        GPT2TokenizerFast,
        RobertaTokenizer,
        RobertaTokenizerFast,
    )
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
