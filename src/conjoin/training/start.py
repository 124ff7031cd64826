"""A start for what a join made new, from which a model learns to copy at once: worth most where data or time is short.

Three closed forms, each only where the join made that part new (figures in docs/decisions.md):

- the head's transform near the identity, so that a state near a token's embedding already names that token;
- the head's bias at the log-frequency of the targets' tokens;
- in the last layer's cross-attention, values and output such that attending to a source token writes that token's own
  embedding: a ridge regression from the encoder's last states back to the embeddings, split in two by its singular
  values. In every layer this would drown what the decoder knows; in the last it is what the head reads.
"""

import numpy as np
import torch
from torch import Tensor

from conjoin.torch.model import EncoderDecoderModel
from conjoin.training.tokenise import Examples

__all__ = ["copy_ready"]

PAIRS = 400  # sources that the regression sees
RIDGE = 50.0
BATCH = 25
SLOPE, OFFSET = 0.5, 3.0  # where GELU is nearly linear; the norm after it takes the offset away
UNSEEN = 0.1  # the count of a token that no target has


@torch.no_grad()
def copy_ready(model: EncoderDecoderModel, examples: Examples, seed: int) -> None:
    """Changes what is in `model.new_parameters` as said above; nothing where a part is not new or the two sides differ.

    Deterministic: the one random matrix it needs is drawn from the seed.
    """
    new = set(model.new_parameters)
    if "decoder.head.dense.weight" in new and model.decoder.head.transforms:
        head_as_identity(model.decoder.head)
    if "decoder.head.bias" in new:
        model.decoder.head.bias.copy_(log_frequency(examples, len(model.decoder.head.bias)))
    if f"decoder.layers.{len(model.decoder.layers) - 1}.cross.v.weight" in new and reads_alike(model):
        values_as_embeddings(model, examples, seed)


def head_as_identity(head: torch.nn.Module) -> None:
    """Makes dense, GELU and norm together give back what comes in, up to the norm."""
    dense: torch.nn.Linear = head.dense  # type: ignore[assignment]
    dense.weight.copy_(SLOPE * torch.eye(len(dense.weight)))
    dense.bias.fill_(OFFSET)


def log_frequency(examples: Examples, vocab: int) -> Tensor:
    """(V,) log-frequencies of the labels' tokens, the most frequent at 0."""
    tokens = torch.from_numpy(np.concatenate(examples.labels)).long()
    counts = torch.bincount(tokens, minlength=vocab) + UNSEEN
    logs = (counts / counts.sum()).log()
    return logs - logs.max()


def reads_alike(model: EncoderDecoderModel) -> bool:
    """Whether both sides have the same tokens and the same width, so that a source token can be written as it stands."""
    pair = model.tokenizers
    same_tokens = pair is not None and pair.same
    return same_tokens and model.enc_to_dec_proj is None and model.decoder.output is None


def values_as_embeddings(model: EncoderDecoderModel, examples: Examples, seed: int) -> None:
    """Sets v and o of the last cross-attention to the two halves of a ridge regression, its output of unit spread."""
    states, ids = encoded(model, examples)
    table: Tensor = model.decoder.embed.token.weight
    aims = table[ids].float()
    if len(set(ids.tolist())) < 2:  # nothing to tell apart
        return
    mean, centred = states.mean(0), states - states.mean(0)
    width = centred.shape[1]
    gram = centred.T @ centred + RIDGE * torch.eye(width)
    back = torch.linalg.solve(gram, centred.T @ (aims - aims.mean(0)))  # (W, W): states @ back is near the embedding
    u, s, vt = torch.linalg.svd(back)
    turn = torch.linalg.qr(torch.randn(width, width, generator=torch.Generator().manual_seed(seed)))[0]
    first, second = u * s.sqrt() @ turn, turn.T @ (s.sqrt()[:, None] * vt)
    cross = model.decoder.layers[-1].cross
    cross.v.weight.copy_(first.T)
    cross.v.bias.copy_(-(mean @ first))
    cross.o.weight.copy_(second.T / (centred @ back).std())
    cross.o.bias.zero_()


def encoded(model: EncoderDecoderModel, examples: Examples) -> tuple[Tensor, Tensor]:
    """The encoder's last states (N, W) of some sources' tokens, and the tokens (N,); special tokens are left out."""
    model.eval()
    special = torch.tensor(sorted({0, *special_ids(model)}))
    states, tokens = [], []
    rows = sorted(range(min(PAIRS, len(examples))), key=lambda i: len(examples.sources[i]))
    for at in range(0, len(rows), BATCH):
        ids, mask = padded([examples.sources[i].tolist() for i in rows[at : at + BATCH]])
        ids = ids.to(model.device)
        out = model.encode(input_ids=ids, attention_mask=mask.to(model.device))["last_hidden_state"].float().cpu()
        keep = mask.bool() & ~torch.isin(ids.cpu(), special)
        states.append(out[keep])
        tokens.append(ids.cpu()[keep])
    return torch.cat(states), torch.cat(tokens)


def special_ids(model: EncoderDecoderModel) -> list[int]:
    """The source tokenizer's special tokens."""
    pair = model.tokenizers
    assert pair is not None
    source = pair.source
    found = (source.pad_token_id, source.cls_token_id, source.sep_token_id, source.bos_token_id, source.eos_token_id)
    return [i for i in found if i is not None]


def padded(sources: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Ids and mask (B, S) of sources of unlike lengths."""
    longest = max(map(len, sources))
    ids = torch.tensor([s + [0] * (longest - len(s)) for s in sources])
    mask = torch.tensor([[1] * len(s) + [0] * (longest - len(s)) for s in sources])
    return ids, mask
