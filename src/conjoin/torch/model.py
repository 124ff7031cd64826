"""EncoderDecoderModel in PyTorch: the joined model with what only PyTorch has."""

from typing import ClassVar

import torch

from conjoin.backends import torch as backend
from conjoin.composite import EncoderDecoderConfig
from conjoin.errors import InputError
from conjoin.model import JoinedModel
from conjoin.parts import checked_names
from conjoin.spec import RoleName
from conjoin.torch.native import BaseEncoderDecoder
from conjoin.torch.parts import Decoder, Encoder, Placed

__all__ = ["EncoderDecoderModel"]


class EncoderDecoderModel(Placed, JoinedModel, BaseEncoderDecoder):  # type: ignore[misc]
    """A pretrained encoder and a pretrained decoder as one sequence-to-sequence model.

    From `config` (random weights), or from ready parts: `encoder` an Encoder, `decoder` a Decoder. `config.share` says
    what the two sides have in common. Raises ConfigError for what cannot be joined.
    """

    ops: ClassVar = backend
    encoder_class = Encoder
    decoder_class = Decoder
    encoder: Encoder
    decoder: Decoder
    enc_to_dec_proj: torch.nn.Linear | None

    def __init__(
        self,
        config: EncoderDecoderConfig | None = None,
        encoder: Encoder | None = None,
        decoder: Decoder | None = None,
    ) -> None:
        super().__init__()
        self.assemble(config, encoder, decoder)

    forward = checked_names(BaseEncoderDecoder.forward)

    def resize_token_embeddings(self, new_num_tokens: int, side: RoleName | None = None) -> torch.nn.Module:
        """Resizes one side's vocabulary; both where they share it, and the only one where there is one. Returns the embedding.

        Raises InputError where the sides are apart and `side` does not say which.
        """
        if self.config.share == "none":
            if side is None and self.encoder.spec.front is not None:
                side = "decoder"
            if side is None:
                raise InputError('resize_token_embeddings: say which side\'s, with side="encoder" or side="decoder".')
            part: Encoder | Decoder = self.part(side)
            return part.resize_token_embeddings(new_num_tokens)
        self.encoder.shared_with_partner = self.decoder.shared_with_partner = None
        self.encoder.resize_token_embeddings(new_num_tokens)
        found = self.decoder.resize_token_embeddings(new_num_tokens)
        self.tie()
        return found
