"""Tiny random models with tokenizers: a BERT over a few words, a GPT-2 over bytes, and joins of them."""

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers.pre_tokenizers import ByteLevel

from conjoin import EncoderDecoderModel

transformers.logging.disable_progress_bar()

WORDS = "the a cat dog sat ran on under mat tree and then it was here there big small red blue"
TEXTS = [
    "the cat sat on the mat .",
    "a dog ran .",
    "the big red dog and the small blue cat ran under the tree .",
    "it was here !",
    "then the cat sat there , and it was big .",
]
TOKENS = (
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *WORDS.split(),
    ".",
    ",",
    "!",
    "?",
    "don",
    "'",
    "t",
    "##s",
    "##ed",
)
POSITIONS = 24
SEEDS = {"bert": 1, "gpt2": 2}  # with which different sources get different texts
SIZES: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}


def bert(folder: Path) -> Path:
    """A BERT as transformers writes it, with a vocab.txt."""
    config = transformers.BertConfig(vocab_size=len(TOKENS), max_position_embeddings=POSITIONS, **SIZES)
    transformers.BertModel(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(TOKENS) + "\n", encoding="utf-8")
    return folder


def gpt2(folder: Path) -> Path:
    """A GPT-2 over bytes, with a vocab.json and no merges."""
    tokens = [*sorted(ByteLevel.alphabet()), "<|endoftext|>"]
    end = len(tokens) - 1
    config = transformers.GPT2Config(
        vocab_size=len(tokens), n_positions=40, n_embd=16, n_layer=2, n_head=2, bos_token_id=end, eos_token_id=end
    )
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    return folder


def join(folder: Path, decoder: str) -> Path:
    """A joined model of a BERT and "bert" or "gpt2", saved in `folder`."""
    torch.manual_seed(SEEDS[decoder])
    parts = folder.parent / f"{folder.name}_parts"
    source = bert(parts / "encoder")
    target = (bert if decoder == "bert" else gpt2)(parts / "decoder")
    model = EncoderDecoderModel.from_encoder_decoder_pretrained(source, target)
    for name, parameter in model.named_parameters():
        if "norm" not in name and ".embed." not in name:
            parameter.data.mul_(6)
    model.save_pretrained(folder)
    return folder
