"""Attention of other kinds: what it costs, how it is traced, trained and generated with, and what is refused."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from families.exotic import CASES, given_globals
from families.seq2seq import CASES as SEQ2SEQ
from frameworks import ALL, Framework
from peers import randomise
from test_families import CLOSE, seen, source
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers.models.deberta_v2.modeling_deberta_v2 import build_relative_position

from conjoin import BertConfig, EncoderDecoderModel
from conjoin.errors import ConfigError, InputError
from conjoin.families import family_of
from conjoin.families.big_bird import BigBirdConfig
from conjoin.families.convbert import ConvBertConfig
from conjoin.families.deberta_v2 import DebertaV2Config
from conjoin.families.longformer import LongformerConfig
from conjoin.families.longt5 import LongT5Config
from conjoin.positions import place_rows
from conjoin.shapes import parameter_shapes
from conjoin.spec import Disentangled

BY_NAME = {case.name: case for case in [*CASES, *(one for one in SEQ2SEQ if one.name == "longt5")]}
KINDS = ["deberta-v2-convolution", "deberta", "longformer-globals", "convbert-grouped", "big-bird", "longt5"]
LONG = {"vocab_size": 61, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
LONG |= {"max_position_embeddings": 130}
Encoder = EncoderDecoderModel.encoder_class


class Largest(TorchDispatchMode):
    """The most numbers that one tensor made meanwhile has."""

    found = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.found = max([self.found, *(x.numel() for x in tree_leaves(out) if isinstance(x, torch.Tensor))])
        return out


@pytest.mark.parametrize(("buckets", "farthest"), [(256, 512), (32, 128), (128, 1024), (6, 8)])
def test_rows_of_places_are_the_peers(buckets: int, farthest: int) -> None:
    x = torch.zeros(1, 1500, 1)
    rows = (build_relative_position(x, x, buckets, farthest)[0] + buckets).clamp(0, 2 * buckets - 1)
    by_distance = torch.cat([rows[0].flip(0), rows[1:, 0]]).numpy()
    distance = np.clip(np.arange(-1499, 1500), -farthest, farthest)
    assert (place_rows(Disentangled(2 * buckets, farthest, True))[distance + farthest] == by_distance).all()


def long_encoder(**more: Any) -> Any:
    torch.manual_seed(0)
    sizes = {"vocab_size": 61, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = LongformerConfig(**sizes, intermediate_size=16, max_position_embeddings=4098, attention_window=32, **more)
    encoder = Encoder(config).eval()
    randomise(encoder, 0)
    return encoder


@torch.no_grad()
def test_memory_of_sliding_attention_grows_with_tokens() -> None:
    encoder, most = long_encoder(), []
    for length in (1024, 4096):
        ids = torch.randint(6, 61, (1, length))
        first = torch.zeros_like(ids)
        first[:, 0] = 1
        with Largest() as largest:
            encoder(ids, global_attention_mask=first)
        most.append(largest.found)
    assert most[1] <= 4 * most[0] + 1000
    assert most[1] < 4096 * 4096 / 8


@torch.no_grad()
def test_memory_of_sparse_blocks_grows_with_tokens() -> None:
    torch.manual_seed(0)
    config = BigBirdConfig(**{**LONG, "max_position_embeddings": 4096}, block_size=16, num_random_blocks=1)
    encoder, most = Encoder(config).eval(), []
    for length in (1024, 4096):
        with Largest() as largest:
            encoder(torch.randint(6, 61, (1, length)))
        most.append(largest.found)
    assert most[1] <= 4 * most[0] + 1000
    assert most[1] < 4096 * 4096 / 8


@pytest.mark.parametrize("kind", ["local", "transient-global"])
@torch.no_grad()
def test_memory_of_local_attention_grows_with_tokens(kind: str) -> None:
    """And, where there are sums of blocks, with tokens times sums: here so few that windows are most of it."""
    torch.manual_seed(0)
    sizes = {"d_model": 16, "d_kv": 8, "num_heads": 2, "d_ff": 16, "num_layers": 1}
    config = LongT5Config(**sizes, local_radius=31, global_block_size=1024, encoder_attention_type=kind)
    encoder, most = Encoder(config).eval(), []
    for length in (1024, 4096):
        with Largest() as largest:
            encoder(torch.randint(6, 61, (1, length)))
        most.append(largest.found)
    assert most[1] <= 4.2 * most[0]
    assert most[1] < 4096 * 4096 / 8


def longt5(**more: Any) -> LongT5Config:
    sizes = {"vocab_size": 61, "d_model": 16, "d_kv": 8, "num_heads": 2, "d_ff": 16, "num_layers": 2}
    distances = {"relative_attention_num_buckets": 16, "relative_attention_max_distance": 20}
    return LongT5Config(**sizes, **distances, **more)


@pytest.mark.parametrize(("radius", "block"), [(1, 1), (2, 3), (3, 4), (7, 5), (15, 16), (127, 16), (4, 0)], ids=str)
@torch.no_grad()
def test_local_attention_and_sums_of_blocks_equal_for_every_length(radius: int, block: int, tmp_path: Path) -> None:
    """States, and attention weights of the peer's shapes; lengths shorter than a block, whole blocks, and others."""
    kind = {"encoder_attention_type": "transient-global", "global_block_size": block} if block else {}
    encoder = Encoder(longt5(local_radius=radius, **kind))
    randomise(encoder, 0)
    encoder.save_pretrained(tmp_path)
    ours = Encoder.from_pretrained(tmp_path)
    theirs = transformers.LongT5EncoderModel.from_pretrained(tmp_path).eval()
    for length in (1, 2, 3, 5, 8, 12, 16, 31, 48, 71, 300):
        ids, mask = long_source(length)
        expected = theirs(ids, attention_mask=mask, output_attentions=True)
        found = ours(ids, attention_mask=mask, output_attentions=True)
        np.testing.assert_allclose(seen(found[0].numpy(), mask), seen(expected[0].numpy(), mask), **CLOSE)
        for a, b in zip(found.attentions, expected.attentions, strict=True):
            assert a.shape == b.shape
            np.testing.assert_allclose(a[0, 0, :, 0], b[0, 0, :, 0], **CLOSE)
        alone = ours(ids[:1]).last_hidden_state  # no mask, no padding
        # At 300 sums of one token each the peer itself is 1.2e-5 from its float64 states.
        np.testing.assert_allclose(alone, expected[0][:1], rtol=1e-5, atol=1e-5 if length < 300 else 3e-5)


def long_source(length: int = 71) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask of a length that no block divides: a full row, and rows padded on either side."""
    ids = torch.randint(6, 61, (3, length), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[1, length - length * 13 // 71 :] = 0
    mask[2, : length * 17 // 71] = 0
    return ids, mask


@pytest.mark.parametrize("framework", ALL.values(), ids=ALL)
@pytest.mark.parametrize(
    ("config", "kind", "chosen"),
    [
        (lambda: BigBirdConfig(**LONG, block_size=4, num_random_blocks=2), transformers.BigBirdModel, False),
        (lambda: BigBirdConfig(**LONG, block_size=4, num_random_blocks=7), transformers.BigBirdModel, False),
        (lambda: LongformerConfig(**LONG, attention_window=[8, 24]), transformers.LongformerModel, True),
        (lambda: LongformerConfig(**LONG, attention_window=24), transformers.LongformerModel, False),
        (
            lambda: longt5(local_radius=5, global_block_size=4, encoder_attention_type="transient-global"),
            transformers.LongT5EncoderModel,
            False,
        ),
    ],
    ids=["sparse", "full", "sliding-global", "sliding", "local-sums"],
)
@torch.no_grad()
def test_many_blocks_equal(config: Any, kind: Any, chosen: bool, framework: Framework, tmp_path: Path) -> None:
    """Longer texts than the tests of families have, over many blocks and windows."""
    torch.manual_seed(0)
    encoder = Encoder(config())
    randomise(encoder, 0)
    encoder.save_pretrained(tmp_path)
    ids, mask = long_source()
    given = {"input_ids": ids, "attention_mask": mask}
    if chosen:
        given["global_attention_mask"] = torch.zeros_like(ids)
        given["global_attention_mask"][[0, 0, 0, 1], [0, 33, 70, 20]] = 1
    expected = kind.from_pretrained(tmp_path).eval()(**given).last_hidden_state.numpy()
    ours = framework.parts[0].from_pretrained(tmp_path)
    found = framework.number(ours(**framework.arrays(given)).last_hidden_state)
    np.testing.assert_allclose(seen(found, mask), seen(expected, mask), **CLOSE)


def by_kind(test: Any) -> Any:
    return pytest.mark.parametrize("name", KINDS)(test)


def made(name: str, folder: Path) -> Any:
    BY_NAME[name].make("encoder", folder)
    return folder


@by_kind
def test_recomputed_gradients_are_the_same(name: str, tmp_path: Path) -> None:
    encoder = Encoder.from_pretrained(made(name, tmp_path / "e"))
    ids, mask = source()
    found = []
    for recompute in (False, True):
        encoder.recompute = recompute
        encoder.zero_grad()
        states = encoder(ids, mask, **BY_NAME[name].more(ids)).last_hidden_state
        (states * mask[..., None]).square().sum().backward()
        found.append([p.grad.clone() for p in encoder.parameters() if p.grad is not None])
    assert len(found[0]) == len(found[1])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", BY_NAME)
@torch.no_grad()
def test_names_without_a_framework_and_half_precision(name: str, tmp_path: Path) -> None:
    """What `inspect` says of a stack is what it has; and in bfloat16 it computes nearly the same."""
    folder = made(name, tmp_path / "e")
    encoder = Encoder.from_pretrained(folder)
    assert dict(parameter_shapes(encoder.spec)) == encoder.ops.shapes(encoder)
    ids, mask = source()
    given = {"input_ids": ids, "attention_mask": mask, **BY_NAME[name].more(ids)}
    half = Encoder.from_pretrained(folder, dtype="bfloat16")(**given).last_hidden_state
    assert half.dtype == torch.bfloat16
    away = (half.float() - encoder(**given).last_hidden_state)[mask.bool()].abs()
    assert away.mean() < 0.05


@by_kind
@torch.no_grad()
def test_traced_calls_compute_the_same(name: str, tmp_path: Path) -> None:
    """In JAX and TensorFlow, with values that nobody knows, and in TensorFlow with a length that nobody knows.

    Blocks of BigBird are made for a length, so that it must be known.
    """
    folder = made(name, tmp_path / "e")
    ids, mask = source()
    given = {"input_ids": ids, "attention_mask": mask, **BY_NAME[name].more(ids)}
    expected = Encoder.from_pretrained(folder)(**given).last_hidden_state.numpy()
    import jax
    import tensorflow as tf
    from flax import nnx

    flax = ALL["jax"].parts[0].from_pretrained(folder)
    graph, state = nnx.split(flax)
    run = jax.jit(lambda state, arrays: nnx.merge(graph, state)(**arrays)["last_hidden_state"])
    found = np.asarray(run(state, ALL["jax"].arrays(given)))
    np.testing.assert_allclose(seen(found, mask), seen(expected, mask), **CLOSE)
    keras = ALL["tensorflow"].parts[0].from_pretrained(folder)
    length = ids.shape[1] if name == "big-bird" else None
    signature = {key: tf.TensorSpec((None, length), tf.int32) for key in given}
    traced = tf.function(lambda arrays: keras(**arrays)["last_hidden_state"], input_signature=[signature])
    arrays = {key: tf.cast(x, tf.int32) for key, x in ALL["tensorflow"].arrays(given).items()}
    np.testing.assert_allclose(seen(traced(arrays).numpy(), mask), seen(expected, mask), **CLOSE)


@by_kind
@pytest.mark.parametrize("framework", ALL.values(), ids=ALL)
def test_generation_reads_the_whole_source(name: str, framework: Framework, tmp_path: Path) -> None:
    """Greedy search after such an encoder, packed or compiled, says what passes over the whole text say."""
    folder = made(name, tmp_path / "e")
    torch.manual_seed(0)
    bert = BertConfig(vocab_size=61, hidden_size=24, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    bert.is_decoder = bert.add_cross_attention = True
    EncoderDecoderModel.decoder_class(bert).save_pretrained(tmp_path / "d")
    joined = EncoderDecoderModel.from_encoder_decoder_pretrained(folder, tmp_path / "d")
    joined.config.decoder_start_token_id, joined.config.pad_token_id, joined.config.eos_token_id = 5, 0, None
    joined.save_pretrained(tmp_path / "joined")
    ids, mask = source()
    given = {"input_ids": ids, "attention_mask": mask, **BY_NAME[name].more(ids)}
    tokens = torch.full((len(ids), 1), 5)
    with torch.no_grad():
        for _ in range(5):
            logits = joined(**given, decoder_input_ids=tokens).logits
            tokens = torch.cat([tokens, logits[:, -1:].argmax(-1)], 1)
    model = framework.load(tmp_path / "joined")
    assert (
        framework.tokens(model.generate(**framework.arrays(given), max_new_tokens=5, eos_token_id=None))
        == tokens.tolist()
    )


def test_global_tokens_reach_the_join(tmp_path: Path) -> None:
    """`encode`, and a call of the joined model, take the mask; another encoder refuses it."""
    folder = made("longformer-globals", tmp_path / "e")
    torch.manual_seed(0)
    bert = BertConfig(vocab_size=61, hidden_size=24, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    bert.is_decoder = bert.add_cross_attention = True
    EncoderDecoderModel.decoder_class(bert).save_pretrained(tmp_path / "d")
    joined = EncoderDecoderModel.from_encoder_decoder_pretrained(folder, tmp_path / "d")
    ids, mask = source()
    given = {"input_ids": ids, "attention_mask": mask, "global_attention_mask": given_globals(ids)}
    states = joined.encode(**given)
    assert (states[0] - joined.encode(ids, mask)[0]).abs().max() > 1e-3
    expected = joined(encoder_outputs=states, attention_mask=mask, decoder_input_ids=ids[:, :3]).logits
    torch.testing.assert_close(joined(**given, decoder_input_ids=ids[:, :3]).logits, expected, rtol=0, atol=1e-6)
    with pytest.raises(InputError, match="not a sliding one"):
        Encoder(bert.copy(is_decoder=False, add_cross_attention=False))(ids, global_attention_mask=ids)
    with pytest.raises(InputError, match="keeps no weights"):
        joined.encode(ids, mask, output_attentions=True)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (lambda: LongformerConfig(attention_window=5), "attention_window"),
        (lambda: LongformerConfig(attention_window=[4, 4]), "attention_window"),
        (lambda: BigBirdConfig(attention_type="dense"), "attention_type"),
        (lambda: ConvBertConfig(conv_kernel_size=4), "conv_kernel_size"),
        (lambda: DebertaV2Config(pos_att_type="p2p"), "pos_att_type"),
        (lambda: DebertaV2Config(conv_kernel_size=4), "conv_kernel_size"),
        (lambda: DebertaV2Config(attention_head_size=32), "attention_head_size"),
        (lambda: DebertaV2Config.from_dict({"conv_groups": 2}), "conv_groups"),
    ],
)
def test_what_is_not_implemented_is_refused_by_key(config: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Encoder(config())


@pytest.mark.parametrize("framework", ALL.values(), ids=ALL)
def test_learned_distances_in_each_framework(framework: Framework) -> None:
    """States, and tokens of beams, that transformers 4 stored; 5 has no such positions."""
    folder = Path(__file__).parent / "fixtures" / "transformers4" / "bert_bert_relative"
    stored = np.load(folder / "expected.npz")
    given = framework.arrays({name: torch.tensor(stored[name]) for name in ("input_ids", "attention_mask")})
    model = framework.load(folder)
    states = framework.number(model.encoder(**given).last_hidden_state)
    mask = torch.tensor(stored["attention_mask"])
    expected = stored["encoder_last_hidden_state"]
    np.testing.assert_allclose(seen(states, mask), seen(expected, mask), **CLOSE)
    plain = {"max_new_tokens": 12, "min_length": 0, "no_repeat_ngram_size": 0, "early_stopping": False}
    found = model.generate(**given, **plain, length_penalty=1.0, num_beams=4)
    assert framework.tokens(found) == stored["beam4_tokens"].tolist()


@torch.no_grad()
def test_two_streams_are_traced_as_one(tmp_path: Path) -> None:
    """States and attention weights are the main stream's, as transformers has them; cross-attention is the predicting one's."""
    case = next(case for case in SEQ2SEQ if case.name == "prophetnet-ngrams")
    theirs = case.make("decoder", tmp_path)
    ours = EncoderDecoderModel.decoder_class.from_pretrained(tmp_path)
    given = {"input_ids": torch.randint(6, 61, (2, 7)), "encoder_hidden_states": torch.randn(2, 9, 32)}
    expected = theirs(**given, output_hidden_states=True, output_attentions=True, use_cache=False)
    out = ours(**given, output_hidden_states=True, output_attentions=True)
    for name in ("hidden_states", "attentions"):
        for a, b in zip(getattr(out, name), getattr(expected, name), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    one = theirs(**given | {"input_ids": given["input_ids"][:, :1]}, output_attentions=True, use_cache=False)
    for a, b in zip(out.cross_attentions, one.cross_attentions, strict=True):
        assert a.shape[2] == 7
        scores = b[:, :, 1:2]  # main, then three that predict; before the softmax
        torch.testing.assert_close(a[:, :, :1], scores.softmax(-1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", KINDS)
@torch.no_grad()
def test_a_stack_of_another_kind_can_be_pickled(name: str) -> None:
    """As every other; workers and torch.save do it."""
    found = family_of(BY_NAME[name].config.model_type).config.from_dict(BY_NAME[name].config.to_dict())
    encoder = EncoderDecoderModel.encoder_class(found).eval()
    ids, mask = source()
    again = pickle.loads(pickle.dumps(encoder))
    expected = encoder(ids, attention_mask=mask).last_hidden_state
    assert torch.equal(again(ids, attention_mask=mask).last_hidden_state, expected)
