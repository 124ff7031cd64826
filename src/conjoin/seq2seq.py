"""Encode, decode, loss and the join itself, written once: `define(nn, blocks)` makes native classes of a framework.

Shapes: B batch, S source tokens, T target tokens, W width, V vocabulary.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from conjoin.blocks import Cache, Inputs, Place, Trace
from conjoin.chunks import asked_chunks, chunks_of, encoded_in_chunks
from conjoin.composite import EncoderDecoderConfig
from conjoin.config import ModelConfig
from conjoin.errors import InputError
from conjoin.families import spec_of
from conjoin.outputs import BaseModelOutput, CausalLMOutput, ChunkedOutput, ModelOutput, Seq2SeqLMOutput
from conjoin.senses import Patches, Waves, source_of
from conjoin.spec import Sliding, StackSpec

__all__ = ["IGNORED", "DecoderCache", "define"]

Array = Any
IGNORED = -100  # the label of a token that counts for no loss


@dataclass
class DecoderCache:
    """The past of a decoder: keys and values of its own tokens, and of the source, by layer.

    `own` has slots for `own[0][0].shape[2]` tokens, of which `length` are filled. `cross` and `memory_mask` are the
    source's, computed once.
    """

    own: list[Cache]
    length: Any  # a whole number, or an array of one within a traced call
    cross: list[Cache] | None = None
    memory_mask: Array | None = None

    def get_seq_length(self) -> Any:
        """How many tokens it holds."""
        return self.length


def define(nn: Any, blocks: Mapping[str, Any]) -> Mapping[str, Any]:
    """The classes Encoder, Decoder and EncoderDecoder, native to the framework of the backend `nn`."""
    stack: Any = blocks["Stack"]

    def check_tokens(given: Array | None, embeddings: Array | None, spec: StackSpec, side: str) -> None:
        if (given is None) == (embeddings is None):
            raise InputError(f"{side}: one of input_ids and inputs_embeds was expected, not both or neither.")
        came: Any = given if embeddings is None else embeddings
        shape = came.shape
        if len(shape) != (2 if embeddings is None else 3):
            raise InputError(f"{side}: token ids of shape (batch, tokens) were expected, not {tuple(shape)}.")
        if 0 in (shape[0], shape[1]):
            raise InputError(f"{side}: the input is empty (shape {tuple(shape)}); at least one token was expected.")
        if given is not None:
            nn.check_range(given, spec.vocab, side)

    def placed(part: Any, ids: Array | None, positions: Array | None, like: Array, start: Any, seen: Any) -> Place:
        """Where tokens stand that come one after another, `start` of them before; `seen` tokens are attended to."""
        length, embed = nn.size(like, 1), part.embed
        plain = nn.arange(length, like)[None] + start
        rows = embed.given_rows(positions) if positions is not None else embed.rows(ids, length, start, like)
        order = (plain, nn.arange(seen, like)[None]) if part.spec.ordered else None
        return Place(rows, plain if positions is None else positions, order)

    def causal_mask(length: Any, past: Any, seen: Any, like: Array) -> Array:
        """(1, 1, T, seen): each of `length` tokens sees itself and what came before."""
        return (nn.arange(seen, like)[None, :] <= nn.arange(length, like)[:, None] + past)[None, None]

    def check_length(came: Array, spec: StackSpec, side: str, past: int, remedy: str) -> None:
        length, limit = came.shape[1], spec.max_length
        if is_more(past, length, limit):
            raise InputError(
                f"{side}: {past + length} tokens came and it has positions for {limit}; shorten the text, or ask the "
                f"tokenizer for truncation=True, max_length={limit}{remedy}."
            )

    def check_mask(mask: Array | None, shape: tuple[Any, ...], name: str) -> None:
        if mask is not None and not fits(tuple(mask.shape), shape):
            raise InputError(f"{name} has shape {tuple(mask.shape)}; {shape} was expected, as the tokens have.")

    def shortened(seen: Array, lengths: Callable[[Array], Array], length: Any) -> Array:
        """A mask (B, samples) as the (B, length) that convolutions make of it, of which `lengths` of samples are real.

        A row too short for any is counted from its end, as transformers counts it.
        """
        last = (lengths(nn.cumsum(seen)[:, -1:]) - 1) % length
        return nn.arange(length, seen)[None] <= last

    class Encoder(stack):  # type: ignore[misc]
        """A stack that reads the whole source at once."""

        def __init__(self, config: ModelConfig) -> None:
            super().__init__(spec_of(config, "encoder"))
            self.config = config

        def source_mask(self, input_ids: Array | None, attention_mask: Array | None) -> Array | None:
            """(B, S) boolean: the mask given, or what is not padding, or None where all is seen; of sounds (B, samples)."""
            front = self.spec.front
            if attention_mask is not None:
                if front is not None and not front.has_mask:
                    raise InputError(
                        f"attention_mask: all of {front.argument} is seen, so it has no mask; leave it out."
                    )
                return nn.flags(attention_mask)
            if front is not None or input_ids is None or self.config.pad_token_id is None:
                return None
            return input_ids != self.config.pad_token_id

        def global_places(self, mask: Array | None, seen: Array | None, like: Array) -> Array | None:
            """Where the tokens stand (B, G) that a global mask (B, S) marks, -1 for none; G is the most that a row has.

            Raises InputError where attention knows no such tokens.
            """
            if mask is None:
                return None
            if not isinstance(self.spec.attention, Sliding):
                raise InputError("global_attention_mask was given, and the encoder's attention is not a sliding one.")
            check_mask(mask, tuple(like.shape[:2]), "global_attention_mask")
            chosen, length = nn.flags(mask), nn.size(mask, 1)
            chosen = chosen if seen is None else chosen & seen
            order = nn.where(chosen, length - nn.arange(length, mask)[None], 0)
            left, places = nn.top_k(nn.number(order), nn.most(chosen))
            return nn.where(left > 0, places, -1)

        def memory_mask(self, seen: Array | None, length: Any) -> Array | None:
            """Which of `length` states a decoder may see, (B, length): the source's own mask, made shorter as sounds are."""
            front = self.spec.front
            return seen if seen is None or not isinstance(front, Waves) else shortened(seen, front.states, length)

        def check_values(self, values: Array | None, attention_mask: Array | None, **others: Array | None) -> None:
            """Raises InputError for what is no image or sound that can be read."""
            front = self.spec.front
            for name, other in others.items():
                if other is not None:
                    raise InputError(f"encoder: {name} came and it reads {front.argument}.")
            if values is None:
                raise InputError(f"encoder: {front.argument} were expected, and nothing came.")
            front.check(tuple(values.shape))
            if front.has_mask:
                check_mask(attention_mask, tuple(values.shape[:2]), "attention_mask")

        def check_inputs(
            self,
            input_ids: Array | None,
            attention_mask: Array | None,
            token_type_ids: Array | None,
            inputs_embeds: Array | None,
            in_chunks: bool = False,
        ) -> None:
            """Raises InputError for what cannot be read: at once, or with `in_chunks` window by window."""
            check_tokens(input_ids, inputs_embeds, self.spec, "encoder")
            if not in_chunks:
                remedy = "; or read all of it in windows: encode_in_chunks=True"
                check_length(input_ids if inputs_embeds is None else inputs_embeds, self.spec, "encoder", 0, remedy)
            if token_type_ids is not None and self.spec.types:
                nn.check_range(token_type_ids, self.spec.types, "token_type_ids")
            came: Any = input_ids if inputs_embeds is None else inputs_embeds
            check_mask(attention_mask, tuple(came.shape[:2]), "attention_mask")

        def forward(
            self,
            input_ids: Array | None = None,
            attention_mask: Array | None = None,
            token_type_ids: Array | None = None,
            position_ids: Array | None = None,
            inputs_embeds: Array | None = None,
            output_attentions: bool = False,
            output_hidden_states: bool = False,
            return_dict: bool = True,
            global_attention_mask: Array | None = None,
            global_tokens: Array | None = None,
            pixel_values: Array | None = None,
            input_values: Array | None = None,
            input_features: Array | None = None,
        ) -> ModelOutput | tuple[Array, ...]:
            """input_ids (B, S) -> BaseModelOutput. A missing mask is inferred from the pad token.

            `global_attention_mask` (B, S) is 1 for tokens that all see and that see all, where attention is sliding
            (Longformer, LED). Within a traced call, where nobody knows how many there are, each token has room for all;
            `global_tokens` (B, G), their places in order and -1 where a row has fewer, says it there.
            Encoders of images read pixel_values (B, C, height, width) instead, those of sounds input_values (B, samples)
            with attention_mask (B, samples), or input_features (B, mel bins, frames).
            """
            (
                input_ids,
                attention_mask,
                token_type_ids,
                position_ids,
                inputs_embeds,
                global_attention_mask,
                global_tokens,
            ) = nn.given(
                input_ids=input_ids,
                attention_mask=attention_mask,
                token_type_ids=token_type_ids,
                position_ids=position_ids,
                inputs_embeds=inputs_embeds,
                global_attention_mask=global_attention_mask,
                global_tokens=global_tokens,
            )
            senses = {"pixel_values": pixel_values, "input_values": input_values, "input_features": input_features}
            input_ids, values = source_of(self.spec.front, input_ids, senses)
            trace = Trace.of(attentions=output_attentions, hidden_states=output_hidden_states)
            if self.spec.front is None:
                self.check_inputs(input_ids, attention_mask, token_type_ids, inputs_embeds)
                given = self.text_inputs(
                    input_ids,
                    attention_mask,
                    token_type_ids,
                    position_ids,
                    inputs_embeds,
                    global_attention_mask,
                    global_tokens,
                )
            else:
                values = nn.given(**{self.spec.front.argument: values})[0]
                others = {
                    "token_type_ids": token_type_ids,
                    "position_ids": position_ids,
                    "inputs_embeds": inputs_embeds,
                    "global_attention_mask": global_attention_mask,
                    "global_tokens": global_tokens,
                }
                self.check_values(values, attention_mask, **others)
                given = self.sense_inputs(values, attention_mask)
            given.trace = trace
            x, _ = self.hidden(given)
            x = x if self.adapter is None else self.adapter(x)
            out = BaseModelOutput.of(
                last_hidden_state=x,
                hidden_states=None if trace is None or trace.hidden_states is None else tuple(trace.hidden_states),
                attentions=None if trace is None or trace.attentions is None else tuple(trace.attentions),
            )
            return out if return_dict else out.to_tuple()

        def text_inputs(
            self,
            input_ids: Array | None,
            attention_mask: Array | None,
            token_type_ids: Array | None,
            position_ids: Array | None,
            inputs_embeds: Array | None,
            global_attention_mask: Array | None,
            global_tokens: Array | None,
        ) -> Inputs:
            """A text (B, S) in the stack's terms."""
            seen = self.source_mask(input_ids, attention_mask)
            came: Any = input_ids if inputs_embeds is None else inputs_embeds
            length = nn.size(came, 1)
            place = placed(self, input_ids, position_ids, came, 0, length)
            x = self.embed(input_ids, place.rows, token_type_ids, inputs_embeds)
            mask = None if seen is None else seen[:, None, None, :]
            if self.spec.causal:
                past = causal_mask(length, 0, length, came)
                mask = past if mask is None else mask & past
            chosen = self.global_places(global_attention_mask, seen, came) if global_tokens is None else global_tokens
            return Inputs(x, place, mask, global_tokens=chosen)

        def sense_inputs(self, values: Array, attention_mask: Array | None) -> Inputs:
            """Images or sounds in the stack's terms."""
            front = self.spec.front
            seen = self.source_mask(None, attention_mask)
            if seen is not None:
                seen = shortened(seen, front.frames, front.frames(nn.size(values, 1)))
            x = self.embed(values, seen)
            grid = front.grid(nn.size(values, 2), nn.size(values, 3)) if isinstance(front, Patches) else None
            place = Place(None, nn.arange(nn.size(x, 1), x)[None], None, grid)
            return Inputs(x, place, None if seen is None else seen[:, None, None, :])

    class Decoder(stack):  # type: ignore[misc]
        """A causal stack with cross-attention and logits."""

        def __init__(self, config: ModelConfig) -> None:
            super().__init__(spec_of(config, "decoder"))
            self.config = config

        def empty_cache(self, batch: Any, slots: Any, like: Array) -> list[Cache]:
            """Keys and values (B, H, slots, D) of zeros, for each layer."""
            shape = (batch, self.spec.key_heads, slots, self.spec.head_dim)
            return [(nn.zeros(shape, like), nn.zeros(shape, like)) for _ in range(self.spec.layers)]

        def causal_mask(self, length: Any, past: Any, slots: Any, attention_mask: Array | None, like: Array) -> Array:
            """(1 or B, 1, T, slots in sight): what each of `length` new tokens may see."""
            width = nn.window(past + length, slots)
            mask = causal_mask(length, past, width, like)
            if attention_mask is None:
                return mask
            return mask & nn.padded(nn.flags(attention_mask), 1, width, False)[:, None, None, :width]

        def step(
            self,
            ids: Array,
            place: Place,
            mask: Array | None,
            memory: list[Cache],
            memory_mask: Array | None,
            cache: list[Cache],
            at: Any,
        ) -> tuple[Array, list[Cache]]:
            """One step of decoding: ids (B, T) -> hidden states (B, T, W) and the cache, written from slot `at` on."""
            x = self.embed(ids, place.rows)
            hidden, cache = self.hidden(Inputs(x, place, mask, memory, memory_mask, cache, at))
            return hidden, cache

        def prompted(self, ids: Array, slots: Any) -> Place:
            """Where the tokens of a prompt (B, T) stand, which is read into a cache of so many slots."""
            return placed(self, ids, None, ids, 0, nn.window(nn.size(ids, 1), slots))

        def abreast(self, ids: Array, start: Any, order: Array | None) -> Place:
            """Where the next tokens of several hypotheses stand, ids (B, K) side by side: all at `start`.

            `order` (1, S) is where each slot's token stands, for decoders to which distance matters.
            """
            rows = self.embed.rows(ids[..., None], 1, start, ids)
            here = nn.arange(1, ids)[None] + start
            return Place(None if rows is None else nn.last_axis(rows), here, None if order is None else (here, order))

        def forward(
            self,
            input_ids: Array | None = None,
            attention_mask: Array | None = None,
            encoder_hidden_states: Array | None = None,
            encoder_attention_mask: Array | None = None,
            token_type_ids: Array | None = None,
            position_ids: Array | None = None,
            inputs_embeds: Array | None = None,
            past_key_values: DecoderCache | None = None,
            use_cache: bool = False,
            output_attentions: bool = False,
            output_hidden_states: bool = False,
            return_dict: bool = True,
            return_logits: bool = True,
        ) -> ModelOutput | tuple[Array, ...]:
            """input_ids (B, T) after what past_key_values holds -> CausalLMOutput.

            encoder_hidden_states (B, S, W), already of the decoder's width. With return_logits=False the field `logits`
            holds the last hidden states instead.
            """
            (
                input_ids,
                attention_mask,
                encoder_hidden_states,
                encoder_attention_mask,
                token_type_ids,
                position_ids,
                inputs_embeds,
            ) = nn.given(
                decoder_input_ids=input_ids,
                decoder_attention_mask=attention_mask,
                encoder_hidden_states=encoder_hidden_states,
                encoder_attention_mask=encoder_attention_mask,
                decoder_token_type_ids=token_type_ids,
                decoder_position_ids=position_ids,
                decoder_inputs_embeds=inputs_embeds,
            )
            past = 0 if past_key_values is None else past_key_values.length
            check_tokens(input_ids, inputs_embeds, self.spec, "decoder")
            check_length(input_ids if inputs_embeds is None else inputs_embeds, self.spec, "decoder", past, "")
            if token_type_ids is not None:
                if not self.spec.types:
                    raise InputError("decoder_token_type_ids were given, and the decoder knows no token types.")
                nn.check_range(token_type_ids, self.spec.types, "decoder_token_type_ids")
            came: Any = input_ids if inputs_embeds is None else inputs_embeds
            batch, length = nn.size(came, 0), nn.size(came, 1)
            if past_key_values is None or not nn.FIXED_SHAPES:
                check_mask(attention_mask, (batch, past + length), "decoder_attention_mask")
            trace = Trace.of(attentions=output_attentions, hidden_states=output_hidden_states)
            cached = use_cache or past_key_values is not None
            slots = self.slots_for(past_key_values, past + length) if cached else length
            place = placed(self, input_ids, position_ids, came, past, nn.window(past + length, slots))
            x = self.embed(input_ids, place.rows, token_type_ids, inputs_embeds)
            cache = self.extended(past_key_values, batch, slots, x) if cached else None
            memory, memory_mask = self.memory_of(
                encoder_hidden_states, encoder_attention_mask, past_key_values, cache, batch
            )
            mask = self.causal_mask(length, past, slots, attention_mask, x)
            own = None if cache is None else cache.own
            x, own = self.hidden(Inputs(x, place, mask, memory, memory_mask, own, past, trace))
            if cache is not None:
                cache = DecoderCache(own, past + length, memory if isinstance(memory, list) else None, memory_mask)
            out = CausalLMOutput.of(
                logits=self.logits(x) if return_logits else x,
                past_key_values=cache if use_cache else None,
                hidden_states=None if trace is None or trace.hidden_states is None else tuple(trace.hidden_states),
                attentions=None if trace is None or trace.attentions is None else tuple(trace.attentions),
                cross_attentions=None
                if trace is None or trace.cross_attentions is None
                else tuple(trace.cross_attentions),
            )
            return out if return_dict else out.to_tuple()

        def memory_of(
            self,
            states: Array | None,
            mask: Array | None,
            past: DecoderCache | None,
            cache: DecoderCache | None,
            batch: Any,
        ) -> tuple[Array | list[Cache] | None, Array | None]:
            """What the layers cross-attend to, and its mask (B, 1, 1, S); computed once where there is a cache."""
            if past is not None and past.cross is not None:
                return past.cross, past.memory_mask
            if states is None:
                return None, None
            width = self.spec.memory_width or self.spec.width
            if tuple(states.shape[2:]) != (width,):
                raise InputError(
                    f"encoder_hidden_states has shape {tuple(states.shape)}; (batch, tokens, {width}) was expected."
                )
            if not fits((states.shape[0],), (batch,)):
                raise InputError(
                    f"decoder: {batch} rows came and the source has {states.shape[0]}; as many were expected."
                )
            check_mask(mask, tuple(states.shape[:2]), "encoder_attention_mask")
            seen = None if mask is None else nn.flags(mask)[:, None, None, :]
            return (states if cache is None else self.remember(states)), seen

        def slots_for(self, past: DecoderCache | None, length: Any) -> Any:
            """How many slots a cache must have for `length` tokens: what it has, or at least twice that."""
            slots = 0 if past is None else past.own[0][0].shape[2]
            if past is None:
                return length
            return max(length, 2 * slots) if is_more(0, length, slots) else slots

        def extended(self, past: DecoderCache | None, batch: Any, slots: Any, like: Array) -> DecoderCache:
            """A cache of so many slots."""
            if past is None:
                return DecoderCache(self.empty_cache(batch, slots, like), 0)
            there = past.own[0][0].shape[2]
            if there == slots:
                return past
            more = self.empty_cache(batch, slots - there, like)
            own = [
                (nn.concat([k, k2], 2), nn.concat([v, v2], 2)) for (k, v), (k2, v2) in zip(past.own, more, strict=True)
            ]
            return DecoderCache(own, past.length, past.cross, past.memory_mask)

    class EncoderDecoder(nn.Module):  # type: ignore[misc]
        """An encoder, a decoder that cross-attends to it, and a projection between them where their widths differ."""

        def join(self, config: EncoderDecoderConfig, encoder: Any, decoder: Any) -> None:
            """Takes the parts in; called once, by the constructor."""
            self.config = config
            self.encoder, self.decoder = encoder, decoder
            wide, narrow = encoder.spec.states_width, decoder.spec.memory_width or decoder.spec.width
            self.enc_to_dec_proj = nn.Linear(wide, narrow) if wide != narrow else None

        def memory(self, encoder_states: Array) -> Array:
            """The encoder's states (B, S, W) in the decoder's width."""
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
            return_dict: bool = True,
            global_attention_mask: Array | None = None,
            pixel_values: Array | None = None,
            input_values: Array | None = None,
            input_features: Array | None = None,
            inputs: Array | None = None,
        ) -> ModelOutput | tuple[Array, ...]:
            """Source ids (B, S) -> the encoder's output, which `decode`, `generate` and a call take as encoder_outputs.

            Where `config.encode_in_chunks` is set, ids are read as `encode_in_chunks` does; attentions of the encoder
            are then there only for sources of one window. Images and sounds come as for a call; `inputs` is another name
            for whichever the encoder reads.
            """
            input_ids = one_of(input_ids, inputs)
            chunks = asked_chunks(self.encoder, self.config.generation)
            if chunks is not None and input_ids is not None and inputs_embeds is None and position_ids is None:
                ids, mask, types = nn.given(
                    input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
                )
                if chunks.cuts(nn.size(ids, 1)):
                    out = encoded_in_chunks(nn, self.encoder, chunks, ids, mask, types, output_hidden_states)
                    return out if return_dict else out.to_tuple()
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
            return_dict: bool = True,
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
            return_dict: bool = True,
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
        ) -> ModelOutput | tuple[Array, ...]:
            """Source ids (B, S), and target ids or labels (B, T) -> Seq2SeqLMOutput.

            Where the encoder reads images, pixel_values (B, C, height, width) come instead of ids; where it reads sounds,
            input_values (B, samples) with attention_mask (B, samples), or input_features (B, mel bins, frames). `inputs`,
            or what comes first, is whichever the encoder reads.
            Labels make the decoder's inputs; -100 counts for no loss. The loss is a mean over the labels that count, or
            with `num_items_in_batch` their sum over that number, so that gradient accumulation stays a token mean. With
            `return_logits=False` only the loss is computed, over the labels that count: what training needs, for less.
            `use_cache` is true unless there are labels. Raises InputError for what does not fit.
            """
            input_ids, attention_mask, decoder_input_ids, labels = nn.given(
                input_ids=one_of(input_ids, inputs),
                attention_mask=attention_mask,
                decoder_input_ids=decoder_input_ids,
                labels=labels,
            )
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
                )
            elif not isinstance(encoder_outputs, ModelOutput):
                encoder_outputs = as_encoder_output(encoder_outputs)
            states = nn.given(encoder_outputs=encoder_outputs["last_hidden_state"])[0]
            if labels is not None:
                nn.check_range(nn.where(labels == IGNORED, 0, labels), self.decoder.spec.vocab, "labels")
            seen = self.encoder.source_mask(input_ids, attention_mask)
            seen = self.encoder.memory_mask(seen, nn.size(states, 1))
            if labels is not None and decoder_input_ids is None and decoder_inputs_embeds is None:
                decoder_input_ids = self.prepare_decoder_input_ids_from_labels(labels)
                if decoder_attention_mask is None and self.encoder.spec.front is None:  # as transformers' classes do
                    decoder_attention_mask = nn.first_seen(decoder_input_ids != self.config.generation.pad_token_id)
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
            )
            loss, logits = None, out["logits"]
            if labels is not None:
                check_mask(labels, tuple(logits.shape[:2]), "labels")
                if not return_logits:
                    logits, labels = nn.selected(logits, labels, labels != IGNORED)
                    logits = self.decoder.logits(logits)
                loss = nn.cross_entropy(logits, labels, IGNORED, num_items_in_batch)
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
            return joined if return_dict else joined.to_tuple()

    return {c.__name__: c for c in (Encoder, Decoder, EncoderDecoder)}


def one_of(input_ids: Array | None, inputs: Array | None) -> Array | None:
    """A source by either of its names. Raises InputError for two sources."""
    if input_ids is not None and inputs is not None:
        raise InputError("input_ids and inputs came, which are two names for one; pass one of them.")
    return input_ids if inputs is None else inputs


def fits(shape: tuple[Any, ...], expected: tuple[Any, ...]) -> bool:
    """Whether two shapes are equal where both are known."""
    if len(shape) != len(expected):
        return False
    return all(not (isinstance(a, int) and isinstance(b, int)) or a == b for a, b in zip(shape, expected, strict=True))


def is_more(past: Any, length: Any, limit: int) -> bool:
    """Whether so many tokens are more than `limit`, as far as is known."""
    return isinstance(past, int) and isinstance(length, int) and past + length > limit


def states_of(outputs: Any) -> Array:
    """The last hidden states of an encoder's output, of ours or another library's, or of a tuple."""
    return (
        outputs["last_hidden_state"]
        if isinstance(outputs, Mapping)
        else as_encoder_output(outputs)["last_hidden_state"]
    )


def as_encoder_output(given: Any) -> Mapping[str, Array]:
    """Encoder outputs of another library, or a tuple, as ours."""
    if isinstance(given, Mapping):
        return given
    if isinstance(given, tuple):
        return BaseModelOutput.of(**dict(zip(BaseModelOutput.fields, given, strict=False)))
    raise InputError(f"encoder_outputs is a {type(given).__name__}; an encoder's output or a tuple was expected.")
