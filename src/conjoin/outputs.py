"""What models return: dictionaries with attributes, as transformers' are; what is None is no key."""

from typing import Any, ClassVar, Self

__all__ = ["BaseModelOutput", "CausalLMOutput", "ChunkedOutput", "GenerateOutput", "ModelOutput", "Seq2SeqLMOutput"]


class ModelOutput(dict[str, Any]):
    """A dictionary whose entries are attributes too, and whose values can be had by number as from a tuple."""

    fields: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def of(cls, **values: Any) -> Self:
        """From all fields, of which those that are None are left out."""
        return cls({name: values[name] for name in cls.fields if values.get(name) is not None})

    def __getattr__(self, name: str) -> Any:
        if name in type(self).fields:
            return self.get(name)
        raise AttributeError(f'{type(self).__name__} has no "{name}"; it has {", ".join(type(self).fields)}.')

    def __getitem__(self, key: Any) -> Any:
        return self.to_tuple()[key] if isinstance(key, int | slice) else super().__getitem__(key)

    def to_tuple(self) -> tuple[Any, ...]:
        """The values that are there, in order."""
        return tuple(self.values())


class BaseModelOutput(ModelOutput):
    """What an encoder returns: last_hidden_state (B, S, W); hidden_states, L + 1 of them; attentions (B, H, S, S)."""

    fields = ("last_hidden_state", "hidden_states", "attentions")


class ChunkedOutput(ModelOutput):
    """What `encode_in_chunks` returns: last_hidden_state (B, S, W), hidden_states, and attention_mask (B, S) of both."""

    fields = ("last_hidden_state", "hidden_states", "attention_mask")


class CausalLMOutput(ModelOutput):
    """What a decoder returns: logits (B, T, V), past_key_values, hidden_states, attentions, cross_attentions."""

    fields = ("logits", "past_key_values", "hidden_states", "attentions", "cross_attentions")


class Seq2SeqLMOutput(ModelOutput):
    """What a joined model returns: loss (), logits (B, T, V), past_key_values, and both sides' states and attentions.

    encoder_last_hidden_state (B, S, W of the encoder) is before the projection.
    """

    fields = (
        "loss",
        "logits",
        "past_key_values",
        "decoder_hidden_states",
        "decoder_attentions",
        "cross_attentions",
        "encoder_last_hidden_state",
        "encoder_hidden_states",
        "encoder_attentions",
    )


class GenerateOutput(ModelOutput):
    """What `generate` returns with return_dict_in_generate: sequences (N, T), and what was asked for, by transformers' names.

    B sources with K hypotheses each, V tokens, one entry a step in each tuple: `scores` after all rules and `logits` before
    them (B * K, V); of beams `sequences_scores` (N,) and `beam_indices` (N, T), from which row each token came, -1 after
    the end. `encoder_attentions` and `encoder_hidden_states` are the source's, by layer; `decoder_attentions`,
    `cross_attentions` (B * K, H, tokens read, tokens seen) and `decoder_hidden_states` (B * K, tokens read, W) have a tuple
    of layers for each step, of which the first reads the prompt. `past_key_values` is a DecoderCache of B * K rows.
    `constraints_met` says of each sequence whether it meets all constraints.
    """

    fields = (
        "sequences",
        "sequences_scores",
        "scores",
        "logits",
        "beam_indices",
        "encoder_attentions",
        "encoder_hidden_states",
        "decoder_attentions",
        "cross_attentions",
        "decoder_hidden_states",
        "past_key_values",
        "constraints_met",
    )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        """The sequences, for who asks NumPy for an array of ids."""
        import numpy as np

        return np.asarray(self["sequences"], dtype=dtype)
