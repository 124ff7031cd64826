"""The encoder, written once: a stack that reads the whole source at once.

Shapes: B batch, S source tokens, W width.
"""

from typing import Any, NamedTuple

from conjoin.blocks import Inputs, Place, Trace
from conjoin.config import ModelConfig
from conjoin.errors import InputError
from conjoin.families import spec_of
from conjoin.outputs import BaseModelOutput, ModelOutput
from conjoin.senses import Patches, Waves, source_of
from conjoin.seq2seq.checks import check_length, check_mask, check_tokens
from conjoin.seq2seq.places import causal_mask, left_out, placed, shortened
from conjoin.spec import Sliding

__all__ = ["define"]

Array = Any


class Text(NamedTuple):
    """What an encoder is given of a text, by the names of its call; each an array or None."""

    input_ids: Array | None
    attention_mask: Array | None
    token_type_ids: Array | None
    position_ids: Array | None
    inputs_embeds: Array | None
    global_attention_mask: Array | None
    global_tokens: Array | None


def define(nn: Any, stack: Any) -> Any:
    """The class Encoder, native to the framework of the backend `nn`."""

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
            return seen if seen is None or not isinstance(front, Waves) else shortened(nn, seen, front.states, length)

        def check_values(self, values: Array | None, attention_mask: Array | None, **others: Array | None) -> None:
            """Raises InputError for what is no image or sound that can be read, or came beside one."""
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
            check_tokens(nn, input_ids, inputs_embeds, self.spec, "encoder")
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
            return_dict: bool | None = True,
            global_attention_mask: Array | None = None,
            global_tokens: Array | None = None,
            pixel_values: Array | None = None,
            input_values: Array | None = None,
            input_features: Array | None = None,
            read_mask: Array | None = None,
        ) -> ModelOutput | tuple[Array, ...]:
            """input_ids (B, S) -> BaseModelOutput. A missing mask is inferred from the pad token.

            `global_attention_mask` (B, S) is 1 for tokens that all see and that see all, where attention is sliding
            (Longformer, LED). Within a traced call, where nobody knows how many there are, each token has room for all;
            `global_tokens` (B, G), their places in order and -1 where a row has fewer, says it there.
            Encoders of images read pixel_values (B, C, height, width) instead, those of sounds input_values (B, samples)
            with attention_mask (B, samples), or input_features (B, mel bins, frames).
            `read_mask` (B, S) is where states will be read: those of padding elsewhere may be zeros, as they are in PyTorch
            on a CPU in training mode, unless attentions or hidden states are asked for.
            """
            text = Text(
                *nn.given(
                    input_ids=input_ids,
                    attention_mask=attention_mask,
                    token_type_ids=token_type_ids,
                    position_ids=position_ids,
                    inputs_embeds=inputs_embeds,
                    global_attention_mask=global_attention_mask,
                    global_tokens=global_tokens,
                )
            )
            senses = {"pixel_values": pixel_values, "input_values": input_values, "input_features": input_features}
            _, values = source_of(self.spec.front, text.input_ids, senses)
            trace = Trace.of(attentions=output_attentions, hidden_states=output_hidden_states)
            read = None if trace is not None else nn.given(read_mask=read_mask)[0]
            given = self.text_inputs(text, read) if self.spec.front is None else self.sense_inputs(values, text)
            given.trace = trace
            x, _ = self.hidden(given)
            x = x if self.adapter is None else self.adapter(x)
            out = BaseModelOutput.of(
                last_hidden_state=x,
                hidden_states=None if trace is None or trace.hidden_states is None else tuple(trace.hidden_states),
                attentions=None if trace is None or trace.attentions is None else tuple(trace.attentions),
            )
            return out if return_dict is not False else out.to_tuple()

        def text_inputs(self, text: Text, read: Array | None) -> Inputs:
            """A text (B, S) in the stack's terms, its states read where `read` says. Raises InputError for one that cannot be."""
            ids, embeddings = text.input_ids, text.inputs_embeds
            self.check_inputs(ids, text.attention_mask, text.token_type_ids, embeddings)
            seen = self.source_mask(ids, text.attention_mask)
            came: Any = ids if embeddings is None else embeddings
            check_mask(read, tuple(came.shape[:2]), "read_mask")
            length = nn.size(came, 1)
            place = placed(nn, self, ids, text.position_ids, came, 0, length)
            x = self.embed(ids, place.rows, text.token_type_ids, embeddings)
            mask = None if seen is None else seen[:, None, None, :]
            if self.spec.causal:
                past = causal_mask(nn, length, 0, length, came)
                mask = past if mask is None else mask & past
            chosen = text.global_tokens
            if chosen is None:
                chosen = self.global_places(text.global_attention_mask, seen, came)
            packing = left_out(nn, self, seen, read)
            return Inputs(x, place, mask, global_tokens=chosen, packing=packing)

        def sense_inputs(self, values: Array | None, text: Text) -> Inputs:
            """Images or sounds in the stack's terms. Raises InputError for what is none that can be read."""
            front = self.spec.front
            values = nn.given(**{front.argument: values})[0]
            others = {name: x for name, x in text._asdict().items() if name not in ("input_ids", "attention_mask")}
            self.check_values(values, text.attention_mask, **others)
            seen = self.source_mask(None, text.attention_mask)
            if seen is not None:
                seen = shortened(nn, seen, front.frames, front.frames(nn.size(values, 1)))
            x = self.embed(values, seen)
            grid = front.grid(nn.size(values, 2), nn.size(values, 3)) if isinstance(front, Patches) else None
            place = Place(None, nn.arange(nn.size(x, 1), x)[None], None, grid)
            return Inputs(x, place, None if seen is None else seen[:, None, None, :])

    return Encoder
