"""Drafts of an assistant: a smaller joined model that reads along, token by token, and guesses what comes next.

Leviathan, Kalman and Matias (2023), https://arxiv.org/abs/2211.17192; Chen et al. (2023), https://arxiv.org/abs/2302.01318.
"""

import torch
from torch import Tensor

from conjoin.decoding.settings import Settings
from conjoin.engine.speculative.choosing import Chooser
from conjoin.engine.speculative.reader import Reader

__all__ = ["Assistant"]


class Assistant:
    """Drafts of up to num_assistant_tokens, fewer where it is not sure.

    A token less likely than assistant_confidence_threshold is a row's last. With the schedule "heuristic" two more are
    drafted after a draft that was taken whole by all rows, and one less after any other.
    """

    def __init__(self, settings: Settings, reader: Reader, chooser: Chooser) -> None:
        """From a reader that has read the prompt."""
        self.reader, self.chooser, self.count = reader, chooser, settings.num_assistant_tokens
        self.schedule, self.threshold = settings.num_assistant_tokens_schedule, settings.assistant_confidence_threshold
        # Each draft begins with the last two tokens: of a draft that was taken whole, the last was never read.
        self.reader.at -= 1
        self.reader.seen[:, self.reader.at :] = False

    def draft(self, ids: Tensor, length: Tensor, row: Tensor, most: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, D) that may come after `length` (B,) of ids (B, L), and how many (B,) of them count, at most `most`."""
        ids = torch.cat([ids, ids.new_zeros(len(ids), 1)], 1)  # where rows write that draft no more
        self.reader.begin()
        last = length[:, None] + torch.tensor([-2, -1], device=ids.device)
        fed, start, counts, going = ids.gather(1, last), length - 2, torch.zeros_like(length), most > 0
        drafted: list[Tensor] = []
        while bool(going.any()) and len(drafted) < self.count:
            logits = self.reader.read(fed, start)[:, -1:]
            place = (length + len(drafted)).clamp(max=ids.shape[1] - 1)
            choice = self.chooser.choose(logits, ids, place[:, None], row)
            ids = ids.scatter(1, place[:, None], choice.token)
            drafted.append(choice.token)
            counts = counts + going
            going = going & ~choice.ends[:, 0] & (counts < most)
            if self.threshold:
                going = going & (choice.chance()[:, 0] >= self.threshold)
            fed, start = choice.token, length + len(drafted) - 1
        return torch.cat(drafted, 1) if drafted else ids[:, :0], counts

    def learn(self, made: Tensor, counts: Tensor) -> None:
        """Takes back what was not kept: rows made so many (B,) tokens where `counts` (B,) were drafted."""
        self.reader.keep(made.minimum(torch.tensor(self.reader.at - self.reader.base, device=made.device)))
        if self.schedule == "constant":
            return
        drafted = counts > 0
        if bool(drafted.any()):
            whole = bool((made > counts)[drafted].all())
            self.count = self.count + 2 if whole else max(1, self.count - 1)

    def select(self, index: Tensor) -> None:
        """Only some rows from here on."""
        self.reader.select(index)
