"""A CTranslate2 model of given sizes with random weights: encoder and decoder with norms after each sublayer."""

from collections.abc import Mapping
from typing import Any

import numpy as np

VOCABULARY = 30522


def build(sizes: Mapping[str, int], folder: str) -> None:
    """Writes it into a folder."""
    from ctranslate2.specs import common_spec, transformer_spec

    layers, width, inner = sizes["num_hidden_layers"], sizes["hidden_size"], sizes["intermediate_size"]
    draw = np.random.default_rng(0)
    spec = transformer_spec.TransformerSpec.from_config(
        num_layers=(layers, layers),
        num_heads=sizes["num_attention_heads"],
        pre_norm=False,
        activation=common_spec.Activation.GELU,
        layernorm_embedding=True,
    )

    def random(*shape: int) -> np.ndarray:
        return (draw.standard_normal(shape) * 0.02).astype(np.float32)

    def linear(part: Any, outputs: int, inputs: int) -> None:
        part.weight, part.bias = random(outputs, inputs), np.zeros(outputs, np.float32)

    def norm(part: Any) -> None:
        part.gamma, part.beta = np.ones(width, np.float32), np.zeros(width, np.float32)

    for stack in (spec.encoder, spec.decoder):
        tables = stack.embeddings if isinstance(stack.embeddings, list) else [stack.embeddings]
        tables[0].weight = random(VOCABULARY, width)
        stack.scale_embeddings = False
        stack.position_encodings.encodings = random(512, width)
        norm(stack.layernorm_embedding)
        for layer in stack.layer:
            linear(layer.self_attention.linear[0], 3 * width, width)
            linear(layer.self_attention.linear[1], width, width)
            norm(layer.self_attention.layer_norm)
            if stack is spec.decoder:
                for i, outputs in enumerate((width, 2 * width, width)):
                    linear(layer.attention.linear[i], outputs, width)
                norm(layer.attention.layer_norm)
            linear(layer.ffn.linear_0, inner, width)
            linear(layer.ffn.linear_1, width, inner)
            norm(layer.ffn.layer_norm)
    linear(spec.decoder.projection, VOCABULARY, width)
    tokens = ["<blank>", "<s>", "</s>", "<unk>", *(f"t{i}" for i in range(VOCABULARY - 4))]
    spec.register_source_vocabulary(tokens)
    spec.register_target_vocabulary(tokens)
    spec.config.decoder_start_token = "<s>"
    spec.validate()
    spec.optimize(quantization=None)
    import os

    os.makedirs(folder, exist_ok=True)
    spec.save(folder)
