"""Tiny GGUF files out of tiny models of transformers, written as llama.cpp's converter writes them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
import transformers
from gguf import GGMLQuantizationType as Kind
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from tokenizers.pre_tokenizers import ByteLevel

CORPUS = [
    "the cat sat on the mat, and the dog ran under the red tree",
    "don't you'll we've 1234 2024 3.14 HELLO Hello hello café naïve",
    "    four spaces and\ttabs\nand lines\n\nand the end the end",
] * 4
TEXTS = [
    "the cat sat on the mat",
    "  two spaces before, one after ",
    "lines\n\nand\ttabs \n  and    runs of spaces",
    "12345 x1y2 3.14 2024-01-02",
    "don't I'LL we've HELLO",
    "café naïve 日本語 😀 ﬁ Ⅳ",
    "e\u0301 composed é",
    "a<|endoftext|>b <|endoftext|> <think>the</think>",
    "",
    " ",
]
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6
SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}


def byte_level(pre: str, pattern: Any = None, **more: Any) -> dict[str, Any]:
    """A byte-level vocabulary with merges learnt from the corpus, a control token and two tokens of a user's."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pattern or ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=340, initial_alphabet=ByteLevel.alphabet(), show_progress=False)
    trained.train_from_iterator(CORPUS, trainer)
    learnt = trained.get_vocab()
    tokens = [*sorted(learnt, key=learnt.__getitem__), "<|endoftext|>", "<think>", "</think>"]
    model = trained.model.__getstate__()
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in json.loads(model)["merges"]]
    end = tokens.index("<|endoftext|>")
    return {
        "model": "gpt2",
        "pre": pre,
        "tokens": tokens,
        "token_type": [*[NORMAL] * end, CONTROL, USER_DEFINED, USER_DEFINED],
        "merges": merges,
        "bos_token_id": end,
        "eos_token_id": end,
        "padding_token_id": end,
        **more,
    }


def sentence_piece(fixed: Sequence[str] = ("<unk>", "<s>", "</s>"), **more: Any) -> dict[str, Any]:
    """A SentencePiece vocabulary with scores, learnt from the corpus; every byte has a token."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    trained.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=120, show_progress=False))
    learnt = trained.get_vocab()
    pieces = sorted(learnt, key=lambda piece: (len(piece) == 1, learnt[piece]))
    tokens = [*fixed, *(f"<0x{byte:02X}>" for byte in range(256)), *pieces, "<|endoftext|>"]
    return {
        "model": "llama",
        "pre": "default",
        "tokens": tokens,
        "scores": [*[0.0] * (len(fixed) + 256), *(-float(i) for i in range(len(pieces))), 0.0],
        "token_type": [UNKNOWN, *[CONTROL] * (len(fixed) - 1), *[BYTE] * 256, *[NORMAL] * len(pieces), CONTROL],
        "bos_token_id": 1,
        "eos_token_id": 2,
        "unknown_token_id": 0,
        **more,
    }


def word_piece(vocabulary: Sequence[str], **more: Any) -> dict[str, Any]:
    """A WordPiece vocabulary as llama.cpp spells it: beginnings of words are marked, what continues them is not."""
    kinds = [CONTROL if token.startswith("[") else NORMAL for token in vocabulary]
    spelled = [
        token if kind == CONTROL else token.removeprefix("##") if token.startswith("##") else f"▁{token}"
        for token, kind in zip(vocabulary, kinds, strict=True)
    ]
    named = {"unknown": "[UNK]", "seperator": "[SEP]", "padding": "[PAD]", "cls": "[CLS]", "mask": "[MASK]"}
    ids = {f"{name}_token_id": list(vocabulary).index(token) for name, token in named.items()}
    return {"model": "bert", "pre": "default", "tokens": spelled, "token_type": kinds, **ids, **more}


def interleaved(array: np.ndarray, heads: int) -> np.ndarray:
    """llama.cpp's order of a Llama's query and key rows: the two halves of each head alternate."""
    halves = array.reshape(heads, 2, array.shape[0] // heads // 2, *array.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(array.shape)


def converted(architecture: str, name: str, array: np.ndarray, config: Any) -> np.ndarray:
    """A tensor of transformers as llama.cpp's converter would store it."""
    if architecture == "llama" and "q_proj" in name:
        return interleaved(array, config.num_attention_heads)
    if architecture == "llama" and "k_proj" in name:
        return interleaved(array, config.num_key_value_heads)
    if architecture.startswith("gemma") and name.endswith("norm.weight"):
        return array + 1
    if architecture == "gpt2" and name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
        return np.ascontiguousarray(array.T)
    return array


def tensors(model: Any, architecture: str) -> dict[str, np.ndarray]:
    """The model's tensors under the names that the package gguf knows for them."""
    number = next(key for key, value in gguf.MODEL_ARCH_NAMES.items() if value == architecture)
    names = gguf.get_tensor_name_map(number, model.config.num_hidden_layers)
    found = {}
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and model.config.tie_word_embeddings:
            continue
        if name.startswith("pooler."):
            continue
        theirs = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert theirs is not None, name
        found[theirs] = converted(architecture, name, tensor.float().numpy(), model.config)
    return found


def metadata(model: Any, architecture: str) -> dict[str, Any]:
    """The keys that llama.cpp's converter writes for a model of transformers."""
    config = model.config
    found = {
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers,
        "attention.head_count": config.num_attention_heads,
    }
    if architecture == "gpt2":
        return found | {
            "feed_forward_length": 4 * config.hidden_size,
            "attention.layer_norm_epsilon": config.layer_norm_epsilon,
        }
    found["feed_forward_length"] = config.intermediate_size
    if architecture == "bert":
        return found | {
            "attention.layer_norm_epsilon": config.layer_norm_eps,
            "attention.causal": False,
            "pooling_type": 1,
        }
    rope = config.rope_parameters
    found |= {
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "rope.freq_base": rope.get("full_attention", rope)["rope_theta"],
    }
    if architecture in ("qwen3", "gemma", "gemma2", "gemma3"):
        found |= {"attention.key_length": config.head_dim, "attention.value_length": config.head_dim}
    if architecture in ("gemma2", "gemma3"):
        found["attention.sliding_window"] = config.sliding_window
    if architecture == "gemma2":
        found["attn_logit_softcapping"] = config.attn_logit_softcapping
        found["final_logit_softcapping"] = config.final_logit_softcapping
    if architecture == "llama":
        found |= {"rope.dimension_count": config.head_dim, "vocab_size": config.vocab_size}
    return found


def put(writer: Any, key: str, value: Any) -> None:
    """One entry of metadata, of the type that llama.cpp uses for it."""
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)


def write(
    path: Path,
    architecture: str,
    keys: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    tokenizer: Mapping[str, Any],
    kind: Kind = Kind.F32,
) -> Path:
    """A GGUF file; matrices are stored as `kind`, the rest in float32."""
    writer = gguf.GGUFWriter(path, architecture)
    put(writer, "general.name", "tiny")
    for key, value in keys.items():
        put(writer, f"{architecture}.{key}", value)
    for key, value in tokenizer.items():
        put(writer, f"tokenizer.ggml.{key}", value)
    for name, array in arrays.items():
        used = kind if array.ndim > 1 and "position" not in name and "token_types" not in name else Kind.F32
        writer.add_tensor(name, gguf.quantize(array, used), raw_dtype=used)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def of_model(path: Path, architecture: str, model: Any, tokenizer: Mapping[str, Any], kind: Kind = Kind.F32) -> Path:
    """A GGUF file of a model of transformers."""
    return write(path, architecture, metadata(model, architecture), tensors(model, architecture), tokenizer, kind)


def tiny_model(architecture: str, vocabulary: int) -> Any:
    """A random model of transformers; norms and biases are not left at their first values, so that no mistake hides."""
    torch.manual_seed(0)
    kinds = {
        "llama": lambda: transformers.LlamaConfig(**SIZES, vocab_size=vocabulary, rms_norm_eps=1e-5),
        "qwen2": lambda: transformers.Qwen2Config(**SIZES, vocab_size=vocabulary, tie_word_embeddings=True),
        "qwen3": lambda: transformers.Qwen3Config(**SIZES, vocab_size=vocabulary, head_dim=128),
        "phi3": lambda: transformers.Phi3Config(**SIZES, vocab_size=vocabulary, pad_token_id=0),
        "gemma": lambda: transformers.GemmaConfig(**SIZES, vocab_size=vocabulary, head_dim=32),
        "gemma2": lambda: transformers.Gemma2Config(**SIZES, vocab_size=vocabulary, head_dim=256, sliding_window=16),
        "gemma3": lambda: transformers.Gemma3TextConfig(
            **SIZES, vocab_size=vocabulary, head_dim=256, sliding_window=16
        ),
        "gpt2": lambda: transformers.GPT2Config(
            vocab_size=vocabulary, n_positions=1024, n_embd=64, n_layer=2, n_head=4
        ),
    }
    model = transformers.AutoModelForCausalLM.from_config(kinds[architecture]())
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()
