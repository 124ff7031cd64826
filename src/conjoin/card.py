"""The model card that is saved beside a joined model: what was joined, in Markdown, for the reader and the hub."""

from conjoin.composite import EncoderDecoderConfig
from conjoin.spec import RoleName

__all__ = ["model_card"]


def model_card(config: EncoderDecoderConfig, parameters: int) -> str:
    """The text of README.md."""
    rows = "\n".join(part_row(config, role) for role in ("encoder", "decoder"))
    tokens = config.generation
    return f"""---
library_name: conjoin
pipeline_tag: text2text-generation
tags:
- encoder-decoder
- conjoin
---

# {config.encoder.model_type} to {config.decoder.model_type}

An encoder and a decoder joined into one sequence-to-sequence model, with {parameters / 1e6:.1f} million parameters.

| side | family | layers | width | heads | vocabulary | positions |
|---|---|--:|--:|--:|--:|--:|
{rows}

- Shared weights: {config.share}.
- Special tokens: start {tokens.decoder_start_token_id}, end {tokens.eos_token_id}, padding {tokens.pad_token_id}.

```python
from conjoin import pipeline

write = pipeline("path/to/this/folder")
print(write("a long text ...", num_beams=4))
```

The folder loads in transformers as well, with `EncoderDecoderModel.from_pretrained`.
"""


def part_row(config: EncoderDecoderConfig, role: RoleName) -> str:
    """One row of the card's table."""
    spec = config.spec(role)
    sizes = f"{spec.layers} | {spec.width} | {spec.heads} | {spec.vocab} | {spec.max_length}"
    return f"| {role} | {config.part(role).model_type} | {sizes} |"
