"""What one request, and all of them together, may take: each limit with its default, and the refusal that names it."""

import math
from dataclasses import dataclass, fields

from conjoin.decoding.settings import Settings
from conjoin.errors import InputError
from conjoin.serving.refusals import Refusal

__all__ = ["Limits"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Each is the largest that is taken. docs/serving.md has the same table."""

    source_tokens: int = 4096
    new_tokens: int = 512
    beams: int = 8
    sequences: int = 8  # returned for each text
    texts: int = 64  # of one request
    body_bytes: int = 1 << 20
    queue: int = 256  # texts that wait
    queue_seconds: float = 30.0
    seconds: float = 120.0  # from a request's arrival to its answer
    connections: int = 512
    rows: int = 128  # hypotheses that a step takes on together, of all texts

    def __post_init__(self) -> None:
        """Raises InputError for a limit that lets nothing through, or that another one makes meaningless."""
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 < value < math.inf:
                option = f"--max-{field.name.replace('_', '-')}"
                raise InputError(f"the limit {field.name} ({option}) is {value}; a number above 0 was expected.")
        if self.rows < max(self.beams, self.sequences):
            raise InputError(
                f"the limit rows is {self.rows}, and one text may have {max(self.beams, self.sequences)} hypotheses (limits "
                f"beams, sequences); raise rows, or lower those."
            )

    def refuse(self, name: str, came: int, what: str, field: str | None = None, status: int = 422) -> None:
        """Raises a Refusal where more came than the limit of that name takes."""
        most = getattr(self, name)
        if came > most:
            raise Refusal(status, name, f"{what}: {came} came and this server takes at most {most}.", field=field)

    def check_settings(self, settings: Settings) -> None:
        """Raises a Refusal for settings that ask for more than one text may have."""
        self.refuse("new_tokens", settings.max_length - settings.prompt, "new tokens", "max_new_tokens")
        wide = settings.num_beams > 1
        name = "top_k" if settings.search == "contrastive" else "num_beams" if wide else "num_return_sequences"
        self.refuse("beams" if wide or name == "top_k" else "sequences", settings.hypotheses, name, name)
        self.refuse("sequences", settings.num_return_sequences, "num_return_sequences", "num_return_sequences")
