"""The decoder, written once: a causal stack with cross-attention and logits.

Shapes: B batch, S source tokens, T target tokens, W width, V vocabulary.
"""

from typing import Any

from conjoin.blocks import Cache, Inputs, Place, Trace
from conjoin.config import ModelConfig
from conjoin.errors import InputError
from conjoin.families import spec_of
from conjoin.outputs import CausalLMOutput, ModelOutput
from conjoin.seq2seq.cache import DecoderCache
from conjoin.seq2seq.checks import check_length, check_mask, check_tokens, fits, is_more
from conjoin.seq2seq.places import causal_mask, left_out, placed

__all__ = ["define"]

Array = Any


def define(nn: Any, stack: Any) -> Any:
    """The class Decoder, native to the framework of the backend `nn`."""

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
            mask = causal_mask(nn, length, past, width, like)
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
            trace: Trace | None = None,
            stands: Array | None = None,
        ) -> tuple[Array, list[Cache]]:
            """One step of decoding: ids (B, T) -> hidden states (B, T, W) and the cache, written from slot `at` on."""
            x = self.embed(ids, self.counted(place.rows, mask))
            hidden, cache = self.hidden(Inputs(x, place, mask, memory, memory_mask, cache, at, trace, stands))
            return hidden, cache

        def counted(self, rows: Array | None, mask: Array | None) -> Array | None:
            """Rows of the position table (1 or B, T), by what the mask (B, 1, T, S) shows of each where only that is counted."""
            if mask is None or not self.spec.position_seen:
                return rows
            seen = nn.total(mask[:, 0]) + (self.spec.position_offset - 1)
            return nn.clipped(seen, 0, self.spec.positions - 1)  # what only fills a batch up may see more than there is

        def prompted(self, ids: Array, slots: Any) -> Place:
            """Where the tokens of a prompt (B, T) stand, which is read into a cache of so many slots."""
            return placed(nn, self, ids, None, ids, 0, nn.window(nn.size(ids, 1), slots))

        def abreast(self, ids: Array, start: Any, order: Array | None) -> Place:
            """Where tokens (B, K) side by side stand: all at `start`, or each at its own (B, K, 1).

            `order` (1 or B, S) is where each slot's token stands, for decoders to which distance matters.
            """
            rows = self.embed.rows(ids[..., None], 1, start, ids)
            here = nn.last_axis(nn.arange(1, ids)[None] + start)
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
            return_dict: bool | None = True,
            return_logits: bool = True,
            read_mask: Array | None = None,
        ) -> ModelOutput | tuple[Array, ...]:
            """input_ids (B, T) after what past_key_values holds -> CausalLMOutput.

            encoder_hidden_states (B, S, W), already of the decoder's width. With return_logits=False the field `logits`
            holds the last hidden states instead. `read_mask` (B, T) is as for an encoder.
            """
            (
                input_ids,
                attention_mask,
                encoder_hidden_states,
                encoder_attention_mask,
                token_type_ids,
                position_ids,
                inputs_embeds,
                read_mask,
            ) = nn.given(
                decoder_input_ids=input_ids,
                decoder_attention_mask=attention_mask,
                encoder_hidden_states=encoder_hidden_states,
                encoder_attention_mask=encoder_attention_mask,
                decoder_token_type_ids=token_type_ids,
                decoder_position_ids=position_ids,
                decoder_inputs_embeds=inputs_embeds,
                read_mask=read_mask,
            )
            past = 0 if past_key_values is None else past_key_values.length
            check_tokens(nn, input_ids, inputs_embeds, self.spec, "decoder")
            check_length(input_ids if inputs_embeds is None else inputs_embeds, self.spec, "decoder", past, "")
            if token_type_ids is not None:
                if not self.spec.types:
                    raise InputError("decoder_token_type_ids were given, and the decoder knows no token types.")
                nn.check_range(token_type_ids, self.spec.types, "decoder_token_type_ids")
            came: Any = input_ids if inputs_embeds is None else inputs_embeds
            batch, length = nn.size(came, 0), nn.size(came, 1)
            if past_key_values is None or not nn.FIXED_SHAPES:
                check_mask(attention_mask, (batch, past + length), "decoder_attention_mask")
            check_mask(read_mask, (batch, length), "read_mask")
            trace = Trace.of(attentions=output_attentions, hidden_states=output_hidden_states)
            cached = use_cache or past_key_values is not None
            slots = self.slots_for(past_key_values, past + length) if cached else length
            place = placed(nn, self, input_ids, position_ids, came, past, nn.window(past + length, slots))
            mask = self.causal_mask(length, past, slots, attention_mask, came)
            counts = position_ids is None and attention_mask is not None
            rows = self.counted(place.rows, mask) if counts else place.rows
            x = self.embed(input_ids, rows, token_type_ids, inputs_embeds)
            cache = self.extended(past_key_values, batch, slots, x) if cached else None
            memory, memory_mask = self.memory_of(
                encoder_hidden_states, encoder_attention_mask, past_key_values, cache, batch
            )
            own = None if cache is None else cache.own
            given = Inputs(x, place, mask, memory, memory_mask, own, past, trace)
            if cache is None and trace is None:
                seen = None if memory_mask is None else memory_mask[:, 0, 0]
                given.memory_packing = nn.packing(self, seen, seen)
                own_seen = None if attention_mask is None else nn.flags(attention_mask)
                given.packing = left_out(nn, self, own_seen, read_mask)
            x, own = self.hidden(given)
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
            return out if return_dict is not False else out.to_tuple()

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

    return Decoder
