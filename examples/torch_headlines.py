"""The same in PyTorch, in a plain loop: what the other two are held against. `conjoin train` does more, and faster.

python examples/torch_headlines.py --steps 300 --output my-model
"""

from collections.abc import Iterable
from typing import Any

import torch
from headlines import arguments, batches, report, show, start

from conjoin import EncoderDecoderModel


def train(model: EncoderDecoderModel, given: Iterable[dict[str, Any]], *, learning_rate: float = 3e-4) -> list[float]:
    """One update a batch; the losses."""
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=learning_rate, weight_decay=0.01)
    model.train()
    losses: list[float] = []
    for number, batch in enumerate(given, 1):
        loss = model(**{name: torch.from_numpy(x) for name, x in batch.items()}, return_logits=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        report(number, losses[-1])
    model.eval()
    return losses


def main() -> None:
    args = arguments(__doc__ or "")
    model = start(EncoderDecoderModel, args.model)
    train(model, batches(model, args.steps, args.batch_size))
    model.save_pretrained(args.output)
    show(args.output, "torch")


if __name__ == "__main__":
    main()
