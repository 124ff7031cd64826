"""The three graphs of a joined model, as modules of torch over its parts: what is traced for an export.

Attention is asked for its weights where it can give them: it is then made product by product, a form that ONNX Runtime
knows to be attention. Nothing reads the weights, so that the graph does not give them.
"""

from typing import Any

import torch
from torch import Tensor

from conjoin.blocks import Inputs, Place, Trace

__all__ = ["DecoderGraph", "EncoderGraph", "MemoryGraph"]

Pairs = list[tuple[Tensor, Tensor]]


class EncoderGraph(torch.nn.Module):
    """Source ids -> states in the decoder's width."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """(B, S) each -> (B, S, W)."""
        plain = self.model.encoder.spec.attention is None
        found = self.model.encoder(input_ids, attention_mask, token_type_ids, output_attentions=plain)
        states: Tensor = self.model.memory(found["last_hidden_state"])
        return states


class MemoryGraph(torch.nn.Module):
    """States -> keys and values of each layer that reads them."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.decoder = model.decoder

    def forward(self, encoder_hidden_states: Tensor) -> list[Tensor]:
        """(B, S, W) -> (B, H, S, D), keys and values in turn."""
        return [one for pair in self.decoder.remember(encoder_hidden_states) for one in pair]


class DecoderGraph(torch.nn.Module):
    """Target ids after a source -> logits, and a cache with the new tokens behind it."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.decoder = model.decoder

    def forward(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        attention_mask: Tensor,
        encoder_attention_mask: Tensor,
        memory: Pairs,
        past: Pairs,
        key_position_ids: Tensor | None = None,
    ) -> list[Tensor]:
        """As layout.py says: logits, then keys and values in turn."""
        decoder = self.decoder
        order = None if key_position_ids is None else (position_ids[:1], key_position_ids)
        place = Place(self.rows(input_ids, position_ids), position_ids, order)
        given = Inputs(
            decoder.embed(input_ids, place.rows),
            place,
            attention_mask[:, None] != 0,
            memory,
            encoder_attention_mask[:, None, None, :] != 0,
            past,
            None,  # the cache grows
            Trace.of(attentions=decoder.spec.attention is None, hidden_states=False),
        )
        x, cache = decoder.hidden(given)
        return [decoder.logits(x), *(one for pair in cache for one in pair)]

    def rows(self, ids: Tensor, positions: Tensor) -> Tensor | None:
        """The rows of the position table (B, T), where there is one."""
        embed = self.decoder.embed
        if embed.position is None and embed.table is None:
            return None
        rows = positions + embed.offset
        return rows if embed.pad is None else torch.where(ids != embed.pad, rows, embed.pad)
