"""Halves of encoder-decoders: T5 and its relatives, BART's relatives; TrOCR and XGLM, which cross-attend too."""

from typing import Any

import torch
import transformers
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.blenderbot.modeling_blenderbot import BlenderbotEncoder
from transformers.models.blenderbot_small.modeling_blenderbot_small import BlenderbotSmallEncoder
from transformers.models.m2m_100.modeling_m2m_100 import M2M100Encoder
from transformers.models.marian.modeling_marian import MarianEncoder
from transformers.models.mbart.modeling_mbart import MBartEncoder
from transformers.models.mvp.modeling_mvp import MvpEncoder
from transformers.models.pegasus.modeling_pegasus import PegasusEncoder
from transformers.models.plbart.modeling_plbart import PLBartEncoder
from transformers.models.prophetnet.modeling_prophetnet import ProphetNetEncoder

from families.case import FFN, HEADS, LAYERS, POSITIONS, TOKENS, VOCAB, WIDTH, Case, logits_of, states_of

T5 = {
    "vocab_size": VOCAB,
    "d_model": WIDTH,
    "d_kv": 6,
    "d_ff": FFN,
    "num_layers": LAYERS,
    "num_decoder_layers": 3,
    "num_heads": HEADS,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 7,
    "decoder_start_token_id": 0,
    **TOKENS,
}
SIDED = {
    "vocab_size": VOCAB,
    "d_model": WIDTH,
    "encoder_layers": 3,
    "encoder_attention_heads": HEADS,
    "encoder_ffn_dim": FFN,
    "decoder_layers": LAYERS,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 29,
    "max_position_embeddings": POSITIONS,
    "forced_eos_token_id": None,
    "decoder_start_token_id": 5,
    **TOKENS,
    "pad_token_id": 1,
}
XGLM = {
    "vocab_size": VOCAB,
    "d_model": WIDTH,
    "ffn_dim": FFN,
    "num_layers": LAYERS,
    "attention_heads": HEADS,
    "max_position_embeddings": POSITIONS,
    **TOKENS,
}
TROCR = {
    "vocab_size": VOCAB,
    "d_model": WIDTH,
    "decoder_layers": LAYERS,
    "decoder_attention_heads": HEADS,
    "decoder_ffn_dim": FFN,
    "max_position_embeddings": POSITIONS,
    **TOKENS,
}


PROPHETNET = {
    "vocab_size": VOCAB,
    "hidden_size": WIDTH,
    "num_encoder_layers": 3,
    "num_encoder_attention_heads": HEADS,
    "encoder_ffn_dim": FFN,
    "num_decoder_layers": LAYERS,
    "num_decoder_attention_heads": 2,
    "decoder_ffn_dim": 29,
    "max_position_embeddings": POSITIONS,
    "num_buckets": 6,
    "relative_max_distance": 5,
    "decoder_start_token_id": 5,
    **TOKENS,
}


def states_of_half(model: Any, ids: Tensor, mask: Tensor) -> Tensor:
    """What the encoder of an encoder-decoder says."""
    found: Tensor = model.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state
    return found


def logits_of_half(model: Any, ids: Tensor, states: Tensor, mask: Tensor) -> Tensor:
    """What the decoder of an encoder-decoder says after states of some encoder."""
    found: Tensor = model(encoder_outputs=(states,), attention_mask=mask, decoder_input_ids=ids, use_cache=False).logits
    return found


def logits_by_steps(model: Any, ids: Tensor, states: Tensor, mask: Tensor) -> Tensor:
    """What a ProphetNet says token by token, as in generation: the peer's pass over several tokens is another computation.

    There the peer reads what its predicting streams make of distances, ordered by token, stream and head, as if it were
    ordered by stream, head and token; for one token, and one stream's logits, both orders are the same.
    """
    source = (
        {"encoder_outputs": BaseModelOutput(states), "attention_mask": mask}
        if isinstance(model, transformers.ProphetNetForConditionalGeneration)
        else {"encoder_hidden_states": states, "encoder_attention_mask": mask}
    )
    name = "decoder_input_ids" if "encoder_outputs" in source else "input_ids"
    past, logits = None, []
    for token in ids.split(1, 1):
        out = model(**{name: token}, **source, past_key_values=past, use_cache=True)
        past = out.past_key_values
        logits.append(out.logits)
    return torch.cat(logits, 1)


def logits_of_trocr(model: Any, ids: Tensor, states: Tensor, mask: Tensor) -> Tensor:
    """A decoder's logits; transformers 5 leaves its computed positions empty where a file was opened."""
    model.model.decoder.embed_positions.weights = None  # made again by the pass
    return logits_of(model, ids, states, mask)


@torch.no_grad()
def calm(model: Any) -> None:
    """Makes queries small: sharp attention turns the last bits of float32 into more than is compared here."""
    for name, parameter in model.named_parameters():
        if name.endswith(("Attention.q.weight", "attn.q_proj.weight", "attn.query_proj.weight")):
            parameter.mul_(0.4)


@torch.no_grad()
def sinusoidal(model: Any) -> None:
    """Computes the positions again, over what was drawn for them."""
    calm(model)
    for module in model.modules():
        if hasattr(module, "create_weight"):
            module.weight.copy_(module.create_weight())


def untied(model: Any) -> None:
    """Gives the output an embedding of its own, which transformers 5 knows of by the file alone."""
    calm(model)
    head = getattr(model, "lm_head", None)
    if head is not None:
        draw = torch.Generator().manual_seed(5)
        head.weight = torch.nn.Parameter(0.3 * torch.randn(head.weight.shape, generator=draw))


def whole(name: str, config: Any, kind: Any, **more: Any) -> Case:
    """The folder of an encoder-decoder, of which each side reads its half."""
    half = {
        "states": states_of_half,
        "logits": logits_of_half,
        "lacks": r"^model\.(en|de)coder\.|^lm_head|shared|^embed_pos",
        "prepare": calm,
    }
    given = {"encoder": kind, "decoder": kind, "crosses": True}
    return Case(name, config, **{**given, **half, **more})


def t5(name: str, kind: str = "T5", *, encoder: str = "EncoderModel", **more: Any) -> Case:
    """The folder of an encoder alone, and that of a whole model for its decoder."""
    changes = {key: more.pop(key) for key in list(more) if key not in Case.__dataclass_fields__}
    config = getattr(transformers, f"{kind}Config")(**{**T5, **changes})
    decoder = getattr(transformers, f"{kind}ForConditionalGeneration")
    given = {"encoder": getattr(transformers, kind + encoder), "decoder": decoder, "crosses": True}
    half = {"states": states_of_half, "logits": logits_of_half, "lacks": r"^(en|de)coder\.|^lm_head"}
    return Case(name, config, **{"prepare": calm, **given, **half, **more})


def sided(name: str, kind: str, encoder: Any, *, prepare: Any = calm, lacks: str = "^$", **changes: Any) -> Case:
    """The folders of an encoder and of a decoder alone."""
    config = getattr(transformers, f"{kind}Config")(**{**SIDED, **changes})
    return Case(
        name, config, encoder, getattr(transformers, f"{kind}ForCausalLM"), crosses=True, prepare=prepare, lacks=lacks
    )


def prophetnet(name: str, *, prepare: Any = calm, **changes: Any) -> Case:
    """The folders of an encoder and of a decoder alone."""
    lacks = r"^prophetnet\.word_embeddings\.weight$"  # a copy of the decoder's
    found = config("ProphetNet", PROPHETNET, **changes)
    decoder = transformers.ProphetNetForCausalLM
    logits = {"crosses": True, "logits": logits_by_steps}
    return Case(name, found, ProphetNetEncoder, decoder, **logits, prepare=prepare, lacks=lacks)


def config(kind: str, sizes: dict[str, Any], **changes: Any) -> Any:
    return getattr(transformers, f"{kind}Config")(**{**sizes, **changes})


GLOBAL: dict[str, Any] = {"encoder_attention_type": "transient-global"}

CASES = [
    t5("t5"),
    t5("t5-whole", encoder="ForConditionalGeneration", num_decoder_layers=None, layer_norm_epsilon=1e-3),
    t5("t5-1.1", feed_forward_proj="gated-gelu", tie_word_embeddings=False, prepare=untied),
    t5("t5-1.1-silu-tied", feed_forward_proj="gated-silu", tie_word_embeddings=False),
    t5("mt5", "MT5", prepare=untied),
    t5("umt5", "UMT5", prepare=untied),
    t5("longt5", "LongT5", **GLOBAL, local_radius=2, global_block_size=2),
    t5("longt5-odd", "LongT5", **GLOBAL, local_radius=1, global_block_size=4, feed_forward_proj="gated-gelu"),
    t5("longt5-short", "LongT5", **GLOBAL, local_radius=30, global_block_size=16),
    t5("longt5-local", "LongT5", local_radius=2),
    whole(
        "mbart-whole",
        config("MBart", SIDED, scale_embedding=True),
        transformers.MBartForConditionalGeneration,
        alone=MBartEncoder,
    ),
    sided("mbart", "MBart", MBartEncoder),
    whole(
        "pegasus-whole",
        config("Pegasus", SIDED, activation_function="relu"),
        transformers.PegasusForConditionalGeneration,
        alone=PegasusEncoder,
        prepare=sinusoidal,
    ),
    sided("pegasus", "Pegasus", PegasusEncoder, prepare=sinusoidal, lacks="embed_positions", scale_embedding=True),
    whole(
        "marian-whole",
        config(
            "Marian",
            SIDED,
            vocab_size=VOCAB + 8,
            decoder_vocab_size=VOCAB,
            share_encoder_decoder_embeddings=False,
            activation_function="swish",
        ),
        transformers.MarianMTModel,
        alone=MarianEncoder,
        prepare=sinusoidal,
    ),
    sided("marian", "Marian", MarianEncoder, prepare=sinusoidal, lacks="embed_positions", scale_embedding=True),
    sided("blenderbot", "Blenderbot", BlenderbotEncoder, scale_embedding=True),
    sided("blenderbot-small", "BlenderbotSmall", BlenderbotSmallEncoder),
    sided("blenderbot-small-scaled", "BlenderbotSmall", BlenderbotSmallEncoder, scale_embedding=True),
    whole("m2m_100", config("M2M100", SIDED), transformers.M2M100ForConditionalGeneration, encoder=M2M100Encoder),
    sided("plbart", "PLBart", PLBartEncoder),
    sided("mvp", "Mvp", MvpEncoder),
    prophetnet("prophetnet"),
    prophetnet("prophetnet-ngrams", ngram=3, num_buckets=32, relative_max_distance=128),
    Case("prophetnet-pad", config("ProphetNet", PROPHETNET, pad_token_id=2), ProphetNetEncoder, lacks="^$"),
    prophetnet("prophetnet-untied", ngram=1, activation_function="relu", tie_word_embeddings=False, prepare=untied),
    whole(
        "prophetnet-whole",
        config("ProphetNet", PROPHETNET),
        transformers.ProphetNetForConditionalGeneration,
        encoder=ProphetNetEncoder,
        states=states_of,
        logits=logits_by_steps,
        lacks=r"^prophetnet\.encoder\.|^prophetnet\.word|^lm_head",
    ),
    Case("trocr", config("TrOCR", TROCR), None, transformers.TrOCRForCausalLM, crosses=True),
    Case(
        "trocr-computed",
        config(
            "TrOCR",
            TROCR,
            pad_token_id=2,
            cross_attention_hidden_size=20,
            use_learned_position_embeddings=False,
            layernorm_embedding=False,
            scale_embedding=True,
            tie_word_embeddings=False,
        ),
        None,
        transformers.TrOCRForCausalLM,
        crosses=True,
        logits=logits_of_trocr,
    ),
    Case("xglm", config("XGLM", XGLM), transformers.XGLMModel, transformers.XGLMForCausalLM),
    Case("xglm-cross", config("XGLM", XGLM), None, transformers.XGLMForCausalLM, crosses=True),
]
