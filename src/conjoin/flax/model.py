"""FlaxEncoderDecoderModel: the joined model as a Flax NNX module on JAX."""

from typing import Any, ClassVar

from flax import nnx

from conjoin.backends import jax as backend
from conjoin.backends.jax import Kept, dropping_with, host
from conjoin.composite import EncoderDecoderConfig
from conjoin.engine.host.hosting import Hosted
from conjoin.flax.native import BaseEncoderDecoder
from conjoin.flax.parts import Decoder, Encoder
from conjoin.generation import GenerationConfig
from conjoin.model import JoinedModel
from conjoin.outputs import GenerateOutput
from conjoin.parts import checked_names

__all__ = ["FlaxEncoderDecoderModel"]


class FlaxEncoderDecoderModel(Hosted, JoinedModel, BaseEncoderDecoder):  # type: ignore[misc]
    """A pretrained encoder and a pretrained decoder as one sequence-to-sequence model, an NNX module.

    From `config` (random weights), or from ready parts: `encoder` an Encoder, `decoder` a Decoder of `conjoin.flax`.
    `seed` is that of its dropout, which is active after `model.train()`. Raises ConfigError for what cannot be joined.
    """

    ops: ClassVar = backend
    encoder_class = Encoder
    decoder_class = Decoder
    host = host
    config = Kept()

    def __init__(
        self,
        config: EncoderDecoderConfig | None = None,
        encoder: Encoder | None = None,
        decoder: Decoder | None = None,
        *,
        seed: int = 0,
    ) -> None:
        with dropping_with(nnx.Rngs(dropout=seed)):
            self.assemble(config, encoder, decoder)

    __call__ = checked_names(BaseEncoderDecoder.forward)

    def generate(
        self, input_ids: Any = None, generation_config: GenerationConfig | None = None, **settings: Any
    ) -> GenerateOutput:
        """As `EncoderDecoderModel.generate`, and always an output with `.sequences` (N, T), as Flax's users expect.

        On a CPU it runs on the engine's kernels where they can (docs/frameworks.md). Elsewhere the whole search is one program,
        compiled for a few lengths (16, 24, 32, 48...) into which calls are padded; sounds only where that changes nothing
        (convolutions with layer norms, no adapter), so pad others to few lengths. Within a `jax.jit` of yours it becomes
        part of that, and the sequences keep their full length.
        """
        found: GenerateOutput = super().generate(
            input_ids, generation_config, **{**settings, "return_dict_in_generate": True}
        )
        return found
