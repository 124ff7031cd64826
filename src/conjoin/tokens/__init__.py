"""Tokenizers: texts to ids and back, the source and target pair of a model, and what a folder of one holds.

auto.py        AutoTokenizer: which class a folder holds
classes.py     BERT, RoBERTa, BART, GPT-2
tokenizer.py   the calls: texts to ids, padding
vocabulary.py  tokens, special tokens, ids to texts
encoding.py    the result of a call, and tensors of every framework
aligning.py    which characters, words and tokens belong together
inputs.py      the texts of a call, checked
plan.py        what padding and truncation a call asks for
special.py     special tokens as attributes
backend.py     parts of the `tokenizers` library
settings.py    tokenizer_config.json, checked
loading.py     opening a folder
saving.py      writing one
pair.py        the source and the target tokenizer; tokenizers of transformers
"""

from conjoin.tokens.auto import AutoTokenizer
from conjoin.tokens.classes import (
    BartTokenizer,
    BartTokenizerFast,
    BertTokenizer,
    BertTokenizerFast,
    GPT2Tokenizer,
    GPT2TokenizerFast,
    RobertaTokenizer,
    RobertaTokenizerFast,
)
from conjoin.tokens.encoding import BatchEncoding
from conjoin.tokens.pair import TARGET_FOLDER, TokenizerLike, TokenizerPair, as_tokenizer
from conjoin.tokens.plan import NO_LENGTH_LIMIT
from conjoin.tokens.tokenizer import Tokenizer

__all__ = [
    "NO_LENGTH_LIMIT",
    "TARGET_FOLDER",
    "AutoTokenizer",
    "BartTokenizer",
    "BartTokenizerFast",
    "BatchEncoding",
    "BertTokenizer",
    "BertTokenizerFast",
    "GPT2Tokenizer",
    "GPT2TokenizerFast",
    "RobertaTokenizer",
    "RobertaTokenizerFast",
    "Tokenizer",
    "TokenizerLike",
    "TokenizerPair",
    "as_tokenizer",
]
