"""EncoderDecoderModel in PyTorch: the joined model with what only PyTorch has."""

import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar, TypeVar

import torch

from conjoin.backends import torch as backend
from conjoin.chunks import chunks_of
from conjoin.composite import EncoderDecoderConfig
from conjoin.decoding.call import ARGUMENTS
from conjoin.generation import GENERATION_FIELDS
from conjoin.joining import shared_names
from conjoin.model import JoinedModel
from conjoin.parts import checked_names
from conjoin.seq2seq.cache import DecoderCache
from conjoin.torch.custom import CustomEncoder, as_encoder
from conjoin.torch.native import BaseEncoderDecoder
from conjoin.torch.parts import Decoder, Encoder, Placed

__all__ = ["EncoderDecoderModel"]

FORWARD = inspect.signature(BaseEncoderDecoder.forward)
ENCODE = inspect.signature(BaseEncoderDecoder.encode)
base_forward = checked_names(BaseEncoderDecoder.forward)
base_encode = checked_names(BaseEncoderDecoder.encode)

Method = TypeVar("Method", bound=Callable[..., Any])


def in_the_words_of(method: Any) -> Callable[[Method], Method]:
    """Gives a method the signature and the text of the one that it stands for."""

    def renamed(own: Method) -> Method:
        functools.update_wrapper(own, method)
        return own

    return renamed


def named(signature: inspect.Signature, model: Any, args: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """A method's arguments by name."""
    found = {**signature.bind_partial(model, *args).arguments, **given}
    del found["self"]
    return found


class EncoderDecoderModel(Placed, JoinedModel, BaseEncoderDecoder):  # type: ignore[misc]
    """A pretrained encoder and a pretrained decoder as one sequence-to-sequence model.

    From `config` (random weights), or from ready parts: `encoder` an Encoder, `decoder` a Decoder. `config.share` says
    what the two sides have in common. `encoder` may be any torch module that returns hidden states (B, S, W) (custom.py):
    calls then give it what it names, and W is that of its config, or `encoder_hidden_size`. Raises ConfigError for what
    cannot be joined.
    """

    ops: ClassVar = backend
    encoder_class = Encoder
    decoder_class = Decoder
    other_encoders = (CustomEncoder,)
    accepts_loss_kwargs = True  # what transformers' Trainer asks before it gives num_items_in_batch
    encoder: Encoder | CustomEncoder
    decoder: Decoder
    enc_to_dec_proj: torch.nn.Linear | None

    def __init__(
        self,
        config: EncoderDecoderConfig | None = None,
        encoder: Encoder | torch.nn.Module | None = None,
        decoder: Decoder | None = None,
        *,
        encoder_hidden_size: int | None = None,
    ) -> None:
        super().__init__()
        self.assemble(config, as_encoder(encoder, config, encoder_hidden_size), decoder)

    @classmethod
    def accept_encoder(cls, options: dict[str, Any]) -> None:
        """Takes a torch module as `encoder_model`, with its width as `encoder_hidden_size`."""
        ready = options.get("model")
        if isinstance(ready, torch.nn.Module):
            options["model"] = as_encoder(ready, None, options.pop("hidden_size", None))

    @in_the_words_of(BaseEncoderDecoder.forward)
    def forward(self, *args: Any, **given: Any) -> Any:
        """As every framework's; an encoder of the user's own reads its source first."""
        if isinstance(self.encoder, CustomEncoder):
            args, given = (), self.read_by_custom(named(FORWARD, self, args, given), FORWARD.parameters)
        return base_forward(self, *args, **given)

    @in_the_words_of(BaseEncoderDecoder.encode)
    def encode(self, *args: Any, **given: Any) -> Any:
        """The encoder's output; of an encoder of the user's own with whatever inputs it names."""
        if isinstance(self.encoder, CustomEncoder):
            return self.encoder(**named(ENCODE, self, args, given))
        return base_encode(self, *args, **given)

    def prepare_inputs_for_generation(
        self, decoder_input_ids: Any, past_key_values: DecoderCache | None = None, **given: Any
    ) -> dict[str, Any]:
        """The arguments of the next step's call: of ids (B, T) those that the cache does not have yet.

        For loops of others, PEFT's among them; `generate` has its own.
        """
        known = 0 if past_key_values is None else past_key_values.length
        return {**given, "decoder_input_ids": decoder_input_ids[:, known:], "past_key_values": past_key_values}

    def state_dict(self, *args: Any, prefix: str = "", **given: Any) -> dict[str, Any]:  # type: ignore[override]
        """Parameters and buffers by name, those that both sides share once, under the decoder's names, as in a saved folder.

        So that safetensors, which holds no tensor under two names, takes it, from transformers' trainers too.
        `load_state_dict` fills in the encoder's.
        """
        found: dict[str, Any] = super().state_dict(*args, prefix=prefix, **given)
        for name in self.held_twice():
            found.pop(prefix + name, None)
        return found

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name, kept in self.held_twice().items():
            if prefix + kept in state_dict:
                state_dict.setdefault(prefix + name, state_dict[prefix + kept])
        super()._load_from_state_dict(state_dict, prefix, *args)  # type: ignore[no-untyped-call]

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As torch's; what both sides share stays one, with `assign` too."""
        shared = self.held_twice()
        found = super().load_state_dict(state_dict, strict, assign)  # type: ignore[no-untyped-call]
        for name, kept in shared.items():
            parent, _, own = name.rpartition(".")
            self.get_submodule(parent)._parameters[own] = self.get_parameter(kept)
        return found

    def held_twice(self) -> dict[str, str]:
        """The encoder's names of the parameters that the decoder holds too, and the decoder's.

        Without values yet, on torch's "meta" device, it holds none twice, but will hold those that its config names.
        """
        if self.device.type == "meta":
            names = shared_names(self.config, [name for name, _ in self.encoder.named_parameters()])
            return {f"encoder.{name}": f"decoder.{name}" for name in names}
        kept = {id(p): f"decoder.{name}" for name, p in self.decoder.named_parameters()}
        mine = self.encoder.named_parameters(remove_duplicate=False)
        return {f"encoder.{name}": kept[id(p)] for name, p in mine if id(p) in kept}

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """How many numbers it has, each shared one counted once; without those of embedding tables if asked."""
        found = super().num_parameters(only_trainable)
        tables = (
            {m.weight for m in self.modules() if isinstance(m, torch.nn.Embedding)} if exclude_embeddings else set()
        )
        return found - sum(table.numel() for table in tables if table.requires_grad or not only_trainable)

    def read_first(self, input_ids: Any, given: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """What `generate` was given, with the source read by an encoder of the user's own."""
        if not isinstance(self.encoder, CustomEncoder) or given.get("encoder_outputs") is not None:
            return input_ids, given
        ids = given.pop("inputs", None) if input_ids is None else input_ids
        with backend.no_gradients(self):
            found = self.read_by_custom({**given, "input_ids": ids}, [*ARGUMENTS, *GENERATION_FIELDS])
        states = found["encoder_outputs"]["last_hidden_state"]
        seen_by_rules = ids is not None and tuple(ids.shape) == tuple(states.shape[:2])
        return (ids if seen_by_rules else None), found

    def read_by_custom(self, given: dict[str, Any], known: Collection[str]) -> dict[str, Any]:
        """The arguments of a call whose source the encoder of the user's own has read."""
        assert isinstance(self.encoder, CustomEncoder)
        if given.get("encode_in_chunks", self.config.generation.encode_in_chunks):
            chunks_of(self.encoder)  # says that there are none
        return self.encoder.encoded(given, known)
