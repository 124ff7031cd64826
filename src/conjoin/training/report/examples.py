"""Examples for the report: what the model writes of a source, and which source tokens it looks at for each token."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from conjoin.tokens.pair import TokenizerLike
from conjoin.torch.model import EncoderDecoderModel
from conjoin.training.batches import collate
from conjoin.training.data import Pairs
from conjoin.training.stepping import source_pad
from conjoin.training.tokenise import Examples, Limits, tokenise

__all__ = ["Attention", "Example", "examples_of"]

WIDEST = 40  # source tokens in a picture


@dataclass(frozen=True)
class Attention:
    """How much each written token (T) looks at each source token (S): `weights` (T, S), the mean of heads and layers."""

    weights: NDArray[np.float32]
    written: list[str]
    read: list[str]
    left_out: int  # source tokens that are looked at less


@dataclass(frozen=True)
class Example:
    """One pair and what the model writes of its source; no attention where states are not those of single tokens."""

    source: str
    reference: str
    output: str
    attention: Attention | None


def examples_of(model: EncoderDecoderModel, pairs: Pairs, outputs: Sequence[str], limits: Limits) -> list[Example]:
    """The examples, with what the model looked at. The model is in evaluation mode."""
    ids = tokenise(model, Pairs(pairs.sources, list(outputs), pairs.name), limits)
    rows = zip(pairs.sources, pairs.targets, outputs, strict=True)
    return [Example(*texts, attention_of(model, ids, row)) for row, texts in enumerate(rows)]


@torch.no_grad()
def attention_of(model: EncoderDecoderModel, ids: Examples, row: int) -> Attention | None:
    """What one row looks at, special tokens left out, and all but the WIDEST source tokens that are looked at most."""
    assert model.tokenizers is not None  # the texts were made with them
    arrays = collate(ids, np.asarray([row]), source_pad(model))
    batch = {name: tensor.to(model.device) for name, tensor in arrays.items()}
    encoded = model.encode(batch["input_ids"], batch["attention_mask"])
    out = model(encoder_outputs=encoded, labels=batch["labels"], output_attentions=True)
    layers = [layer[0].float().mean(0) for layer in out.cross_attentions or () if layer is not None]
    read = pieces(model.tokenizers.source, ids.sources[row].tolist())
    written = pieces(model.tokenizers.target, ids.labels[row].tolist())
    if not layers or layers[0].shape != (len(written), len(read)):
        return None
    weights = torch.stack(layers).mean(0).cpu().numpy()
    rows, columns = (np.flatnonzero([one.strip() != "" for one in side]) for side in (written, read))
    kept = np.sort(columns[np.argsort(-weights[:, columns].sum(0), kind="stable")[:WIDEST]])
    if not len(rows) or not len(kept):
        return None
    return Attention(
        weights[np.ix_(rows, kept)],
        [written[i] for i in rows],
        [read[i] for i in kept],
        len(columns) - len(kept),
    )


def pieces(tokenizer: TokenizerLike, ids: Sequence[int]) -> list[str]:
    """The text of each token; nothing for a special one."""
    return [str(tokenizer.decode([i], skip_special_tokens=True)) for i in ids]
