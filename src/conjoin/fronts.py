"""What makes tokens of images and sounds, written once: `define(nn)` makes native modules of a backend's leaf layers.

Shapes: B batch, C channels, T frames, S tokens, W width. Convolutions have channels last.
"""

from collections.abc import Mapping
from typing import Any

from conjoin.grids import stretched_grid
from conjoin.senses import Frames, Patches, Waves
from conjoin.spec import StackSpec

__all__ = ["EMBEDS", "define"]

Array = Any
EMBEDS: Mapping[type, str] = {Patches: "PatchEmbed", Waves: "WaveEmbed", Frames: "FrameEmbed"}
CONVOLUTION_EPS = 1e-5  # of the norms between wav2vec2's convolutions, whatever its config says of the others


def define(nn: Any) -> Mapping[str, Any]:
    """The classes PatchEmbed, WaveEmbed, FrameEmbed and Shortener, native to the framework of the backend `nn`.

    An embed is called with values and a mask (B, T) of the frames that are seen, and gives embeddings (B, S, W).
    """

    class PatchEmbed(nn.Module):
        """Patches of an image, after learned tokens, with learned positions."""

        project: Any = None

        def __init__(self, spec: StackSpec) -> None:
            super().__init__()
            front: Any = spec.front
            self.front = front
            self.marks = nn.ModuleList([nn.Embedding(1, spec.width) for _ in range(front.marks)])
            self.patch = nn.Conv(front.channels, spec.width, front.patch, front.patch)
            self.position: Any = nn.Embedding(spec.positions, spec.width) if spec.positions else None
            self.dropout = nn.Dropout(spec.embed_dropout)

        def forward(self, values: Array, seen: Array | None = None) -> Array:
            """values (B, C, height, width) -> (B, S, W)."""
            x = self.patch(nn.channels_last(values))
            grid = x.shape[1:3]
            x = nn.in_line(x)
            one = (nn.size(x, 0), 1, x.shape[-1])
            x = nn.concat([*(nn.broadcast(nn.first_row(mark)[None, None], one) for mark in self.marks), x], 1)
            return self.dropout(x if self.position is None else x + self.places(x, grid))

        def places(self, x: Array, grid: tuple[Any, Any]) -> Array:
            """The positions (1, S, W) of a grid of patches."""
            old, new, marks = self.front.grid(*self.front.image), tuple(grid), self.front.marks
            rows = self.position(nn.arange(marks + old[0] * old[1], x)[None])
            if not self.front.resizes or new == old:
                return rows
            return nn.concat([rows[:, :marks], nn.mixed(stretched_grid(old, new), rows[:, marks:])], 1)

    class WaveEmbed(nn.Module):
        """Samples of sound, through convolutions and a projection, with what a wide convolution says of positions."""

        def __init__(self, spec: StackSpec) -> None:
            super().__init__()
            front: Any = spec.front
            inputs = (1, *front.widths[:-1])
            layers = zip(inputs, front.widths, front.kernels, front.strides, strict=True)
            self.convs = nn.ModuleList([nn.Conv(i, o, (k,), (s,), bias=front.bias) for i, o, k, s in layers])
            norms = (
                [nn.TimeNorm(front.widths[0], CONVOLUTION_EPS)]
                if front.norm == "group"
                else [nn.LayerNorm(width, CONVOLUTION_EPS) for width in front.widths]
            )
            self.conv_norms = nn.ModuleList(norms)
            self.activation = nn.activation(front.activation)
            self.feature_norm = nn.LayerNorm(spec.embed_width, spec.norm_eps) if front.feature_norm else None
            self.project = nn.Linear(spec.embed_width, spec.width)
            self.feature_dropout = nn.Dropout(front.dropout)
            self.near = nn.Conv(
                spec.width,
                spec.width,
                (front.position_kernel,),
                (1,),
                padding=front.position_kernel // 2,
                groups=front.position_groups,
                normed=True,
            )
            self.stand_in = nn.vector(spec.width, trained=False) if front.stand_in else None
            self.norm = nn.LayerNorm(spec.width, spec.norm_eps) if spec.embed_norm else None
            self.dropout = nn.Dropout(spec.embed_dropout)

        def forward(self, values: Array, seen: Array | None = None) -> Array:
            """values (B, samples) -> (B, T, W)."""
            x = values[..., None]
            for i, conv in enumerate(self.convs):
                x = conv(x)
                x = self.activation(self.conv_norms[i](x) if i < len(self.conv_norms) else x)
            x = self.feature_dropout(self.project(x if self.feature_norm is None else self.feature_norm(x)))
            if seen is not None:
                x = nn.where(seen[..., None], x, 0.0)
            x = x + self.activation(self.near(x)[:, : nn.size(x, 1)])  # an even kernel makes one frame too many
            return self.dropout(x if self.norm is None else self.norm(x))

    class FrameEmbed(nn.Module):
        """Frames of a spectrum, through two convolutions, with the positions of the file."""

        project: Any = None

        def __init__(self, spec: StackSpec) -> None:
            super().__init__()
            front: Any = spec.front
            self.convs = nn.ModuleList(
                [
                    nn.Conv(front.mels, spec.width, (3,), (1,), padding=1),
                    nn.Conv(spec.width, spec.width, (3,), (2,), padding=1),
                ]
            )
            self.activation = nn.activation("gelu")
            self.position = nn.Embedding(spec.positions, spec.width)
            self.dropout = nn.Dropout(spec.embed_dropout)

        def forward(self, values: Array, seen: Array | None = None) -> Array:
            """values (B, mels, frames) -> (B, frames / 2, W)."""
            x = nn.channels_last(values)
            for conv in self.convs:
                x = self.activation(conv(x))
            return self.dropout(x + self.position(nn.arange(nn.size(x, 1), x)[None]))

    class Shortener(nn.Module):
        """An adapter: convolutions of which each halves the length, one half of its channels a gate for the other."""

        def __init__(self, spec: StackSpec) -> None:
            super().__init__()
            adapter: Any = spec.adapter
            narrows = adapter.width != spec.width
            self.project = nn.Linear(spec.width, adapter.width) if narrows else None
            self.norm: Any = nn.LayerNorm(adapter.width, CONVOLUTION_EPS) if narrows else None
            self.convs = nn.ModuleList(
                [
                    nn.Conv(adapter.width, 2 * adapter.width, (adapter.kernel,), (adapter.stride,), padding=1)
                    for _ in range(adapter.layers)
                ]
            )
            self.gate = nn.activation("sigmoid")

        def forward(self, x: Array) -> Array:
            """(B, T, W) -> (B, shorter, the adapter's width)."""
            if self.project is not None:
                x = self.norm(self.project(x))
            for conv in self.convs:
                y = conv(x)
                half = y.shape[-1] // 2
                x = y[..., :half] * self.gate(y[..., half:])
            return x

    return {c.__name__: c for c in (PatchEmbed, WaveEmbed, FrameEmbed, Shortener)}
