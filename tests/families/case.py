"""One tiny model of transformers, what it can be in a join, and what transformers computes with it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from peers import randomise
from torch import Tensor

VOCAB, WIDTH, HEADS, FFN, LAYERS, POSITIONS = 61, 32, 4, 37, 2, 40
SIZES: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": FFN,
    "max_position_embeddings": POSITIONS,
}
TOKENS: dict[str, Any] = {"pad_token_id": 0, "bos_token_id": 3, "eos_token_id": 4}


def states_of(model: Any, ids: Tensor, mask: Tensor) -> Tensor:
    """An encoder's last hidden states."""
    found: Tensor = model(input_ids=ids, attention_mask=mask).last_hidden_state
    return found


def logits_of(model: Any, ids: Tensor, states: Tensor | None, mask: Tensor | None) -> Tensor:
    """A causal language model's logits, after a source where there is one."""
    source = {} if states is None else {"encoder_hidden_states": states, "encoder_attention_mask": mask}
    found: Tensor = model(input_ids=ids, use_cache=False, **source).logits
    return found


@dataclass(frozen=True)
class Case:
    """A family's tiny model: transformers' config, its classes for either side, and how transformers calls them."""

    name: str
    config: Any
    encoder: Any = None  # transformers' class of the encoder's folder; None where the family cannot be one
    decoder: Any = None  # that of the decoder's
    crosses: bool = False  # whether the peer's decoder cross-attends
    states: Callable[..., Tensor] = states_of
    logits: Callable[..., Tensor] = logits_of
    seed: int = 0
    offsets: bool = False  # whether the peer's encoder takes position_ids
    pad: int | None = None  # stands where the mask hides, for families whose positions skip it
    alone: Any = None  # transformers' class of an encoder that was saved alone, where it is not `encoder`
    lacks: str = "pooler"  # which of the peer's tensors a part that was saved alone need not have
    more: Callable[[Tensor], dict[str, Tensor]] = lambda ids: {}  # what the encoder is given too, by its ids
    prepare: Callable[[Any], None] = field(default=lambda model: None)  # after the weights were drawn

    def make(self, role: str, folder: Path) -> Any:
        """The peer's model of a side, with weights far from their defaults, saved in a folder."""
        config = type(self.config).from_dict(self.config.to_dict())
        kind = self.encoder if role == "encoder" else self.decoder
        if role == "decoder":
            config.is_decoder = True
            config.add_cross_attention = self.crosses
        torch.manual_seed(self.seed)
        model = kind(config)
        randomise(model, self.seed)
        if hasattr(model, "tie_weights"):
            model.tie_weights()
        self.prepare(model)
        model.eval()
        transformers.logging.set_verbosity_error()
        model.save_pretrained(folder)
        return model
