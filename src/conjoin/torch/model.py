"""EncoderDecoderModel in PyTorch: two parts joined, loaded, saved, trained, and generated from."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import Tensor

from conjoin.backends import torch as backend
from conjoin.card import model_card
from conjoin.checkpoint import TensorFolder, atomic_folder, require_space
from conjoin.composite import EncoderDecoderConfig, Share
from conjoin.config import CONFIG_FILE
from conjoin.decoding.generate import generate
from conjoin.errors import ConfigError, InputError, refuse_unknown
from conjoin.families import family_of, role_of
from conjoin.generation import GENERATION_FIELDS, GenerationConfig
from conjoin.hub import resolve
from conjoin.joining import (
    MODEL_FILES,
    CrossAttentionInit,
    OpenPart,
    check_share,
    check_tokenizers,
    check_vocabulary,
    open_part,
    shared_names,
    special_tokens,
    split_options,
)
from conjoin.outputs import GenerateOutput
from conjoin.parameters import PartName, members
from conjoin.spec import RoleName
from conjoin.tokens.finding import find_pair, find_tokenizer
from conjoin.tokens.pair import TokenizerLike, TokenizerPair
from conjoin.torch.initial import copy_self_attention, initialise, materialise, on_meta, place, tensor_of
from conjoin.torch.native import BaseEncoderDecoder
from conjoin.torch.parts import (
    Decoder,
    Encoder,
    as_device,
    as_dtype,
    checked_names,
    file_tensors,
    left_on_meta,
    load_part,
    part_dtype,
    read_into,
    save_tensors,
    write_json,
)
from conjoin.torch.sized import Sized
from conjoin.weights import Report, plan, some

__all__ = ["EncoderDecoderModel"]

logger = logging.getLogger("conjoin")
ROLES: tuple[RoleName, ...] = ("encoder", "decoder")
PROJECTION = ("enc_to_dec_proj.weight", "enc_to_dec_proj.bias")
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
        self.new_parameters: tuple[str, ...] = ()
        if not meta:
            for role in [r for r in ROLES if fresh[r]]:
                part = self.part(role)
                initialise(part, dict(part.named_parameters()), part.spec)
            self._initialise_projection()
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
        model._load_sides({"encoder": encoder, "decoder": decoder}, kind, place_on, cross_attention_init)
        model.encoder.tokenizer, model.decoder.tokenizer = tokenizer_of(encoder), target
        check_tokenizers(model.config, model.encoder.tokenizer, model.decoder.tokenizer)
        model.eval()
        return model

    def _load_sides(
        self,
        sides: Mapping[RoleName, "OpenPart | Encoder | Decoder"],
        dtype: torch.dtype | None,
        device: torch.device,
        cross_attention_init: CrossAttentionInit,
    ) -> None:
        """Fills a model on the meta device from two opened parts, and initialises what neither has."""
        skip = shared_names(self.config, list(self.encoder.state_dict()))
        new: list[str] = []
        for role in reversed(ROLES):  # the decoder first: where weights are shared, they are its own
            part, side = self.part(role), sides[role]
            if isinstance(side, OpenPart):
                found = load_part(part, side, dtype, device, skip if role == "encoder" else ())
                initialise(part, found, part.spec)
                if cross_attention_init == "self_attention":
                    copy_self_attention(part, found)
                new += [f"{role}.{name}" for name in found]
            else:
                for name, tensor in side.state_dict().items():
                    place(part, name, tensor.to(device=device, dtype=dtype or tensor.dtype, copy=True))
        if dtype is None and part_dtype(self.encoder) != part_dtype(self.decoder) and not skip:
            self.float()
        if self.enc_to_dec_proj is not None:
            materialise(self, PROJECTION, part_dtype(self.decoder), device)
            self._initialise_projection()
            new += PROJECTION
        self.tie()
        self.new_parameters = tuple(new)
        if new:
            logger.info("New in this join, and to be trained: %s.", some(summary(new)))

    def _initialise_projection(self) -> None:
        if self.enc_to_dec_proj is not None:
            initialise(self, PROJECTION, self.decoder.spec)

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
        folder = resolve(
            name,
            files=MODEL_FILES,
            revision=revision,
            token=token,
            local_files_only=local_files_only,
            cache_dir=cache_dir,
        )
        config = EncoderDecoderConfig.from_folder(folder) if config is None else config.copy()
        config.generation = config.generation.updated(generation)
        check_share(config)
        model: Self = on_meta(lambda: cls(config))  # type: ignore[assignment, arg-type, return-value]
        model._load_folder(folder, as_dtype(dtype), as_device(device, device_map))
        pair = find_pair(folder)
        if pair is not None:
            model.encoder.tokenizer, model.decoder.tokenizer = pair.source, pair.target
        check_vocabulary(config, pair)
        model.eval()
        return model

    def _load_folder(self, path: Path, dtype: torch.dtype | None, device: torch.device) -> None:
        """Fills a model on the meta device from the folder of a joined model."""
        skip = shared_names(self.config, list(self.encoder.state_dict()))
        report, plans = Report(), {}
        with TensorFolder(path) as folder:
            for role in ROLES:
                part, own = self.part(role), f"{role}."
                available = {n.removeprefix(own): s for n, s in folder.shapes.items() if n.startswith(own)}
                gone = skip if role == "encoder" else ()
                wanted = {n: tuple(t.shape) for n, t in part.state_dict().items() if n not in gone}
                family = family_of(part.config.model_type)
                side = role_of(part.config.model_type, role)
                plans[role] = planned = plan(family, side, wanted, available, layers=range(part.spec.layers))
                report.missing |= {own + ours: own + theirs for ours, theirs in planned.report.missing.items()}
                report.mismatched += [own + one for one in planned.report.mismatched]
                if not gone:
                    report.unexpected += [own + one for one in planned.report.unexpected]
            report.unexpected += [n for n in folder.shapes if not n.startswith(("encoder.", "decoder.", *PROJECTION))]
            self._check_projection(folder, report)
            report.refuse(f'"{path}"')
            for role in ROLES:
                read_into(self.part(role), plans[role], folder, dtype, device, prefix=f"{role}.")
            if self.enc_to_dec_proj is not None:
                for name in PROJECTION:
                    tensor = folder.read(name)
                    place(self, name, tensor.to(device=device, dtype=dtype or tensor.dtype, copy=True))
        materialise(
            self,
            [n for n in left_on_meta(self, self.state_dict()) if not shared(n, skip)],
            dtype or part_dtype(self),
            device,
        )
        self.tie()

    def _check_projection(self, folder: TensorFolder, report: Report) -> None:
        for name in PROJECTION:
            if self.enc_to_dec_proj is None:
                report.unexpected += [name] if name in folder.shapes else []
            elif name not in folder.shapes:
                report.missing[name] = name
            elif folder.shapes[name] != tuple(tensor_of(self, name).shape):
                report.mismatched.append(
                    f"{name} is {list(folder.shapes[name])}, {list(tensor_of(self, name).shape)} was expected"
                )

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


def shared(name: str, skip: list[str]) -> bool:
    """Whether a name of the joined model is one of the encoder's that are the decoder's tensors."""
    return name.startswith("encoder.") and name.removeprefix("encoder.") in skip


def check_kinds(encoder: object, decoder: object) -> None:
    """Raises ConfigError where a ready part is not of its side."""
    if encoder is not None and not isinstance(encoder, Encoder):
        raise ConfigError(f"encoder is a {type(encoder).__name__}; a conjoin.torch.Encoder was expected.")
    if decoder is not None and not isinstance(decoder, Decoder):
        raise ConfigError(f"decoder is a {type(decoder).__name__}; a conjoin.torch.Decoder was expected.")


def open_side(role: RoleName, name: str | Path | None, options: dict[str, Any]) -> Any:
    """A part opened from its folder, or the ready one given as `encoder_model` or `decoder_model`."""
    ready = options.get("model")
    if ready is not None:
        check_kinds(*((ready, None) if role == "encoder" else (None, ready)))
        return ready
    if name is None:
        raise ConfigError(f"no {role} was given: pass its folder or hub id, or a ready part as {role}_model.")
    return open_part(name, role, options)


def tokenizer_of(side: "OpenPart | Encoder | Decoder") -> TokenizerLike | None:
    """A side's tokenizer, where it has one."""
    return find_tokenizer(side.folder) if isinstance(side, OpenPart) else side.tokenizer


def summary(names: list[str]) -> list[str]:
    """Names of parameters with their layer numbers folded, each once."""
    import re

    return list(dict.fromkeys(re.sub(r"\.\d+\.", ".*.", name) for name in names))
