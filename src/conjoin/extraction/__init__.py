"""Extractive summaries: an encoder that chooses sentences (BertSumExt), alone or as the first stage of a join; in PyTorch.

sentences.py   texts to sentences
documents.py   documents and summaries from files and data sets
oracle.py      which sentences make a summary best
encoding.py    sentences as the encoder reads them
model.py       Extractor: encoder and head
lessons.py     what it learns of documents
files.py       what marks a folder as an extractor's
selecting.py   from scores to sentences
train.py       training
report.py      what came of it, as a page
evaluate.py    ROUGE beside the first sentences and the oracle's
"""

import importlib
from typing import TYPE_CHECKING, Any

from conjoin.extraction.documents import Documents, read_documents
from conjoin.extraction.files import is_extractor
from conjoin.extraction.oracle import oracle

if TYPE_CHECKING:
    from conjoin.extraction.evaluate import evaluate_extractor
    from conjoin.extraction.model import Extractor, Settings
    from conjoin.extraction.train import extractor_for, train_extractor

__all__ = [
    "Documents",
    "Extractor",
    "Settings",
    "evaluate_extractor",
    "extractor_for",
    "is_extractor",
    "oracle",
    "read_documents",
    "train_extractor",
]

NEED_TORCH = {
    "Extractor": "model",
    "Settings": "model",
    "evaluate_extractor": "evaluate",
    "extractor_for": "train",
    "train_extractor": "train",
}


def __getattr__(name: str) -> Any:
    if name not in NEED_TORCH:
        raise AttributeError(f'module "conjoin.extraction" has no attribute "{name}"')
    return getattr(importlib.import_module(f"conjoin.extraction.{NEED_TORCH[name]}"), name)
