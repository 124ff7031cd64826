"""EncoderDecoderModel in PyTorch: two parts joined, loaded, saved, trained, and generated from."""

from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import Tensor

from conjoin.backends import torch as backend
from conjoin.card import model_card
from conjoin.checkpoint import atomic_folder, require_space
from conjoin.composite import EncoderDecoderConfig, Share
from conjoin.config import CONFIG_FILE
from conjoin.decoding.generate import generate
from conjoin.errors import ConfigError, InputError, refuse_unknown
from conjoin.generation import GENERATION_FIELDS, GenerationConfig
from conjoin.joining import (
    CrossAttentionInit,
    check_share,
    check_tokenizers,
    check_vocabulary,
    model_folder,
    shared_names,
    special_tokens,
    split_options,
)
from conjoin.outputs import GenerateOutput
from conjoin.parameters import PartName, members
from conjoin.spec import RoleName
from conjoin.tokens.finding import find_pair
from conjoin.tokens.pair import TokenizerPair
from conjoin.torch.initial import initialise, on_meta, tensor_of
from conjoin.torch.loading import (
    PROJECTION,
    ROLES,
    check_kinds,
    initialise_projection,
    load_folder,
    load_sides,
    open_side,
    tokenizer_of,
)
from conjoin.torch.native import BaseEncoderDecoder
from conjoin.torch.parts import (
    Decoder,
    Encoder,
    as_device,
    as_dtype,
    checked_names,
    file_tensors,
    save_tensors,
    write_json,
)
from conjoin.torch.sized import Sized

__all__ = ["EncoderDecoderModel"]

AttentionImplementation = Literal["sdpa", "eager"]


class EncoderDecoderModel(Sized, BaseEncoderDecoder):  # type: ignore[misc]
    """A pretrained encoder and a pretrained decoder as one sequence-to-sequence model.

    From `config` (random weights), or from ready parts: `encoder` an Encoder, `decoder` a Decoder. `config.share` says
    what the two sides have in common. Raises ConfigError for what cannot be joined.
    """

    encoder: Encoder
    decoder: Decoder
    enc_to_dec_proj: torch.nn.Linear | None
    config: EncoderDecoderConfig
    ops = backend

    def __init__(
        self,
        config: EncoderDecoderConfig | None = None,
        encoder: Encoder | None = None,
        decoder: Decoder | None = None,
    ) -> None:
        super().__init__()
        if config is None and (encoder is None or decoder is None):
            raise ConfigError("EncoderDecoderModel needs a config, or an encoder and a decoder.")
        if config is not None and not isinstance(config, EncoderDecoderConfig):
            raise ConfigError(f"config is a {type(config).__name__}; an EncoderDecoderConfig was expected.")
        check_kinds(encoder, decoder)
        if config is None:
            assert encoder is not None
            assert decoder is not None
            config = EncoderDecoderConfig(encoder=encoder.config, decoder=decoder.config)
        check_share(config)
        meta = torch.get_default_device().type == "meta"
        fresh = {"encoder": encoder is None, "decoder": decoder is None}
        self.join(
            config,
            Encoder(config.encoder) if encoder is None else encoder,
            Decoder(config.decoder) if decoder is None else decoder,
        )
        # One config for each part, whoever brought it: what is set on either is set on both.
        config.encoder, config.decoder = self.encoder.config, self.decoder.config
        self.new_parameters = tuple(f"{role}.{name}" for role in ROLES for name in self.part(role).new_parameters)
        if not meta:
            for role in [r for r in ROLES if fresh[r]]:
                part = self.part(role)
                initialise(part, dict(part.named_parameters()), part.spec)
            initialise_projection(self)
            if self.enc_to_dec_proj is not None:
                self.new_parameters += PROJECTION
            self.tie()

    @property
    def generation_config(self) -> GenerationConfig:
        """The settings of `generate`, special tokens included: the same object as `config.generation`."""
        return self.config.generation

    @generation_config.setter
    def generation_config(self, settings: GenerationConfig) -> None:
        self.config.generation = settings

    # Loading.

    @classmethod
    def from_encoder_decoder_pretrained(
        cls,
        encoder_pretrained_model_name_or_path: str | Path | None = None,
        decoder_pretrained_model_name_or_path: str | Path | None = None,
        *,
        cross_attention_init: CrossAttentionInit = "random",
        share: Share = "none",
        tie_encoder_decoder: bool = False,
        dtype: str | torch.dtype | None = None,
        device: str | torch.device | None = None,
        **options: Any,
    ) -> Self:
        """Joins a pretrained encoder and a pretrained decoder, each a folder or a hub id.

        `encoder_*` and `decoder_*` options are overrides of the parts' configs (`decoder_num_hidden_layers=6`), the
        layers to keep (`decoder_keep_layers=[0, 2, 4]`), hub options (`encoder_revision`), or ready parts
        (`encoder_model`). Generation settings are taken too. What the join makes new is initialised by
        `cross_attention_init`: "random" (the decoder's own initialiser), "self_attention" (a copy of its layer's
        self-attention) or "zero_gate" (behind a learned gate that starts at zero, so that the decoder starts as the
        language model it was); its names are in `new_parameters`. The special tokens are the target tokenizer's. The
        model is returned in evaluation mode, every part in one dtype.

        Raises CheckpointError, ConfigError, or TypeError for an unknown option.
        """
        if cross_attention_init not in ("random", "self_attention", "zero_gate"):
            raise ConfigError(
                f'cross_attention_init is {cross_attention_init!r}; "random", "self_attention" or "zero_gate" was expected.'
            )
        options.pop("attn_implementation", None)
        encoder_options, decoder_options, generation = split_options(options)
        if cross_attention_init == "zero_gate":
            decoder_options["cross_attention_gate"] = True
        kind, place_on = as_dtype(dtype), as_device(device)
        encoder = open_side("encoder", encoder_pretrained_model_name_or_path, encoder_options)
        decoder = open_side("decoder", decoder_pretrained_model_name_or_path, decoder_options)
        config = EncoderDecoderConfig(
            encoder=encoder.config, decoder=decoder.config, share=share, tie_encoder_decoder=tie_encoder_decoder
        )
        check_share(config)
        target = tokenizer_of(decoder)
        config.generation = config.generation.updated({**special_tokens(config.decoder, target), **generation})
        model: Self = on_meta(lambda: cls(config))  # type: ignore[assignment, arg-type, return-value]
        load_sides(model, {"encoder": encoder, "decoder": decoder}, kind, place_on, cross_attention_init)
        model.encoder.tokenizer, model.decoder.tokenizer = tokenizer_of(encoder), target
        check_tokenizers(model.config, model.encoder.tokenizer, model.decoder.tokenizer)
        model.eval()
        return model

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        config: EncoderDecoderConfig | None = None,
        dtype: str | torch.dtype | None = None,
        device: str | int | torch.device | None = None,
        device_map: str | int | torch.device | None = None,
        attn_implementation: AttentionImplementation | None = None,
        revision: str | None = None,
        token: str | None = None,
        local_files_only: bool = False,
        cache_dir: str | Path | None = None,
        **generation: Any,
    ) -> Self:
        """A joined model from a folder or hub id that conjoin or transformers saved, in evaluation mode.

        `dtype` is "float32", "bfloat16"..., by default the file's own. `attn_implementation` is taken for
        compatibility: fused attention is used wherever no attention weights are asked for. Generation settings
        (`num_beams=4`) become the model's. Raises CheckpointError, ConfigError, or TypeError for an unknown argument.
        """
        refuse_unknown("from_pretrained()", generation, [*GENERATION_FIELDS, *FROM_PRETRAINED])
        if attn_implementation not in (None, "sdpa", "eager"):
            raise InputError(f'attn_implementation is {attn_implementation!r}; "sdpa" or "eager" was expected.')
        folder = model_folder(
            name, revision=revision, token=token, local_files_only=local_files_only, cache_dir=cache_dir
        )
        config = EncoderDecoderConfig.from_folder(folder) if config is None else config.copy()
        config.generation = config.generation.updated(generation)
        check_share(config)
        model: Self = on_meta(lambda: cls(config))  # type: ignore[assignment, arg-type, return-value]
        load_folder(model, folder, as_dtype(dtype), as_device(device, device_map))
        pair = find_pair(folder)
        if pair is not None:
            model.encoder.tokenizer, model.decoder.tokenizer = pair.source, pair.target
        check_vocabulary(config, pair)
        model.eval()
        return model

    # Saving.

    def save_pretrained(
        self, folder: str | Path, *, max_shard_size: int | str = "5GB", duplicate_shared: bool = False
    ) -> None:
        """Writes a folder that conjoin and transformers load: config, generation config, weights, tokenizers, a card.

        Shared weights are stored once, as transformers 4 does. transformers 5 ignores `tie_encoder_decoder` and would
        start such an encoder at random: `duplicate_shared=True` stores the encoder's copy too, for it. The folder
        appears whole or not at all. Raises CheckpointError where the disk has no room.
        """
        gone = () if duplicate_shared else shared_names(self.config, list(self.encoder.state_dict()))
        tensors = {f"encoder.{n}": t for n, t in file_tensors(self.encoder, "encoder", gone).items()}
        tensors |= {f"decoder.{n}": t for n, t in file_tensors(self.decoder, "decoder").items()}
        if self.enc_to_dec_proj is not None:
            tensors |= {name: tensor_of(self, name).detach() for name in PROJECTION}
        if duplicate_shared:
            tensors = {name: tensor.clone() for name, tensor in tensors.items()}
        target = Path(folder)
        require_space(target, sum(t.nbytes for t in tensors.values()))
        with atomic_folder(target) as made:
            kind = str(self.dtype).removeprefix("torch.")
            write_json(
                made / CONFIG_FILE, {**self.config.to_dict(), "architectures": ["EncoderDecoderModel"], "dtype": kind}
            )
            self.config.generation.save_pretrained(made)
            save_tensors(made, tensors, max_shard_size)
            if self.tokenizers is not None:
                self.tokenizers.save_pretrained(made)
            (made / "README.md").write_text(model_card(self.config, self.num_parameters()), encoding="utf-8")

    # The parts.

    def part(self, role: RoleName) -> Encoder | Decoder:
        """The encoder, or the decoder."""
        return self.encoder if role == "encoder" else self.decoder

    def get_encoder(self) -> Encoder:
        """The encoder."""
        return self.encoder

    def get_decoder(self) -> Decoder:
        """The decoder."""
        return self.decoder

    @property
    def tokenizers(self) -> TokenizerPair | None:
        """The source and the target tokenizer, where the model came with both."""
        source, target = self.encoder.tokenizer, self.decoder.tokenizer
        return None if source is None or target is None else TokenizerPair(source, target)

    @tokenizers.setter
    def tokenizers(self, pair: TokenizerPair) -> None:
        self.encoder.tokenizer, self.decoder.tokenizer = pair.source, pair.target

    def get_input_embeddings(self) -> torch.nn.Module:
        """The encoder's token embedding."""
        return self.encoder.get_input_embeddings()

    def get_output_embeddings(self) -> torch.nn.Module:
        """The module whose weight (V, W) makes the logits."""
        return self.decoder.get_output_embeddings()

    def tie(self) -> None:
        """Makes what `config.share` names one tensor: the encoder takes the decoder's."""
        names = shared_names(self.config, list(self.encoder.state_dict()))
        for name in names:
            *path, leaf = name.split(".")
            module = self.encoder.get_submodule(".".join(path))
            module._parameters[leaf] = self.decoder.get_submodule(".".join(path))._parameters[leaf]
        reason = (
            f"the token embedding is shared ({self.config.share}); resize it with model.resize_token_embeddings(...)."
        )
        self.encoder.shared_with_partner = self.decoder.shared_with_partner = reason if names else None

    def resize_token_embeddings(self, new_num_tokens: int, side: RoleName | None = None) -> torch.nn.Module:
        """Resizes one side's vocabulary; both where they share it. Returns the token embedding.

        Raises InputError where the sides are apart and `side` does not say which.
        """
        if self.config.share == "none":
            if side is None:
                raise InputError('resize_token_embeddings: say which side\'s, with side="encoder" or side="decoder".')
            return self.part(side).resize_token_embeddings(new_num_tokens)
        self.encoder.shared_with_partner = self.decoder.shared_with_partner = None
        self.encoder.resize_token_embeddings(new_num_tokens)
        found = self.decoder.resize_token_embeddings(new_num_tokens)
        self.tie()
        return found

    # Training.

    forward = checked_names(BaseEncoderDecoder.forward)

    def freeze(self, *parts: PartName) -> None:
        """Excludes parts (see `conjoin.parameters.PartName`) from training: "encoder", "token_embeddings", "new"..."""
        self._train(parts, False)

    def unfreeze(self, *parts: PartName) -> None:
        """Includes parts in training again."""
        self._train(parts, True)

    def _train(self, parts: tuple[PartName, ...], on: bool) -> None:
        named = dict(self.named_parameters())
        for name in members(parts, list(named), self.new_parameters):
            named[name].requires_grad_(on)

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: dict[str, Any] | None = None) -> None:
        """Trades time for memory in training: each block is computed again in the backward pass."""
        self.encoder.gradient_checkpointing_enable()
        self.decoder.gradient_checkpointing_enable()

    def gradient_checkpointing_disable(self) -> None:
        """Keeps all activations again."""
        self.encoder.gradient_checkpointing_disable()
        self.decoder.gradient_checkpointing_disable()

    # Generating.

    def generate(
        self,
        input_ids: Tensor | None = None,
        generation_config: GenerationConfig | None = None,
        **settings: Any,
    ) -> Tensor | GenerateOutput:
        """Ids (N, T) that begin with the start token and end with eos and padding, of source ids (B, S).

        `settings` are model inputs (attention_mask, token_type_ids, inputs_embeds, encoder_outputs, decoder_input_ids,
        decoder_attention_mask), `seed`, and any field of GenerationConfig; they win over `generation_config`, which wins
        over the model's own. N = B * num_return_sequences. Without a seed, torch's global random state is used.

        Raises TypeError for an unknown setting, InputError for a value that cannot be.
        """
        return generate(self, input_ids, generation_config, settings)


FROM_PRETRAINED = "config dtype device device_map attn_implementation revision token local_files_only cache_dir".split()
