"""The join, written once: encode, decode, labels and loss.

Shapes: B batch, S source tokens, T target tokens, W width, V vocabulary.
"""

from typing import Any

from conjoin.chunks import asked_chunks, chunks_of, encoded_in_chunks
from conjoin.composite import EncoderDecoderConfig
from conjoin.errors import InputError
from conjoin.inputs import check_smoothing
from conjoin.outputs import ChunkedOutput, ModelOutput, Seq2SeqLMOutput
from conjoin.seq2seq.cache import DecoderCache
from conjoin.seq2seq.checks import as_encoder_output, check_mask, fits, one_of, states_of

__all__ = ["IGNORED", "define"]

Array = Any
IGNORED = -100  # the label of a token that counts for no loss


def define(nn: Any) -> Any:
    """The class EncoderDecoder, native to the framework of the backend `nn`."""

    class EncoderDecoder(nn.Module):  # type: ignore[misc]
        """An encoder, a decoder that cross-attends to it, and a projection between them where their widths differ."""

        def join(self, config: EncoderDecoderConfig, encoder: Any, decoder: Any) -> None:
            """Takes the parts in; called once, by the constructor."""
            self.config = config
            self.encoder, self.decoder = encoder, decoder
            wide, narrow = encoder.spec.states_width, decoder.spec.memory_width or decoder.spec.width
            self.enc_to_dec_proj = nn.Linear(wide, narrow) if wide != narrow else None

        def memory(self, encoder_states: Array) -> Array:
            """The encoder's states (B, S, W) in the decoder's width. Raises InputError for another width."""
            shape, ready = tuple(encoder_states.shape), self.enc_to_dec_proj is None
            wide = (
                self.decoder.spec.memory_width or self.decoder.spec.width if ready else self.encoder.spec.states_width
            )
            if not fits(shape[2:], (wide,)):
                raise InputError(f"encoder_outputs has states of shape {shape}; (batch, tokens, {wide}) was expected.")
            return encoder_states if self.enc_to_dec_proj is None else self.enc_to_dec_proj(encoder_states)

        def encode(
            self,
            input_ids: Array | None = None,
            attention_mask: Array | None = None,
            token_type_ids: Array | None = None,
            position_ids: Array | None = None,
            inputs_embeds: Array | None = None,
            output_attentions: bool = False,
            output_hidden_states: bool = False,
            return_dict: bool | None = True,
            global_attention_mask: Array | None = None,
            pixel_values: Array | None = None,
            input_values: Array | None = None,
            input_features: Array | None = None,
            inputs: Array | None = None,
            read_mask: Array | None = None,
        ) -> ModelOutput | tuple[Array, ...]:
            """Source ids (B, S) -> the encoder's output, which `decode`, `generate` and a call take as encoder_outputs.

            Where `config.encode_in_chunks` is set, ids are read as `encode_in_chunks` does; attentions of the encoder
            are then there only for sources of one window. Images and sounds come as for a call; `inputs` is another name
            for whichever the encoder reads. `read_mask` is as for the encoder.
            """
            input_ids = one_of(input_ids, inputs)
            chunks = asked_chunks(self.encoder, self.config.generation)
            if chunks is not None and input_ids is not None and inputs_embeds is None and position_ids is None:
                ids, mask, types = nn.given(
                    input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
                )
                if chunks.cuts(nn.size(ids, 1)):
                    out = encoded_in_chunks(nn, self.encoder, chunks, ids, mask, types, output_hidden_states)
                    return out if return_dict is not False else out.to_tuple()
            found: ModelOutput | tuple[Array, ...] = self.encoder(
                input_ids,
                attention_mask,
                token_type_ids,
                position_ids,
                inputs_embeds,
                output_attentions,
                output_hidden_states,
                return_dict,
                global_attention_mask,
                pixel_values=pixel_values,
                input_values=input_values,
                input_features=input_features,
                read_mask=read_mask,
            )
            return found

        def encode_in_chunks(
            self,
            input_ids: Array,
            attention_mask: Array | None = None,
            token_type_ids: Array | None = None,
            *,
            window: int | None = None,
            overlap: int | None = None,
        ) -> ChunkedOutput:
            """Source ids (B, S), however many, -> last_hidden_state (B, S, W) and attention_mask (B, S): give both on.

            Each row is cut into windows of at most `window` tokens (the encoder's positions), of which neighbours share
            at least `overlap` (an eighth of the window); all of a batch are encoded together. The first token of a row is
            put before each of its windows where it is special ([CLS], <s>: bos_token_id or cls_token_id of the encoder's
            config or tokenizer), the last behind each where it is (eos_token_id, sep_token_id); where neither config nor
            tokenizer has any, windows get none. Each token has one state, from the window where the nearer edge is
            farthest. A source that fits into one window has the states of `encode`.

            Raises InputError for a window or an overlap that cannot be.
            """
            ids, mask, types = nn.given(
                input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
            )
            return encoded_in_chunks(nn, self.encoder, chunks_of(self.encoder, window, overlap), ids, mask, types)

        def decode(
            self,
            decoder_input_ids: Array | None = None,
            encoder_outputs: Any = None,
            encoder_attention_mask: Array | None = None,
            decoder_attention_mask: Array | None = None,
            decoder_position_ids: Array | None = None,
            past_key_values: DecoderCache | None = None,
            decoder_token_type_ids: Array | None = None,
            decoder_inputs_embeds: Array | None = None,
            output_attentions: bool = False,
            output_hidden_states: bool = False,
            return_dict: bool | None = True,
        ) -> ModelOutput | tuple[Array, ...]:
            """Target ids (B, T) after a source, as `encode` read it -> CausalLMOutput; with past_key_values a further one.

            encoder_attention_mask is the attention_mask that `encode` was given.
            """
            states = None
            if encoder_outputs is not None:
                states = self.memory(nn.given(encoder_outputs=states_of(encoder_outputs))[0])
                encoder_attention_mask = self.seen_of(encoder_attention_mask, states)
            found: ModelOutput | tuple[Array, ...] = self.decoder(
                input_ids=decoder_input_ids,
                attention_mask=decoder_attention_mask,
                encoder_hidden_states=states,
                encoder_attention_mask=encoder_attention_mask,
                token_type_ids=decoder_token_type_ids,
                position_ids=decoder_position_ids,
                inputs_embeds=decoder_inputs_embeds,
                past_key_values=past_key_values,
                use_cache=past_key_values is not None,
                output_attentions=output_attentions,
                output_hidden_states=output_hidden_states,
                return_dict=return_dict,
            )
            return found

        def seen_of(self, mask: Array | None, states: Array) -> Array | None:
            """Which of the encoder's states (B, S, W) a decoder may see (B, S), by the mask that the encoder was given."""
            mask = nn.given(encoder_attention_mask=mask)[0]
            return self.encoder.memory_mask(self.encoder.source_mask(None, mask), nn.size(states, 1))

        def init_cache(
            self,
            batch_size: int,
            max_length: int,
            encoder_outputs: Any,
            encoder_attention_mask: Array | None = None,
        ) -> DecoderCache:
            """An empty past_key_values with room for `max_length` tokens of `batch_size` rows after a source.

            encoder_attention_mask is the attention_mask that `encode` was given.
            """
            states = self.memory(nn.given(encoder_outputs=states_of(encoder_outputs))[0])
            if not fits((states.shape[0],), (batch_size,)):
                raise InputError(f"batch_size is {batch_size} and the source has {states.shape[0]} rows.")
            if max_length > self.decoder.spec.max_length:
                raise InputError(
                    f"max_length is {max_length} and the decoder has positions for {self.decoder.spec.max_length}."
                )
            past = DecoderCache(self.decoder.empty_cache(batch_size, max_length, states), 0)
            past.cross, past.memory_mask = self.decoder.memory_of(
                states, self.seen_of(encoder_attention_mask, states), None, past, batch_size
            )
            return past

        def prepare_decoder_input_ids_from_labels(self, labels: Array) -> Array:
            """labels (B, T) -> the start token and the labels but for the last, padding in the place of -100."""
            pad = self.config.generation.pad_token_id
            if pad is None:
                raise InputError(
                    "the model has no pad token; set model.config.pad_token_id, from the target tokenizer."
                )
            return nn.shift_right(labels, self.start_token(), pad, IGNORED)

        def start_token(self) -> int:
            """The token that decoding starts with: decoder_start_token_id, or the begin-of-sentence token."""
            tokens = self.config.generation
            start = tokens.decoder_start_token_id if tokens.decoder_start_token_id is not None else tokens.bos_token_id
            if start is None:
                raise InputError(
                    "the model has no start token; set model.config.decoder_start_token_id, for instance to the target "
                    "tokenizer's cls_token_id or bos_token_id."
                )
            if not isinstance(start, int):
                raise InputError(f"decoder_start_token_id is {start!r}; labels need one start token for all rows.")
            return start

        def forward(
            self,
            input_ids: Array | None = None,
            attention_mask: Array | None = None,
            decoder_input_ids: Array | None = None,
            decoder_attention_mask: Array | None = None,
            encoder_outputs: Any = None,
            past_key_values: DecoderCache | None = None,
            inputs_embeds: Array | None = None,
            decoder_inputs_embeds: Array | None = None,
            labels: Array | None = None,
            use_cache: bool | None = None,
            output_attentions: bool = False,
            output_hidden_states: bool = False,
            return_dict: bool | None = True,
            token_type_ids: Array | None = None,
            position_ids: Array | None = None,
            decoder_token_type_ids: Array | None = None,
            decoder_position_ids: Array | None = None,
            num_items_in_batch: Any = None,
            return_logits: bool = True,
            global_attention_mask: Array | None = None,
            pixel_values: Array | None = None,
            input_values: Array | None = None,
            input_features: Array | None = None,
            inputs: Array | None = None,
            smoothing: float = 0.0,
        ) -> ModelOutput | tuple[Array, ...]:
            """Source ids (B, S), and target ids or labels (B, T) -> Seq2SeqLMOutput.

            Where the encoder reads images, pixel_values (B, C, height, width) come instead of ids; where it reads sounds,
            input_values (B, samples) with attention_mask (B, samples), or input_features (B, mel bins, frames). `inputs`,
            or what comes first, is whichever the encoder reads.
            Labels make the decoder's inputs; -100 counts for no loss. The loss is a mean over the labels that count, or
            with `num_items_in_batch` their sum over that number, so that gradient accumulation stays a token mean. With
            `return_logits=False` only the loss is computed, over the labels that count: what training needs, for less.
            `smoothing` is how much of each label is spread evenly over the vocabulary; no argument but `labels` has "label"
            in its name, since transformers' Trainer takes all that do for labels.
            `use_cache` is true unless there are labels. Raises InputError for what does not fit.
            """
            check_smoothing(smoothing)
            input_ids, attention_mask, decoder_input_ids, decoder_inputs_embeds, labels = nn.given(
                input_ids=one_of(input_ids, inputs),
                attention_mask=attention_mask,
                decoder_input_ids=decoder_input_ids,
                decoder_inputs_embeds=decoder_inputs_embeds,
                labels=labels,
            )
            seen = self.encoder.source_mask(input_ids, attention_mask)
            if encoder_outputs is None:
                encoder_outputs = self.encode(
                    input_ids,
                    attention_mask,
                    token_type_ids,
                    position_ids,
                    inputs_embeds,
                    output_attentions,
                    output_hidden_states,
                    global_attention_mask=global_attention_mask,
                    pixel_values=pixel_values,
                    input_values=input_values,
                    input_features=input_features,
                    read_mask=None if labels is None else seen,
                )
            elif not isinstance(encoder_outputs, ModelOutput):
                encoder_outputs = as_encoder_output(encoder_outputs)
            states = nn.given(encoder_outputs=encoder_outputs["last_hidden_state"])[0]
            if labels is not None:
                nn.check_range(nn.where(labels == IGNORED, 0, labels), self.decoder.spec.vocab, "labels")
            seen = self.encoder.memory_mask(seen, nn.size(states, 1))
            if labels is not None and decoder_input_ids is None and decoder_inputs_embeds is None:
                decoder_input_ids = self.prepare_decoder_input_ids_from_labels(labels)
                if decoder_attention_mask is None and self.encoder.spec.front is None:  # as transformers' classes do
                    decoder_attention_mask = nn.first_seen(decoder_input_ids != self.config.generation.pad_token_id)
            if decoder_input_ids is None and decoder_inputs_embeds is None:
                raise InputError(
                    "pass labels, or decoder_input_ids (or decoder_inputs_embeds): what the decoder is to read."
                )
            target = decoder_input_ids if decoder_inputs_embeds is None else decoder_inputs_embeds
            if labels is not None:
                check_mask(labels, tuple(target.shape[:2]), "labels")
            if not return_logits and labels is None:
                raise InputError("return_logits=False leaves nothing to return without labels.")
            out = self.decoder(
                input_ids=decoder_input_ids,
                attention_mask=decoder_attention_mask,
                encoder_hidden_states=self.memory(states),
                encoder_attention_mask=seen,
                token_type_ids=decoder_token_type_ids,
                position_ids=decoder_position_ids,
                inputs_embeds=decoder_inputs_embeds,
                past_key_values=past_key_values,
                use_cache=labels is None if use_cache is None else use_cache,
                output_attentions=output_attentions,
                output_hidden_states=output_hidden_states,
                return_logits=return_logits,
                read_mask=None if labels is None or return_logits else labels != IGNORED,
            )
            loss, logits = None, out["logits"]
            if labels is not None:
                if return_logits:
                    loss = nn.cross_entropy(logits, labels, IGNORED, num_items_in_batch, smoothing)
                else:
                    loss = self.decoder.loss(logits, labels, IGNORED, num_items_in_batch, smoothing)
            joined = Seq2SeqLMOutput.of(
                loss=loss,
                logits=logits if return_logits else None,
                past_key_values=out.past_key_values,
                decoder_hidden_states=out.hidden_states,
                decoder_attentions=out.attentions,
                cross_attentions=out.cross_attentions,
                encoder_last_hidden_state=states,
                encoder_hidden_states=encoder_outputs.get("hidden_states"),
                encoder_attentions=encoder_outputs.get("attentions"),
            )
            return joined if return_dict is not False else joined.to_tuple()

    return EncoderDecoder
