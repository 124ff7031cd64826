"""What stands before a stack that reads no text, as data: patches of images, sound waves, frames of a spectrum.

Shapes: B batch, C channels, T frames. A front knows the model's argument that it reads, and what may come there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from conjoin.errors import InputError

__all__ = ["SENSES", "Adapter", "Frames", "Front", "Patches", "Waves", "Window", "refuse_senses", "source_of"]

Array = Any
SENSES = ("pixel_values", "input_values", "input_features")  # the arguments of sources that are no text


@dataclass(frozen=True, kw_only=True)
class Patches:
    """An image in equal rectangles, each a token, after some tokens that are learned (https://arxiv.org/abs/2010.11929)."""

    argument: ClassVar[str] = "pixel_values"
    kind: ClassVar[str] = "vision-encoder-decoder"
    has_mask: ClassVar[bool] = False
    grows: ClassVar[bool] = False  # whether padding at the end, where a mask hides it, changes nothing

    channels: int
    image: tuple[int, int]  # height and width, pixels
    patch: tuple[int, int]
    marks: int = 1  # learned tokens before the patches: classification, distillation
    resizes: bool = False  # whether other sizes are read too, what was learned for each place being interpolated

    def grid(self, height: Any, width: Any) -> tuple[Any, Any]:
        """How many patches lie below each other and side by side in an image of so many pixels."""
        return height // self.patch[0], width // self.patch[1]

    def check(self, shape: tuple[Any, ...]) -> None:
        """Raises InputError for what is no batch of images of this kind."""
        refuse_rank(self.argument, shape, "(batch, channels, height, width)", 4)
        size, expected = tuple(shape[2:]), f"{self.image[0]} by {self.image[1]} pixels"
        if differs(shape[1], self.channels):
            raise InputError(
                f"pixel_values have {shape[1]} channels (shape {tuple(shape)}) and the encoder reads {self.channels}; "
                f"images are (batch, channels, height, width)."
            )
        if self.resizes:
            if any(isinstance(a, int) and a < b for a, b in zip(size, self.patch, strict=True)):
                raise InputError(
                    f"pixel_values are {size[0]} by {size[1]} pixels; at least one patch of {self.patch[0]} by "
                    f"{self.patch[1]} was expected."
                )
        elif any(differs(a, b) for a, b in zip(size, self.image, strict=True)):
            raise InputError(
                f"pixel_values are {size[0]} by {size[1]} pixels and the encoder has positions for {expected}; resize "
                f"the images with the model's image processor."
            )


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """Convolutions after a stack, each of which shortens what it made (wav2vec2 in XLS-R's translators)."""

    width: int  # of what comes out
    layers: int
    kernel: int
    stride: int


@dataclass(frozen=True, kw_only=True)
class Waves:
    """Samples of sound through convolutions, and a convolution for positions (https://arxiv.org/abs/2006.11477)."""

    argument: ClassVar[str] = "input_values"
    kind: ClassVar[str] = "speech-encoder-decoder"
    has_mask: ClassVar[bool] = True

    widths: tuple[int, ...]
    kernels: tuple[int, ...]
    strides: tuple[int, ...]
    bias: bool
    norm: Literal["group", "layer"]  # over time and after the first convolution alone; or over channels, after each
    activation: str
    feature_norm: bool  # before the projection
    dropout: float  # after it
    position_kernel: int
    position_groups: int
    stand_in: bool  # the file has a vector for frames that training hides; it is kept for who trains on elsewhere
    adapter: Adapter | None = None

    @property
    def grows(self) -> bool:
        """Whether padding at the end, where a mask hides it, changes nothing: group norm and adapters see it."""
        return self.norm == "layer" and self.adapter is None

    def frames(self, samples: Any) -> Any:
        """How many frames the convolutions make of so many samples, a number or an array of them."""
        for kernel, stride in zip(self.kernels, self.strides, strict=True):
            samples = (samples - kernel) // stride + 1
        return samples

    def states(self, samples: Any) -> Any:
        """How many states the decoder sees of so many samples."""
        length = self.frames(samples)
        for _ in range(0 if self.adapter is None else self.adapter.layers):
            length = (length - 1) // self.adapter.stride + 1  # type: ignore[union-attr]
        return length

    def check(self, shape: tuple[Any, ...]) -> None:
        """Raises InputError for what is no batch of sounds, or too short for one frame."""
        refuse_rank(self.argument, shape, "(batch, samples)", 2)
        if isinstance(shape[1], int) and self.frames(shape[1]) < 1:
            raise InputError(f"input_values have {shape[1]} samples, which is less than one frame of the encoder.")


@dataclass(frozen=True, kw_only=True)
class Frames:
    """Frames of a mel spectrum, every second of which is kept (Whisper, https://arxiv.org/abs/2212.04356)."""

    argument: ClassVar[str] = "input_features"
    kind: ClassVar[str] = "speech-encoder-decoder"
    has_mask: ClassVar[bool] = False
    grows: ClassVar[bool] = False

    mels: int
    length: int  # of the input, always

    def check(self, shape: tuple[Any, ...]) -> None:
        """Raises InputError for what is no batch of spectra of this kind."""
        refuse_rank(self.argument, shape, "(batch, mel bins, frames)", 3)
        if differs(shape[1], self.mels) or differs(shape[2], self.length):
            raise InputError(
                f"input_features have shape {tuple(shape)}; (batch, {self.mels}, {self.length}) was expected, as the "
                f"model's feature extractor pads them."
            )


Front = Patches | Waves | Frames


@dataclass(frozen=True, kw_only=True)
class Window:
    """A learned bias of attention scores by how far two patches lie apart, and for the token before them (BEiT)."""

    size: tuple[int, int]  # the grid that the tables were learned for
    own: bool  # a table in every layer
    shared: bool  # one for all

    @property
    def rows(self) -> int:
        """Of a table: each distance in two directions, and from, to and within the first token."""
        return (2 * self.size[0] - 1) * (2 * self.size[1] - 1) + 3


def source_of(
    front: Front | None, input_ids: Array | None, others: Mapping[str, Array | None]
) -> tuple[Array | None, Array | None]:
    """What came as a source: ids, and values of a sense; both None where neither came.

    What came first, as input_ids, is what the front reads. Raises InputError for an argument that the encoder does not
    read, and for two sources.
    """
    came = [name for name in SENSES if others.get(name) is not None]
    reads = "input_ids" if front is None else front.argument
    for name in came:
        if name != reads:
            raise InputError(f"encoder: {name} came and it reads {reads}.")
    if front is None:
        return input_ids, None
    if came and input_ids is not None:
        raise InputError(f"encoder: {reads} came twice, by its name and as input_ids or inputs.")
    return None, others[reads] if came else input_ids


def refuse_senses(front: Front | None, what: str) -> None:
    """Raises InputError where what works on texts was given an encoder of images or sounds."""
    if front is not None:
        raise InputError(
            f"{what} texts, and the model's encoder reads {front.argument}: make them with its processor, call the model or "
            f"its generate(), and decode with model.decoder.tokenizer."
        )


def refuse_rank(name: str, shape: tuple[Any, ...], expected: str, rank: int) -> None:
    """Raises InputError where an array has not as many axes as expected, or one of them is empty."""
    if len(shape) != rank or 0 in shape:
        raise InputError(f"{name} have shape {tuple(shape)}; {expected} was expected, none of them 0.")


def differs(a: Any, b: int) -> bool:
    """Whether two lengths are known to differ."""
    return isinstance(a, int) and a != b
