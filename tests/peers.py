"""Tiny random transformers models to compare conjoin with, batches for them, and what both compute under the same names."""

import copy
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers.models.bart.modeling_bart import BartEncoder

from conjoin.families import role_of
from conjoin.torch import EncoderDecoderModel
from conjoin.weights import to_file

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

ENCODERS, DECODERS = ("bert", "roberta", "bart"), ("bert", "roberta", "gpt2", "bart")
PAIRS = list(itertools.product(ENCODERS, DECODERS))
SOURCE_VOCAB, TARGET_VOCAB = 47, 61
START, BOS, EOS = 5, 3, 4
PAD = {"bert": 0, "roberta": 1, "bart": 1, "gpt2": 2}
POSITIONS = 40
UNUSED_WHERE_UNTIED = ("predictions.bias", "lm_head.bias")  # transformers then adds their namesake in `decoder`
THEIRS = {
    ("encoder", "bert"): transformers.BertModel,
    ("encoder", "roberta"): transformers.RobertaModel,
    ("encoder", "bart"): BartEncoder,
    ("decoder", "bert"): transformers.BertLMHeadModel,
    ("decoder", "roberta"): transformers.RobertaForCausalLM,
    ("decoder", "gpt2"): transformers.GPT2LMHeadModel,
    ("decoder", "bart"): transformers.BartForCausalLM,
}


def config(
    kind: str, role: str, *, width: int, heads: int, vocab: int, activation: str | None = None, **more: Any
) -> Any:
    """A tiny config of transformers. `more` are the family's own fields."""
    decoder = role == "decoder"
    sides = {"is_decoder": decoder, "add_cross_attention": decoder}
    if kind in ("bert", "roberta"):
        cls = transformers.BertConfig if kind == "bert" else transformers.RobertaConfig
        own = {
            "vocab_size": vocab,
            "hidden_size": width,
            "num_hidden_layers": 2,
            "num_attention_heads": heads,
            "intermediate_size": 37,
            "max_position_embeddings": POSITIONS if kind == "bert" else POSITIONS + 2,
            "hidden_act": activation or "gelu",
        }
    elif kind == "gpt2":
        cls = transformers.GPT2Config
        own = {
            "vocab_size": vocab,
            "n_embd": width,
            "n_layer": 2,
            "n_head": heads,
            "n_positions": POSITIONS,
            "activation_function": activation or "gelu_new",
            "bos_token_id": BOS,
            "eos_token_id": EOS,
        }
    else:
        cls = transformers.BartConfig
        own = {
            "vocab_size": vocab,
            "d_model": width,
            "encoder_layers": 2,
            "decoder_layers": 2,
            "encoder_attention_heads": heads,
            "decoder_attention_heads": heads,
            "encoder_ffn_dim": 37,
            "decoder_ffn_dim": 29,
            "max_position_embeddings": POSITIONS,
            "activation_function": activation or "gelu",
            "is_encoder_decoder": False,
            "forced_eos_token_id": None,
        }
    return cls(**{**own, **sides, **more})


@torch.no_grad()
def randomise(model: torch.nn.Module, seed: int) -> None:
    """Gives every parameter, norms and biases included, a value far from its default, so that each one matters."""
    draw, seen = torch.Generator().manual_seed(seed), set()
    for path, owner in model.named_modules():
        for name, tensor in [*owner.named_parameters(recurse=False), *owner.named_buffers(recurse=False)]:
            if id(tensor) in seen or not tensor.is_floating_point() or name in owner._non_persistent_buffers_set:
                continue
            seen.add(id(tensor))
            noise = torch.randn(tensor.shape, generator=draw)
            if type(owner).__name__.lower().endswith("norm"):
                tensor.copy_(1 + 0.3 * noise if name == "weight" else 0.2 * noise)
            elif isinstance(owner, torch.nn.Embedding):
                tensor.copy_((2.0 if "position" in path or path.endswith("wpe") else 0.4) * noise)
            else:
                tensor.copy_((0.3 if tensor.ndim > 1 else 0.2) * noise)


@dataclass
class Peer:
    """A model of transformers and conjoin's, read from the folder that transformers wrote."""

    encoder: str
    decoder: str
    theirs: Any
    ours: EncoderDecoderModel
    folder: Path

    @property
    def pad(self) -> int:
        """The target's padding."""
        return PAD[self.decoder]


def make(
    folder: Path,
    encoder: str,
    decoder: str,
    *,
    widths: tuple[int, int] = (32, 24),
    vocab: tuple[int, int] = (SOURCE_VOCAB, TARGET_VOCAB),
    encoder_more: tuple[tuple[str, Any], ...] = (),
    decoder_more: tuple[tuple[str, Any], ...] = (),
    seed: int = 0,
    eos: int | tuple[int, ...] = EOS,
) -> Peer:
    """Builds a pair, saves it as transformers does, and opens it with conjoin. The decoder's start token is START."""
    a = config(encoder, "encoder", width=widths[0], heads=4, vocab=vocab[0], **dict(encoder_more))
    b = config(decoder, "decoder", width=widths[1], heads=3, vocab=vocab[1], **dict(decoder_more))
    theirs = transformers.EncoderDecoderModel(
        encoder=THEIRS["encoder", encoder](a), decoder=THEIRS["decoder", decoder](b)
    )
    randomise(theirs, seed)
    theirs.tie_weights()
    theirs.eval()
    theirs.config.decoder_start_token_id, theirs.config.pad_token_id = START, PAD[decoder]
    for name, value in {
        "decoder_start_token_id": START,
        "pad_token_id": PAD[decoder],
        "bos_token_id": BOS,
        "eos_token_id": list(eos) if isinstance(eos, tuple) else eos,
        "forced_eos_token_id": None,
    }.items():
        setattr(theirs.generation_config, name, value)
    theirs.save_pretrained(folder)
    return Peer(encoder, decoder, theirs, EncoderDecoderModel.from_pretrained(folder), folder)


def source(pair: Peer, rows: int = 4, length: int = 9, seed: int = 1) -> dict[str, Tensor]:
    """Source ids and their mask: a full row, padding on the right, padding on the left, and a short row."""
    vocab = pair.ours.config.encoder.vocab_size
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(6, vocab, (rows, length), generator=draw)
    mask = torch.ones_like(ids)
    for row, hidden in enumerate((slice(0, 0), slice(length - 3, None), slice(0, 2), slice(3, None))):
        if row < rows:
            mask[row, hidden] = 0
    return {"input_ids": ids.masked_fill(mask == 0, PAD[pair.encoder]), "attention_mask": mask}


def target(pair: Peer, rows: int = 4, length: int = 7, seed: int = 2) -> Tensor:
    """Target ids without special tokens."""
    vocab = pair.ours.config.decoder.vocab_size
    return torch.randint(6, vocab, (rows, length), generator=torch.Generator().manual_seed(seed))


def labels(pair: Peer, rows: int = 4, length: int = 7) -> Tensor:
    """Labels with rows of different lengths, the rest -100."""
    ids = target(pair, rows, length)
    ids[1, 5:], ids[-1, 2:] = -100, -100
    return ids


def gradients(model: EncoderDecoderModel) -> dict[str, Tensor]:
    """Our gradients under transformers' names and in its layout; zero where there is none."""
    found: dict[str, Tensor] = {}
    for role in ("encoder", "decoder"):
        part = model.part(role)
        ours = {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in part.named_parameters()}
        renamed = to_file(
            role_of(part.config.model_type, role),
            ours,
            layers=range(part.spec.layers),
            heads=part.spec.heads,
            concat=torch.cat,
        )
        found |= {f"{role}.{name}": gradient for name, gradient in renamed.items()}
    if model.enc_to_dec_proj is not None:
        found |= {f"enc_to_dec_proj.{n}": p.grad for n, p in model.enc_to_dec_proj.named_parameters()}
    return found


def compared_gradients(pair: Peer) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Name, their gradient and ours, of every parameter that transformers has, each tied tensor once."""
    ours, names = gradients(pair.ours), {}
    for name, parameter in pair.theirs.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), (parameter, []))[1].append(name)
    for parameter, called in names.values():
        if any("pooler" in name for name in called):  # a join has no use for it
            continue
        if parameter.grad is None and any(name.endswith(UNUSED_WHERE_UNTIED) for name in called):
            continue
        known = [name for name in called if name in ours]
        assert known, f"conjoin has no parameter for {called}"
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        yield known[0], gradient, ours[known[0]]


def near(a: Tensor, b: Tensor, tolerance: float) -> bool:
    """Whether no difference is above the tolerance, which grows with values above 1."""
    return far(a, b) < tolerance * max(1.0, float(a.detach().abs().max()))


def far(a: Tensor, b: Tensor) -> float:
    """The largest difference of two arrays of one shape."""
    assert a.shape == b.shape, (a.shape, b.shape)
    return float((a.detach().double() - b.detach().double()).abs().max())


def eager(pair: Peer) -> Any:
    """Their model with the attention that returns its weights; built anew, since its hooks do not survive a copy."""
    parts = {}
    for role, kind in (("encoder", pair.encoder), ("decoder", pair.decoder)):
        own = copy.deepcopy(getattr(pair.theirs.config, role))
        own._attn_implementation = "eager"
        parts[role] = THEIRS[role, kind](own)
    model = transformers.EncoderDecoderModel(**parts)
    model.load_state_dict(pair.theirs.state_dict())
    model.config.decoder_start_token_id, model.config.pad_token_id = START, pair.pad
    return model.eval()
