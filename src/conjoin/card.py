"""The model card that is saved beside a joined model: what was joined, in Markdown, for the reader and the hub."""

from conjoin.composite import ARCHITECTURES, EncoderDecoderConfig
from conjoin.families.custom import CustomConfig
from conjoin.spec import NO_LIMIT, RoleName

__all__ = ["model_card"]

WRITE = """from conjoin import pipeline

write = pipeline("path/to/this/folder")
print(write("a long text ...", num_beams=4))"""
SENSE = """from conjoin import EncoderDecoderModel

model = EncoderDecoderModel.from_pretrained("path/to/this/folder")
ids = model.generate({source}, num_beams=4)  # as the encoder's processor makes them
print(model.decoder.tokenizer.batch_decode(ids, skip_special_tokens=True))"""
EXAMPLES = {  # the hub's name of the task, and how it is done, for each type of joined models
    "encoder-decoder": ("text2text-generation", WRITE),
    "vision-encoder-decoder": ("image-to-text", SENSE.format(source="pixel_values")),
    "speech-encoder-decoder": ("automatic-speech-recognition", SENSE.format(source="values")),
}


def model_card(config: EncoderDecoderConfig, parameters: int) -> str:
    """The text of README.md."""
    rows = "\n".join(part_row(config, role) for role in ("encoder", "decoder"))
    tokens, kind = config.generation, config.model_type
    task, example = EXAMPLES[kind]
    return f"""---
library_name: conjoin
pipeline_tag: {task}
tags:
- encoder-decoder
- conjoin
---

# {family(config, "encoder")} to {family(config, "decoder")}

An encoder and a decoder joined into one sequence-to-sequence model, with {parameters / 1e6:.1f} million parameters.

| side | family | layers | width | heads | vocabulary | positions |
|---|---|--:|--:|--:|--:|--:|
{rows}

- Shared weights: {config.share}.
- Special tokens: start {tokens.decoder_start_token_id}, end {tokens.eos_token_id}, padding {tokens.pad_token_id}.

{own_module(config.encoder) if isinstance(config.encoder, CustomConfig) else use(kind, example)}"""


def use(kind: str, example: str) -> str:
    """How to use a model of this type, whose parts are of families."""
    return f"""```python
{example}
```

The folder loads in transformers as well, with `{ARCHITECTURES[kind]}.from_pretrained`.
"""


def own_module(encoder: CustomConfig) -> str:
    """How to use a model whose encoder is a module of the user's own."""
    return f"""The encoder is a module of its author's, of class `{encoder.class_name}`; here are its values, and not its code.

```python
from conjoin import EncoderDecoderModel

model = EncoderDecoderModel.from_pretrained("path/to/this/folder", encoder={encoder.class_name}(...))
```
"""


def family(config: EncoderDecoderConfig, role: RoleName) -> str:
    """What a part is called: its family, or the class of the user's own module."""
    part = config.part(role)
    return part.class_name if isinstance(part, CustomConfig) else part.model_type


def part_row(config: EncoderDecoderConfig, role: RoleName) -> str:
    """One row of the card's table."""
    spec = config.spec(role)
    if isinstance(config.part(role), CustomConfig):
        return f"| {role} | {family(config, role)} | | {spec.width} | | | |"
    positions = "any" if spec.max_length == NO_LIMIT else spec.max_length
    sizes = f"{spec.layers} | {spec.width} | {spec.heads} | {spec.vocab} | {positions}"
    return f"| {role} | {config.part(role).model_type} | {sizes} |"
