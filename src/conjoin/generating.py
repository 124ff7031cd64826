"""What every joined model can do that writes, in whichever framework or runtime it is."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from conjoin.composite import EncoderDecoderConfig
from conjoin.decoding.generate import generate
from conjoin.decoding.transitions import compute_transition_scores
from conjoin.generation import SPECIAL_TOKENS, GenerationConfig
from conjoin.tokens.pair import TokenizerPair

__all__ = ["GeneratingModel"]


class GeneratingModel:
    """Two parts, their tokenizers, the settings of `generate`, and `generate`. A subclass gives `ops`, its backend."""

    ops: ClassVar[Any]
    encoder: Any
    decoder: Any
    config: EncoderDecoderConfig
    start_token: Callable[[], int]

    @property
    def generation_config(self) -> GenerationConfig:
        """The settings of `generate`, special tokens included: the same object as `config.generation`."""
        return self.config.generation

    @generation_config.setter
    def generation_config(self, settings: GenerationConfig) -> None:
        """Ours or transformers'; special tokens that it does not name stay as they are."""
        settings = GenerationConfig.of(settings)
        kept = {n: getattr(self.config, n) for n in SPECIAL_TOKENS if getattr(settings, n) is None}
        self.config.generation = settings.updated(kept) if any(v is not None for v in kept.values()) else settings

    def get_encoder(self) -> Any:
        """The encoder."""
        return self.encoder

    def get_decoder(self) -> Any:
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

    def read_first(self, input_ids: Any, given: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """What `generate` was given; where the encoder is not ours, with its source read."""
        return input_ids, given

    def searcher(
        self, config: GenerationConfig, input_ids: Any, given: dict[str, Any]
    ) -> tuple[Any, Any, dict[str, Any]]:
        """Which model makes the ids of a call, and of what: itself, or one on the CPU's engine."""
        return self, input_ids, given

    def returned(self, found: Any) -> Any:
        """What that model made, in arrays of this one's framework."""
        return found

    def generate(
        self, input_ids: Any = None, generation_config: GenerationConfig | None = None, **settings: Any
    ) -> Any:
        """Ids (N, T) that begin with the start token and end with eos and padding, of source ids (B, S).

        Where the encoder reads images or sounds, pixel_values, input_values or input_features come instead, first or by name.

        `settings` are model inputs (attention_mask, global_attention_mask, token_type_ids, inputs_embeds,
        encoder_outputs, decoder_input_ids, decoder_attention_mask), `seed`, and any field of GenerationConfig; they win
        over `generation_config`, which wins over the model's own. N = B * num_return_sequences. Without a seed, the
        framework's global random state is used. `tokenizer` reads stop_strings (by default the model's own target
        tokenizer), `negative_prompt_ids` with `negative_prompt_attention_mask` is the source that guidance_scale leads away
        from (by default an empty text), and `logits_processor`, `stopping_criteria`, `prefix_allowed_tokens_fn` and
        `streamer` are called at each step (PyTorch). `assistant_model` is a smaller joined model that drafts tokens, of which
        those are kept that this one would choose (PyTorch): docs/generation.md. `vocabulary` is a VocabularyMap, ids, or ids for
        each source: what alone may be written (PyTorch).

        Raises TypeError for an unknown setting, InputError for a value that cannot be, or more than there is memory for.
        """
        return generate(self, input_ids, generation_config, settings)

    def compute_transition_scores(
        self,
        sequences: Any,
        scores: Sequence[Any],
        beam_indices: Any = None,
        normalize_logits: bool = False,
    ) -> Any:
        """The score (N, steps) that each new token of `sequences` had when it was chosen; 0 after a hypothesis's end.

        `sequences` (N, T), `scores` (B * K, V) by step and, of beams, `beam_indices` (N, steps) are what one call of
        `generate` returned with return_dict_in_generate and output_scores. With `normalize_logits` scores become
        log-probabilities first. The sum over a beam's tokens, divided by their number ** length_penalty, is its sequences_score.
        """
        return compute_transition_scores(self.ops, sequences, scores, beam_indices, normalize_logits)
