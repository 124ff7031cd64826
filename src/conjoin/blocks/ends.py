"""What stands before the layers and after them, written once over the backend `nn`: embeddings and head."""

from typing import Any

from conjoin.blocks.leaves import linear, norm_of
from conjoin.inputs import PLACES
from conjoin.positions import sinusoids
from conjoin.spec import NGram, StackSpec

__all__ = ["define"]

Array = Any


def define(nn: Any) -> tuple[Any, Any]:
    """The classes Embed and Head."""

    class Embed(nn.Module):
        """Token, position and type embeddings, summed."""

        def __init__(self, spec: StackSpec) -> None:
            super().__init__()
            self.scale, self.offset, self.pad, self.types = (
                spec.embed_scale,
                spec.position_offset,
                spec.position_pad,
                spec.types,
            )
            self.places = spec.positions
            self.scale_ready = spec.embed_scale if spec.embed_scales_ready else 1.0
            self.project_place = spec.embed_project
            summed = spec.width if spec.embed_project == "tokens" else spec.token_width
            self.token = nn.Embedding(spec.vocab, spec.token_width)
            self.position = nn.Embedding(spec.positions, summed) if has_table(spec) else None
            self.table = nn.Constant(sinusoids(spec)) if spec.sinusoidal else None
            if spec.types:
                self.segment = nn.Embedding(spec.types, summed)
            self.task = nn.Embedding(spec.task_types, summed) if spec.task_types else None
            self.grams = spec.attention.grams if isinstance(spec.attention, NGram) else 0
            self.stream: Any = nn.Embedding(self.grams, summed) if self.grams else None
            normed = spec.width if spec.embed_project == "sum" else summed
            self.norm = norm_of(nn, spec, normed) if spec.embed_norm else None
            self.norm_first = spec.embed_norm_first
            self.project = linear(nn, spec, "embed", spec.token_width, spec.width) if spec.embed_width else None
            self.dropout = nn.Dropout(spec.embed_dropout)

        def rows(self, ids: Array | None, length: int, start: Any, like: Array) -> Array | None:
            """The rows of the position table for `length` tokens of which `start` came before: (1, T) or (B, T)."""
            if self.position is None and self.table is None:
                return None
            if ids is None or self.pad is None:
                return nn.arange(length, like)[None] + (start + self.offset)
            real = ids != self.pad
            return nn.where(real, nn.cumsum(real) + start + (self.offset - 1), self.pad)

        def given_rows(self, positions: Array) -> Array:
            """The rows of positions that a caller counts as the family does. Raises InputError for one that there is not."""
            rows = positions if self.pad is not None else positions + self.offset
            if self.places:
                nn.check_range(rows, self.places, "position_ids", PLACES)
            return rows

        def forward(
            self,
            ids: Array | None,
            rows: Array | None,
            types: Array | None = None,
            embeddings: Array | None = None,
        ) -> Array:
            """ids (B, T), or ready token embeddings (B, T, W) -> (B, T, W); `rows` are of the position table.

            Where there is a predicting stream, it stands behind: (B, 2T, W).
            """
            x: Any = nn.scaled(embeddings, self.scale_ready) if ids is None else nn.scaled(self.token(ids), self.scale)
            x = self.projected(x, "tokens")
            if self.types:
                x = x + (self.segment(types) if types is not None else nn.first_row(self.segment))
            if self.norm is not None and self.norm_first:
                x = self.norm(x)
            if self.position is not None:
                x = x + self.position(rows)
            if self.stream is not None:
                x = nn.concat([x, self.predicting(rows, x)], 1)
            if self.task is not None:
                x = x + nn.first_row(self.task)
            if self.table is not None:
                x = x + nn.looked_up(self.table, rows, x)
            x = self.projected(x, "sum")
            x = self.dropout(x if self.norm is None or self.norm_first else self.norm(x))
            return self.projected(x, "last")

        def predicting(self, rows: Array, like: Array) -> Array:
            """The predicting stream (B, T, W), which stands a place on and knows no token."""
            position: Any = self.position
            told = position(rows + 1) + self.stream(nn.arange(self.grams, like)[self.grams - 1 :])
            return nn.broadcast(told, (nn.size(like, 0), nn.size(like, 1), like.shape[2]))

        def projected(self, x: Array, place: str) -> Array:
            """x in the stack's width, where the embeddings are projected in this place."""
            return x if self.project is None or self.project_place != place else self.project(x)

    class Head(nn.Module):
        """What stands between the last hidden state and the output embedding, and the bias after it."""

        def __init__(self, spec: StackSpec) -> None:
            super().__init__()
            self.transforms = spec.head == "transform"
            dense = spec.head in ("transform", "project")
            self.dense = linear(nn, spec, "head", spec.width, spec.output_width) if dense else None
            if self.transforms:
                self.activation = nn.activation(spec.head_activation or spec.activation)
                self.norm = norm_of(nn, spec, spec.output_width)
            self.bias = nn.vector(spec.vocab, trained=spec.head_bias == "trained") if spec.head_bias != "none" else None

        def forward(self, x: Array) -> Array:
            x = x if self.dense is None else self.dense(x)
            return self.norm(self.activation(x)) if self.transforms else x

    return Embed, Head


def has_table(spec: StackSpec) -> bool:
    """Whether positions are looked up in a table that was learned."""
    return spec.positions > 0 and not spec.sinusoidal
