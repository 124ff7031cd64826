"""Extractor: a text encoder with a head that scores sentences (BertSumExt, https://arxiv.org/abs/1908.08345), in PyTorch.

Shapes: B documents, S tokens, N sentences, W width.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conjoin.checkpoint import atomic_folder, require_space
from conjoin.config import read_json
from conjoin.errors import CheckpointError, ConfigError, InputError, refuse_unknown
from conjoin.extraction.documents import sentences_of
from conjoin.extraction.encoding import Encoded, collated, encoded, marks
from conjoin.extraction.files import HEAD_FILE, SETTINGS_FILE, is_extractor
from conjoin.extraction.selecting import best_sentences
from conjoin.hub import resolve
from conjoin.joining import MODEL_FILES
from conjoin.senses import refuse_senses
from conjoin.torch.parts import Encoder, Placed

__all__ = ["Extractor", "Settings", "sentence_loss"]

SLOWEST = 10000.0  # of the wavelengths of sentence positions, over 2 pi
LEAST = 8  # tokens of a document


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What an extractor is beside its encoder, and how it chooses; extractor.json."""

    layers: int = 2  # between sentences; 0 for a linear classifier
    heads: int = 8
    ffn: int = 2048
    dropout: float = 0.1
    sentences: int = 3  # how many are chosen
    block_trigrams: bool = True
    language: str = "en"  # by whose rules texts are split
    max_source_length: int | None = None  # tokens; the encoder's positions

    def __post_init__(self) -> None:
        least = {"layers": 0, "heads": 1, "ffn": 1, "sentences": 1}
        for name, low in least.items():
            value = getattr(self, name)
            if type(value) is not int or value < low:
                raise ConfigError(f"{name} is {value!r}; a whole number from {low} on was expected.")

    @classmethod
    def from_dict(cls, found: dict[str, Any]) -> Self:
        """From what extractor.json holds. Raises ConfigError for a setting that is not known."""
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(found) - known)
        if unknown:
            raise ConfigError(f"an extractor has no setting {', '.join(unknown)}; it has {', '.join(sorted(known))}.")
        return cls(**found)


class SentenceHead(nn.Module):
    """Sentence vectors (B, N, W) -> scores (B, N): positions, transformer layers between sentences, and a classifier."""

    def __init__(self, width: int, settings: Settings) -> None:
        super().__init__()
        self.width = width
        self.dropout = nn.Dropout(settings.dropout)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width,
                settings.heads,
                settings.ffn,
                settings.dropout,
                activation="gelu",
                batch_first=True,
                norm_first=True,
            )
            for _ in range(settings.layers)
        )
        self.norm = nn.LayerNorm(width) if settings.layers else nn.Identity()
        self.score = nn.Linear(width, 1)

    def forward(self, x: Tensor, there: Tensor) -> Tensor:
        """`there` (B, N) says which sentences a row has."""
        if len(self.layers):
            x = self.dropout(x + sinusoids(x.shape[1], self.width).to(x))
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=~there)
        scores: Tensor = self.score(self.norm(x))[..., 0]
        return scores


def sinusoids(count: int, width: int) -> Tensor:
    """Positions (N, W) of sentences: sines and cosines by turns."""
    rates = SLOWEST ** (-torch.arange(0, width, 2) / width)
    angles = torch.arange(count)[:, None] * rates
    return torch.stack((angles.sin(), angles.cos()), -1).flatten(1)[:, :width]


class Extractor(Placed, nn.Module):
    """An encoder and a head over the states of the tokens that begin sentences.

    A folder of one is a folder of its encoder, with extractor.json and extractor.safetensors beside: so it is joined with
    a decoder as any other encoder. Raises ConfigError for an encoder whose tokenizer cannot mark sentences, InputError for
    one that reads no texts.
    """

    def __init__(self, encoder: Encoder, settings: Settings | None = None) -> None:
        super().__init__()
        refuse_senses(encoder.spec.front, "sentences are")
        marks(encoder.tokenizer)
        self.encoder = encoder
        self.settings = Settings(heads=encoder.spec.heads, ffn=encoder.spec.ffn) if settings is None else settings
        if encoder.spec.states_width % self.settings.heads:
            raise ConfigError(f"heads is {self.settings.heads}, of which {encoder.spec.states_width} is no multiple.")
        asked, most = self.settings.max_source_length, encoder.spec.max_length
        if asked is not None and not LEAST <= asked <= most:
            raise ConfigError(f"max_source_length is {asked}; {LEAST} to the encoder's {most} was expected.")
        self.head = SentenceHead(encoder.spec.states_width, self.settings)
        self.to(encoder.dtype)

    @property
    def limit(self) -> int:
        """The most tokens of a document."""
        return self.settings.max_source_length or self.encoder.spec.max_length

    @property
    def typed(self) -> bool:
        """Whether sentences are told apart by token types (interval segment embeddings)."""
        return self.encoder.spec.types > 1

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        places: Tensor,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> Tensor:
        """Scores (B, N), before the sigmoid, of the sentences that begin at `places`; or with labels (B, N) the loss.

        The loss is the mean of the binary cross-entropy over all sentences.
        """
        states = self.encoder(input_ids, attention_mask, token_type_ids).last_hidden_state
        there = places >= 0
        index = places.clamp(min=0)[..., None].expand(-1, -1, states.shape[-1])
        scores: Tensor = self.head(states.gather(1, index), there).float()
        if labels is None:
            return scores
        return sentence_loss(scores, labels, there) / there.sum()

    # From texts.

    def encoded(self, sentences: Sequence[str]) -> Encoded:
        """A document as the model reads it."""
        assert self.encoder.tokenizer is not None
        return encoded(self.encoder.tokenizer, sentences, self.limit)

    def batch(self, documents: Sequence[Encoded]) -> dict[str, Tensor]:
        """Documents as `forward` takes them, where the model is."""
        pad = self.encoder.config.pad_token_id or 0
        return {name: x.to(self.device) for name, x in collated(documents, pad, self.typed).items()}

    @torch.no_grad()
    def scores(self, documents: Sequence[Sequence[str]], batch_size: int = 32) -> list[list[float]]:
        """The probability of each sentence that the model had room for, of documents that are lists of sentences."""
        read = [self.encoded(sentences) for sentences in documents]
        order = sorted(range(len(read)), key=lambda i: len(read[i].ids))
        found: dict[int, list[float]] = {}
        for at in range(0, len(order), batch_size):
            index = order[at : at + batch_size]
            made = self(**self.batch([read[i] for i in index])).sigmoid().tolist()
            found |= {i: row[: len(read[i].places)] for i, row in zip(index, made, strict=True)}
        return [found[i] for i in range(len(read))]

    def chosen(
        self, documents: Sequence[Sequence[str]], count: int | None = None, batch_size: int = 32
    ) -> list[list[int]]:
        """The numbers of the sentences that make each document's summary, in the document's order."""
        if count is not None and count < 1:
            raise InputError(f"sentences is {count}; at least 1 was expected.")
        return self.best(documents, self.scores(documents, batch_size), count)

    def best(
        self, documents: Sequence[Sequence[str]], scores: Sequence[Sequence[float]], count: int | None = None
    ) -> list[list[int]]:
        """The same of scores that are known."""
        count = self.settings.sentences if count is None else count
        block = self.settings.block_trigrams
        return [best_sentences(*pair, count, block) for pair in zip(documents, scores, strict=True)]

    def extract(self, document: str | Sequence[str], sentences: int | None = None) -> list[str]:
        """The chosen sentences of a text, or of a list of sentences. Raises DataError for one that is empty."""
        ready = document if isinstance(document, str) else list(document)
        own = sentences_of(ready, "extract()", self.settings.language)
        return [own[i] for i in self.chosen([own], sentences)[0]]

    # Saving and loading.

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes a folder that is its encoder's, the head and settings beside; it appears whole or not at all."""
        target = Path(folder)
        head = {name: tensor.contiguous() for name, tensor in self.head.state_dict().items()}
        require_space(target, sum(x.nbytes for x in self.state_dict().values()))
        with atomic_folder(target) as made:
            from safetensors.torch import save_file

            self.encoder.save_pretrained(made)
            save_file(head, made / HEAD_FILE, metadata={"format": "pt"})
            (made / SETTINGS_FILE).write_text(json.dumps(asdict(self.settings), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def from_pretrained(cls, name: str | Path, *, dtype: Any = None, device: Any = None, **hub: Any) -> Self:
        """An extractor from a folder or hub id, in evaluation mode.

        Raises CheckpointError where it is none, ConfigError, or TypeError for an unknown option.
        """
        refuse_unknown("Extractor.from_pretrained()", hub, ["revision", "token", "local_files_only", "cache_dir"])
        folder = resolve(name, files=(*MODEL_FILES, SETTINGS_FILE, HEAD_FILE), **hub)
        if not is_extractor(folder):
            raise CheckpointError(f'"{name}" has no {SETTINGS_FILE}; a folder of an extractor was expected.')
        settings = Settings.from_dict(read_json(folder / SETTINGS_FILE))
        model = cls(Encoder.from_pretrained(folder, dtype=dtype, device=device), settings)
        model.head.load_state_dict(head_tensors(folder / HEAD_FILE, model.head))
        model.to(model.encoder.device)
        return model.eval()


def sentence_loss(scores: Tensor, labels: Tensor, there: Tensor) -> Tensor:
    """The sum of the binary cross-entropy of scores (B, N), before the sigmoid, over the sentences that are `there`."""
    return F.binary_cross_entropy_with_logits(scores[there], labels[there].to(scores), reduction="sum")


def head_tensors(file: Path, head: nn.Module) -> dict[str, Tensor]:
    """The head's values. Raises CheckpointError where the file is broken, or of another head."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        found: dict[str, Tensor] = load_file(file)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f'"{file}" is not a whole safetensors file ({error}); save it again.') from None
    wanted = {name: tuple(x.shape) for name, x in head.state_dict().items()}
    if wanted != {name: tuple(x.shape) for name, x in found.items()}:
        raise CheckpointError(f'the weights of "{file}" do not fit {SETTINGS_FILE} beside it.')
    return found
