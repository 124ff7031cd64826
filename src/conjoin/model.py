"""The joined model as every framework has it: two parts joined, loaded, resized, tied and frozen."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from conjoin.composite import EncoderDecoderConfig, Share
from conjoin.errors import ConfigError, InputError, refuse_unknown
from conjoin.extending import PositionInit
from conjoin.families.custom import is_custom, require_module
from conjoin.generating import GeneratingModel
from conjoin.generation import GENERATION_FIELDS
from conjoin.initial import blank, is_blank
from conjoin.joining import (
    CrossAttentionInit,
    check_share,
    check_tokenizers,
    crossing,
    model_folder,
    shared_names,
    special_tokens,
    split_options,
)
from conjoin.loading import (
    PROJECTION,
    ROLES,
    check_kind,
    initialise_projection,
    kept_in,
    load_folder,
    load_sides,
    open_side,
    placed,
    processor_of,
    tokenizer_of,
)
from conjoin.parameters import PartName, members
from conjoin.processors import find_processor
from conjoin.saving import SavingModel
from conjoin.spec import CrossPlace, RoleName
from conjoin.tokens.finding import find_pair, find_tokenizer

__all__ = ["FROM_PRETRAINED", "JoinedModel"]

AttentionImplementation = Literal["sdpa", "eager"]
FROM_PRETRAINED = (
    "config encoder dtype torch_dtype device device_map attn_implementation revision token local_files_only cache_dir from_pt"
).split()
# What scripts tell transformers, and what changes nothing here: no checkpoint's code is ever run, safetensors are read where
# there are any, and nothing is read twice.
NEEDLESS = ("low_cpu_mem_usage", "trust_remote_code", "use_safetensors", "from_tf", "from_flax")


class JoinedModel(GeneratingModel, SavingModel):
    """What the classes of all frameworks have in common.

    A framework's class gives `ops`, its backend, and `encoder_class` and `decoder_class`, its parts.
    """

    encoder_class: ClassVar[type]
    decoder_class: ClassVar[type]
    other_encoders: ClassVar[tuple[type, ...]] = ()  # what may stand in an encoder's place
    enc_to_dec_proj: Any
    new_parameters: tuple[str, ...]

    def assemble(self, config: EncoderDecoderConfig | None, encoder: Any, decoder: Any) -> None:
        """Joins ready parts, or those that a config describes. Raises ConfigError for what cannot be joined."""
        name = type(self).__name__
        if config is None and (encoder is None or decoder is None):
            raise ConfigError(f"{name} needs a config, or an encoder and a decoder.")
        if config is not None and not isinstance(config, EncoderDecoderConfig):
            config = EncoderDecoderConfig.of(config)
        check_kind("encoder", encoder, self.encoder_class, *self.other_encoders)
        check_kind("decoder", decoder, self.decoder_class)
        if config is None:
            config = EncoderDecoderConfig(encoder=encoder.config, decoder=decoder.config)
        if encoder is None:
            require_module(config.encoder)
        # One config for each part, whoever brought it: what is set on either is set on both.
        config.encoder = config.encoder if encoder is None else encoder.config
        config.decoder = config.decoder if decoder is None else decoder.config
        check_share(config)
        self.join(  # type: ignore[attr-defined]
            config,
            self.encoder_class(config.encoder) if encoder is None else encoder,
            self.decoder_class(config.decoder) if decoder is None else decoder,
        )
        self.new_parameters = tuple(f"{role}.{name}" for role in ROLES for name in self.part(role).new_parameters)
        if not is_blank(self.ops):
            if self.enc_to_dec_proj is not None:
                self.ops.materialise(self, PROJECTION, self.ops.placement())
                initialise_projection(self.ops, self)
                self.new_parameters += PROJECTION
            self.tie()

    # Loading.

    @classmethod
    def from_encoder_decoder_pretrained(
        cls,
        encoder_pretrained_model_name_or_path: str | Path | None = None,
        decoder_pretrained_model_name_or_path: str | Path | None = None,
        *,
        cross_attention_init: CrossAttentionInit = "random",
        cross_attention_layers: str | Sequence[int] = "all",
        cross_attention_place: CrossPlace | None = None,
        share: Share = "none",
        tie_encoder_decoder: bool = False,
        dtype: Any = None,
        torch_dtype: Any = None,
        device: Any = None,
        **options: Any,
    ) -> Self:
        """Joins a pretrained encoder and a pretrained decoder, each a folder or a hub id.

        `encoder_*` and `decoder_*` options are overrides of the parts' configs (`decoder_num_hidden_layers=6`), the
        layers to keep (`decoder_keep_layers=[0, 2, 4]`), hub options (`encoder_revision`), or ready parts
        (`encoder_model`). With `encoder_max_position_embeddings=1024` learned positions that the file does not have start
        as `encoder_new_positions` says: "tile" (the first ones again) or "random". Generation settings are taken too. What
        the join makes new is initialised by `cross_attention_init`: "random" (the decoder's own initialiser),
        "self_attention" (a copy of its layer's self-attention) or "zero_gate" (such a copy behind a learned gate that
        starts at zero, so that the decoder starts as the language model it was); its names are in `new_parameters`.
        `cross_attention_layers` says which layers of the decoder have it ("all", "every_2" for each second one, or their
        numbers), `cross_attention_place` where in the layer ("after_self_attention", the habit of all families,
        "after_feed_forward" or "before_self_attention"). The
        special tokens are the target tokenizer's. The model is returned in evaluation mode, every part in one dtype
        (`torch_dtype` is its older name).

        Raises CheckpointError, ConfigError, or TypeError for an unknown option.
        """
        needless = {side + name for side in ("", "encoder_", "decoder_") for name in NEEDLESS}
        options = {name: x for name, x in options.items() if name not in needless | {"attn_implementation"}}
        encoder_options, decoder_options, generation = split_options(options)
        decoder_options |= crossing(cross_attention_init, cross_attention_layers, cross_attention_place)
        where = placed(cls.ops, torch_dtype if dtype is None else dtype, device)
        cls.accept_encoder(encoder_options)
        encoder_kinds = (cls.encoder_class, *cls.other_encoders)
        encoder = open_side("encoder", encoder_pretrained_model_name_or_path, encoder_options, *encoder_kinds)
        decoder = open_side("decoder", decoder_pretrained_model_name_or_path, decoder_options, cls.decoder_class)
        config = EncoderDecoderConfig(
            encoder=encoder.config, decoder=decoder.config, share=share, tie_encoder_decoder=tie_encoder_decoder
        )
        check_share(config)
        target = tokenizer_of(decoder)
        config.generation = config.generation.updated({**special_tokens(config.decoder, target), **generation})
        ready = encoder if isinstance(encoder, cls.other_encoders) else None
        model: Self = blank(cls.ops, lambda: cls(config, encoder=ready), where)  # type: ignore[call-arg]
        load_sides(cls.ops, model, {"encoder": encoder, "decoder": decoder}, where, cross_attention_init)
        model.encoder.tokenizer, model.decoder.tokenizer = tokenizer_of(encoder), target
        model.encoder.processor_files = processor_of(encoder)
        check_tokenizers(model.config, model.encoder.tokenizer, model.decoder.tokenizer)
        cls.ops.evaluating(model)
        return model

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        config: EncoderDecoderConfig | str | Path | None = None,
        encoder: Any = None,
        dtype: Any = None,
        torch_dtype: Any = None,
        device: Any = None,
        device_map: Any = None,
        attn_implementation: AttentionImplementation | None = None,
        revision: str | None = None,
        token: str | None = None,
        local_files_only: bool = False,
        cache_dir: str | Path | None = None,
        from_pt: bool = False,
        **generation: Any,
    ) -> Self:
        """A joined model from a folder or hub id that conjoin or transformers saved, in evaluation mode.

        `dtype` is "float32", "bfloat16"..., by default the file's own; in PyTorch on a CPU also "int8", "int8_weight_only" or
        "int4_weight_only" (docs/generation.md); `torch_dtype` is its older name. `attn_implementation`, `from_pt`,
        `low_cpu_mem_usage`, `trust_remote_code` and `use_safetensors` are taken for compatibility: files are the same for all
        frameworks, and attention that keeps its weights is used wherever they are asked for. `encoder` is for a model whose
        encoder was a module of the user's own (PyTorch): such a module, which the saved values go into. Generation settings
        (`num_beams=4`) become the model's.

        An encoder of images or sounds takes arrays, as transformers' or another processor makes them: conjoin has none. The
        processor's files travel with the folder, and the folder's tokenizer is the decoder's.

        Raises CheckpointError, ConfigError, or TypeError for an unknown argument.
        """
        generation = {name: value for name, value in generation.items() if name not in NEEDLESS}
        refuse_unknown("from_pretrained()", generation, [*GENERATION_FIELDS, *FROM_PRETRAINED])
        dtype = torch_dtype if dtype is None else dtype
        if attn_implementation not in (None, "sdpa", "eager"):
            raise InputError(f'attn_implementation is {attn_implementation!r}; "sdpa" or "eager" was expected.')
        if isinstance(device_map, dict):
            raise InputError(
                f"device_map is {device_map!r}; a joined model lives on one device, so one name was expected."
            )
        folder = model_folder(
            pretrained_model_name_or_path,
            revision=revision,
            token=token,
            local_files_only=local_files_only,
            cache_dir=cache_dir,
        )
        config = EncoderDecoderConfig.from_folder(folder) if config is None else EncoderDecoderConfig.of(config)
        config.generation = config.generation.updated(generation)
        check_share(config)
        where = placed(cls.ops, kept_in(cls.ops, folder, dtype), device_map if device is None else device)
        if encoder is not None and not is_custom(config.encoder):
            raise ConfigError(
                f'"{pretrained_model_name_or_path}" has an encoder of its own, of model_type "{config.encoder.model_type}"; '
                f"leave out encoder."
            )
        model: Self = blank(cls.ops, lambda: cls(config, encoder=encoder), where)  # type: ignore[call-arg]
        load_folder(cls.ops, model, folder, where)
        if model.encoder.spec.front is None:
            pair = find_pair(folder)
            if pair is not None:
                model.encoder.tokenizer, model.decoder.tokenizer = pair.source, pair.target
        else:
            model.decoder.tokenizer, model.encoder.processor_files = find_tokenizer(folder), find_processor(folder)
        check_tokenizers(config, model.encoder.tokenizer, model.decoder.tokenizer)
        cls.ops.evaluating(model)
        cls.ops.calibrate(model, folder, lambda: cls.from_pretrained(folder, config=config, dtype="float32"))
        return model

    @classmethod
    def accept_encoder(cls, options: dict[str, Any]) -> None:
        """Makes a ready encoder among a join's options one that this class can join, where it is none of ours."""

    # The parts.

    def part(self, role: RoleName) -> Any:
        """The encoder, or the decoder."""
        return self.encoder if role == "encoder" else self.decoder

    @property
    def main_input_name(self) -> str:
        """What the encoder reads: "input_ids", or "pixel_values", "input_values", "input_features"."""
        return self.encoder.main_input_name  # type: ignore[no-any-return]

    def get_input_embeddings(self) -> Any:
        """The encoder's token embedding; the decoder's where the encoder reads images or sounds."""
        return (self.encoder if self.encoder.spec.front is None else self.decoder).get_input_embeddings()

    def get_output_embeddings(self) -> Any:
        """The module whose weight (V, W) makes the logits."""
        return self.decoder.get_output_embeddings()

    def resize_token_embeddings(
        self, new_num_tokens: int | None = None, side: RoleName | None = None, pad_to_multiple_of: int | None = None
    ) -> Any:
        """Resizes one side's vocabulary; both where they share it, the only one where there is one. Returns the embedding.

        The number, which is by default that of now, is rounded up to a multiple of `pad_to_multiple_of`. New rows are
        initialised as the config says. What was made for the parameters as they were (an optimiser, the state of a Flax
        model, a Keras model's `compile`) must be made again. Raises InputError where the sides are apart and
        `side` does not say which, and for less than one token.
        """
        if self.config.share == "none":
            if side is None and self.encoder.spec.front is not None:
                side = "decoder"
            if side not in ROLES:
                raise InputError('resize_token_embeddings: say which side\'s, with side="encoder" or side="decoder".')
            return self.part(side).resize_token_embeddings(new_num_tokens, pad_to_multiple_of)
        self.encoder.resized(new_num_tokens, pad_to_multiple_of)
        found = self.decoder.resized(new_num_tokens, pad_to_multiple_of)
        self.tie()
        return found

    def resize_position_embeddings(
        self, new_num_position_embeddings: int, side: RoleName = "encoder", init: PositionInit = "tile"
    ) -> None:
        """Gives one side so many learned positions, both where they are one set of weights; as a part's method says."""
        if side not in ROLES:
            raise InputError(f'side is {side!r}; "encoder" or "decoder" was expected.')
        for role in ROLES if self.config.share == "all" else (side,):
            self.part(role).repositioned(new_num_position_embeddings, init)
        self.tie()

    def num_parameters(self, only_trainable: bool = False) -> int:
        """How many numbers it has, each shared one counted once."""
        count: int = self.ops.parameter_count(self, only_trainable)
        return count

    def tie_weights(self) -> None:
        """As `tie`, by transformers' name."""
        self.tie()

    def tie(self) -> None:
        """Makes what `config.share` names one set of values: the encoder takes the decoder's."""
        names = shared_names(self.config, list(self.ops.shapes(self.encoder)))
        self.ops.share(self.encoder, self.decoder, names)
        reason = (
            f"the token embedding is shared ({self.config.share}); resize it with model.resize_token_embeddings(...)."
        )
        self.encoder.shared_with_partner = self.decoder.shared_with_partner = reason if names else None

    # Training.

    def freeze(self, *parts: PartName) -> None:
        """Excludes parts (see `conjoin.parameters.PartName`) from training: "encoder", "token_embeddings", "new"..."""
        self._train(parts, False)

    def unfreeze(self, *parts: PartName) -> None:
        """Includes parts in training again."""
        self._train(parts, True)

    def _train(self, parts: tuple[PartName, ...], on: bool) -> None:
        self.ops.set_trained(self, members(parts, self.ops.trainable_names(self), self.new_parameters), on)

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: dict[str, Any] | None = None) -> None:
        """Trades time for memory in training: each block is computed again in the backward pass."""
        self.encoder.gradient_checkpointing_enable()
        self.decoder.gradient_checkpointing_enable()

    def activation_checkpointing_enable(
        self,
        activation_checkpointing_kwargs: dict[str, Any] | None = None,
        every_n_layers: int = 1,
        offload: bool = False,
    ) -> None:
        """`gradient_checkpointing_enable` by its newer name. Raises InputError for settings that are not implemented."""
        if every_n_layers != 1 or offload:
            raise InputError(
                f"every_n_layers is {every_n_layers!r} and offload {offload!r}; each layer is computed again and nothing is "
                f"moved elsewhere, so 1 and False were expected."
            )
        self.gradient_checkpointing_enable()

    def gradient_checkpointing_disable(self) -> None:
        """Keeps all activations again."""
        self.encoder.gradient_checkpointing_disable()
        self.decoder.gradient_checkpointing_disable()
