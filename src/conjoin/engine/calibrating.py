"""int4 weights of a joined model, each layer's rounded for what comes into it when the model reads and writes.

Nobody brings data. The model reads documents that come with the package, and texts that it makes up itself (as in LLM-QAT, Liu et
al., https://arxiv.org/abs/2305.17888), which are in its own languages, and writes about all of them. One pass then rounds each
layer as its inputs arrive (compensated.py): every text goes through twice, in float32, and as the layers before leave it, which
are rounded already.
"""

import gzip
import json
import logging
from typing import Any

import torch
from torch import Tensor
from torch.nn import Linear, Module
from torch.nn.functional import linear
from torch.nn.utils.rnn import pad_sequence

from conjoin.data import split_file
from conjoin.engine.arrays import Array
from conjoin.engine.compensated import Inputs
from conjoin.engine.kernels.layout import Mode
from conjoin.engine.narrow import narrow_modules
from conjoin.engine.quantised import quantised, widened
from conjoin.engine.tensors import bits
from conjoin.generation import GenerationConfig

__all__ = ["calibrate"]

logger = logging.getLogger("conjoin")

DOCUMENTS, MADE_UP = 256, 64  # texts of each kind
SOURCE, TARGET = 64, 32  # tokens of each, and of what is written about it
TOGETHER = 16  # sources that are written about in one call
DAMPING = 0.03  # of the mean square of an input, added to each one's; GPTQ has 0.01


@torch.no_grad()
def calibrate(model: Any, exact: Any) -> None:
    """Rounds the layers of a joined int4 model anew. `exact` is the same in float32, and is spent for it."""
    logger.warning(
        "The layers are rounded to int4 for what they read, which takes seconds or, of a large model, minutes; "
        "save_pretrained() or `conjoin export --to conjoin` keeps what comes of it."
    )
    given = read_and_written(exact)
    rounding = Rounding(given["attention_mask"].bool())
    int4 = {name: part for name, part in narrow_modules(model) if part.panels.mode is Mode.INT4_WEIGHTS}
    weights = {name: exact.get_submodule(name).weight for name in int4}
    for name in int4:
        inside, _, last = name.rpartition(".")
        layer = exact.get_submodule(name)
        if isinstance(layer, Linear):  # or shared, and done under another name
            setattr(exact.get_submodule(inside), last, Twice(layer, rounding))
    run(exact, {name: x.repeat(2, 1) for name, x in given.items()})
    for name, part in int4.items():
        if weights[name] in rounding.made:
            part.keep(*rounding.made[weights[name]])


def run(model: Any, given: dict[str, Tensor]) -> None:
    """Everything but the logits, which are larger than all the rest."""
    mask = given["attention_mask"]
    states = model.encode(given["input_ids"], mask)["last_hidden_state"]
    model.decoder(
        input_ids=given["decoder_input_ids"],
        encoder_hidden_states=model.memory(states),
        encoder_attention_mask=model.encoder.memory_mask(mask, states.shape[1]),
        return_logits=False,
    )


class Twice(Module):
    """A linear layer for a batch whose first half lies as float layers leave it, and the other as rounded ones do."""

    def __init__(self, layer: Linear, rounding: "Rounding") -> None:
        super().__init__()
        self.layer, self.rounding = layer, rounding

    def forward(self, x: Tensor) -> Tensor:
        """x (2B, ..., in) -> (2B, ..., out), rounded when the first inputs come; or anything else as it is."""
        if x.dim() < 3 or len(x) != 2 * len(self.rounding.mask):
            return self.layer(x)  # type: ignore[no-any-return]
        exact, near = x.chunk(2)
        weight = self.rounding.weight(self.layer.weight, x)
        return torch.cat([self.layer(exact), linear(near, weight, self.layer.bias)])


class Rounding:
    """Weights in int4, by the parameter that they are made of: both sides, or many layers, may share one."""

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask  # (B, S): which tokens of the source are real
        self.made: dict[Tensor, tuple[Array, Array]] = {}  # numbers and scales of quantised.py
        self.seen: tuple[Tensor, Inputs] | None = None  # queries, keys and values read the same

    def weight(self, weight: Tensor, x: Tensor) -> Tensor:
        """What the rounded weight stands for, rounded for x where it was not yet."""
        if weight not in self.made:
            if self.seen is None or self.seen[0] is not x:
                self.seen = x, inputs_of(*(self.real(half) for half in x.chunk(2)))
            self.made[weight] = quantised(bits(weight), Mode.INT4_WEIGHTS, self.seen[1])
        return torch.from_numpy(widened(*self.made[weight], Mode.INT4_WEIGHTS, weight.shape[1]))

    def real(self, x: Tensor) -> Tensor:
        """(B, ..., in) -> (tokens, in), without what only fills sources up."""
        return x[self.mask] if x.shape[:-1] == self.mask.shape else x.flatten(0, -2)


def inputs_of(exact: Tensor, near: Tensor) -> Inputs:
    """What the inputs of a layer (n, in) have in common, and how far they lie from what they should be."""
    moments = (near.T @ near / len(near)).double()
    importance = moments.diagonal().clone()
    moments.diagonal().add_(DAMPING * importance.mean() + torch.finfo(torch.float32).tiny)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(moments))
    drift = ((exact - near).T @ near / len(near)).double() @ inverse
    order = importance.argsort(descending=True, stable=True)
    factor = torch.linalg.cholesky(inverse[order][:, order], upper=True)
    return Inputs(importance.float().numpy(), order.numpy(), factor.float().numpy(), drift.float().numpy())


def read_and_written(model: Any) -> dict[str, Tensor]:
    """Sources, and what the model writes about them, as a call takes them."""
    asked = model.config.generation
    start = next((x for x in (asked.decoder_start_token_id, asked.bos_token_id) if isinstance(x, int)), 0)
    model.config.generation = GenerationConfig(
        decoder_start_token_id=start, eos_token_id=asked.eos_token_id, pad_token_id=0, do_sample=True, top_k=0
    )
    spec, length = model.encoder.spec, min(SOURCE, model.encoder.spec.max_length)
    given = padded(list(torch.randint(spec.vocab, (MADE_UP, length), generator=torch.Generator().manual_seed(0))))
    if model.tokenizers is not None:
        ids = written(model, given, -(-length // TARGET))
        parts = model.tokenizers.target.batch_decode(ids, skip_special_tokens=True)
        made_up = [" ".join(parts[row::MADE_UP]) for row in range(MADE_UP)]
        read = model.tokenizers.source([*documents(), *made_up], truncation=True, max_length=length)["input_ids"]
        given = padded([torch.tensor(row) for row in read if row])
    return {**given, "decoder_input_ids": written(model, given, 1)}


def documents() -> list[str]:
    """Some of the package's."""
    with gzip.open(split_file("train"), "rt", encoding="utf-8") as file:
        lines = file.readlines()
    return [json.loads(line)["document"] for line in lines[:: len(lines) // DOCUMENTS][:DOCUMENTS]]


def padded(rows: list[Tensor]) -> dict[str, Tensor]:
    """Sources of any lengths, as a call takes them."""
    real = [torch.ones_like(row) for row in rows]
    return {"input_ids": pad_sequence(rows, batch_first=True), "attention_mask": pad_sequence(real, batch_first=True)}


def written(model: Any, given: dict[str, Tensor], each: int) -> Tensor:
    """So many samples about each source, (sources * each, tokens), none of which ends early."""
    count = min(TARGET, model.decoder.spec.max_length - 1)
    asked = {"num_return_sequences": each, "min_new_tokens": count, "max_new_tokens": count}
    starts = range(0, len(given["input_ids"]), TOGETHER)  # what has one seed is drawn with the same numbers
    some = ({name: x[start : start + TOGETHER] for name, x in given.items()} for start in starts)
    return torch.cat([model.generate(**rows, **asked, seed=seed) for seed, rows in enumerate(some)])
