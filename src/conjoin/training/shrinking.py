"""A joined model with fewer of its decoder's layers: how a student of distillation begins."""

import copy
import re
from collections.abc import Sequence

import torch
from torch import Tensor

from conjoin.engine.narrow import require_float
from conjoin.errors import ConfigError
from conjoin.joining import kept_layers
from conjoin.spec import StackSpec
from conjoin.torch.custom import CustomEncoder
from conjoin.torch.model import EncoderDecoderModel

__all__ = ["shrunk", "spread"]

LAYER = re.compile(r"^(layers|relative)\.(\d+)\.")


def spread(count: int, layers: int) -> tuple[int, ...]:
    """Which `count` of so many layers a student keeps: evenly spaced, the first and the last among them; of one the last.

    As in Shleifer and Rush, section 3.2 of https://arxiv.org/abs/2010.13002, but for the last: docs/decisions.md. Raises
    ConfigError for more than there are.
    """
    if not 1 <= count <= layers:
        raise ConfigError(
            f"decoder_layers is {count} and the teacher's decoder has {layers}; 1 to {layers} was expected."
        )
    if count == 1:
        return (layers - 1,)
    return tuple(round(i * (layers - 1) / (count - 1)) for i in range(count))


@torch.no_grad()
def shrunk(model: EncoderDecoderModel, layers: Sequence[int]) -> EncoderDecoderModel:
    """A copy of a model whose decoder has only these layers, in this order, with their weights; nothing in it is new.

    What shares all weights shares its embeddings alone afterwards. Raises ConfigError for layers that are not there, of
    which none has cross-attention, and for an int8 or int4 model.
    """
    require_float(model, "teacher")
    spec = model.decoder.spec
    kept = kept_layers("decoder", layers, spec.layers) or ()
    config = model.config.copy()
    crossed = [new for new, old in enumerate(kept) if spec.has_cross(old)]
    if not crossed:
        raise ConfigError(f"none of the decoder's layers {list(kept)} has cross-attention; keep one that has.")
    changes = {config.decoder.by_role("decoder", "num_hidden_layers"): len(kept), **config.decoder.of_layers(kept)}
    if spec.cross_layers is not None:
        changes["cross_attention_layers"] = crossed
    config.decoder = config.decoder.copy(**changes)
    if config.share == "all":
        config.share = "embeddings"
    encoder = model.encoder.module if isinstance(model.encoder, CustomEncoder) else model.encoder
    student = EncoderDecoderModel(config=config, encoder=copy.deepcopy(encoder))
    theirs: dict[str, Tensor] = model.decoder.state_dict()
    names = {name: name_in_teacher(name, kept, spec) for name in student.decoder.state_dict()}
    student.decoder.load_state_dict({ours: theirs[name] for ours, name in names.items()})
    if model.enc_to_dec_proj is not None and student.enc_to_dec_proj is not None:
        student.enc_to_dec_proj.load_state_dict(model.enc_to_dec_proj.state_dict())
    student.encoder.tokenizer, student.decoder.tokenizer = model.encoder.tokenizer, model.decoder.tokenizer
    student.new_parameters = ()
    student.to(model.device).eval()
    return student


def name_in_teacher(name: str, kept: Sequence[int], spec: StackSpec) -> str:
    """What a parameter of the student's decoder is called in the teacher's; blocks that layers share are kept, all of them."""
    found = LAYER.match(name)
    each = found is not None and (found[1] == "layers" or (spec.relative is not None and spec.relative.each_layer))
    if found is None or spec.blocks or not each:
        return name
    return LAYER.sub(f"{found[1]}.{kept[int(found[2])]}.", name)
