"""Drafts of an assistant that writes other tokens: what was written goes to it as text, and what it adds comes back as text.

As transformers' universal assisted generation (https://huggingface.co/blog/universal_assisted_generation). Texts are read by
the model's tokenizer; a draft that is not what the model would write is dropped by the check, as any other.
"""

from typing import Any

import torch
from torch import Tensor

from conjoin.decoding.drafting import alike
from conjoin.decoding.settings import Settings

__all__ = ["Translated", "sources_of"]


class Translated:
    """Drafts of up to num_assistant_tokens of the assistant's tokens, by greedy search after the text so far."""

    def __init__(self, settings: Settings, sources: dict[str, Tensor | None]) -> None:
        """`sources` are what the assistant made of them: states (B, S, W), and which may be seen (B, S)."""
        assert settings.vocabularies is not None
        self.assistant, self.count, self.ends = settings.assistant, settings.num_assistant_tokens, settings.eos
        self.ours, self.theirs = settings.vocabularies
        self.sources = sources

    def draft(self, ids: Tensor, length: Tensor, row: Tensor, most: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, D) that may come after `length` (B,) of ids (B, L), and how many (B,) of them count, at most `most`."""
        written = [one[1:count] for one, count in zip(ids.tolist(), length.tolist(), strict=True)]
        texts = [self.ours.decode(one, skip_special_tokens=True) for one in written]
        drafts = [self.back(*one) for one in zip(written, texts, self.continued(texts), strict=True)]
        counts = torch.tensor([len(one) for one in drafts], device=ids.device).minimum(most)
        made = ids.new_zeros(len(ids), max(map(len, drafts)))
        for i, one in enumerate(drafts):
            made[i, : len(one)] = ids.new_tensor(one)
        return made, counts

    def continued(self, texts: list[str]) -> list[tuple[str, bool]]:
        """Texts with what the assistant adds to each, and whether it ended there."""
        start, settings = self.assistant.start_token(), self.assistant.config.generation
        prompts = [[start, *self.theirs(text, add_special_tokens=False)["input_ids"]] for text in texts]
        longest = max(map(len, prompts))
        new = min(self.count, self.assistant.decoder.spec.max_length - longest)
        if new < 1:
            return [(text, False) for text in texts]
        pad, ends = settings.pad_token_id or 0, ends_of(settings.eos_token_id)
        device = self.sources["states"].device  # type: ignore[union-attr]
        made = self.assistant.generate(
            encoder_outputs=(self.sources["states"],),
            attention_mask=self.sources["seen"],
            decoder_input_ids=torch.tensor([[pad] * (longest - len(one)) + one for one in prompts], device=device),
            decoder_attention_mask=torch.tensor(
                [[0] * (longest - len(one)) + [1] * len(one) for one in prompts], device=device
            ),
            **{"max_new_tokens": new, "max_length": None, "num_beams": 1, "num_return_sequences": 1},
            **{"do_sample": False, "return_dict_in_generate": False},
        ).tolist()
        found = []
        for prompt, row in zip(prompts, made, strict=True):
            added = row[longest:]
            stop = next((i for i, token in enumerate(added) if token in ends), len(added))
            found.append(
                (self.theirs.decode([*prompt[1:], *added[:stop]], skip_special_tokens=True), stop < len(added))
            )
        return found

    def back(self, written: list[int], text: str, continued: tuple[str, bool]) -> list[int]:
        """The model's tokens that stand after those written where its text goes on as another does."""
        whole, ended = continued
        own = self.ours(whole, add_special_tokens=False)["input_ids"]
        if own[: len(written)] == written:
            added = own[len(written) :]
        elif whole.startswith(text):  # cut otherwise than it was written
            added = self.ours(whole[len(text) :], add_special_tokens=False)["input_ids"]
        else:
            return []
        return [*added, self.ends[0]] if ended and self.ends else added

    def learn(self, made: Tensor, counts: Tensor) -> None:
        """Nothing: each draft begins with the text alone."""

    def select(self, index: Tensor) -> None:
        """Only some rows from here on."""
        self.sources = {name: None if x is None else x[index] for name, x in self.sources.items()}


def ends_of(tokens: Any) -> tuple[int, ...]:
    """One token that ends a text, or several, or none."""
    if tokens is None:
        return ()
    return (tokens,) if isinstance(tokens, int) else tuple(tokens)


def sources_of(
    model: Any, assistant: Any, ids: Tensor | None, seen: Tensor | None, states: Tensor
) -> dict[str, Tensor | None]:
    """What an assistant reads of the sources ids (B, S), of which the model made states (B, S, W)."""
    if assistant.encoder is model.encoder:
        return {"states": states, "seen": seen}
    assert ids is not None
    if not alike(model.encoder.tokenizer, assistant.encoder.tokenizer):
        mask = torch.ones_like(ids) if seen is None else seen
        kept = [row[there.bool()].tolist() for row, there in zip(ids, mask, strict=True)]
        texts = model.encoder.tokenizer.batch_decode(kept, skip_special_tokens=True)
        ids, seen = padded(assistant.encoder, texts, states.device)
    return {"states": assistant.encode(ids, seen)["last_hidden_state"], "seen": seen}


def padded(encoder: Any, texts: list[str], device: torch.device) -> tuple[Tensor, Tensor]:
    """Texts as an encoder reads them, ids and mask (B, S); of what it has no positions for, the end is left out."""
    most, pad = encoder.spec.max_length, encoder.tokenizer.pad_token_id or 0
    rows = [row[:most] for row in encoder.tokenizer(texts)["input_ids"]]
    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *[pad] * (longest - len(row))] for row in rows], device=device)
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows], device=device)
    return ids, mask
