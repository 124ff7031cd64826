"""Vocabularies that grow and shrink, in every framework by one body: tables, heads, biases, files, and what is refused."""

import numpy as np
import peers
import pytest
import torch
import transformers
from frameworks import ALL, every_framework
from test_frameworks import near

from conjoin import BertConfig, EncoderDecoderConfig, InputError

pytestmark = pytest.mark.usefixtures("engine")
UNTIED = (("tie_word_embeddings", False),)
CASES = {  # a head with a bias, a head without, a last bias of its own, a head of its own
    "bert": ("bert", {}),
    "gpt2": ("gpt2", {}),
    "bart": ("bart", {}),
    "roberta_untied": ("roberta", {"decoder_more": UNTIED}),
}
SMALL = {
    "vocab_size": 61,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 37,
    "max_position_embeddings": 42,
}


def batch(pair):
    return {**peers.source(pair), "decoder_input_ids": peers.target(pair) % 40 + 6}


def logits(framework, model, given):
    return framework.number(model(**framework.arrays(given)).logits)


def of_configs(framework, **options):
    """A model of random weights whose sides have one vocabulary."""
    config = EncoderDecoderConfig(encoder=BertConfig(**SMALL), decoder=BertConfig(**SMALL), **options)
    config.generation = config.generation.updated(
        {"decoder_start_token_id": 5, "pad_token_id": 0, "eos_token_id": 4, "bos_token_id": 3}
    )
    model = framework.model_class(config)
    model.ops.evaluating(model)
    return model


def sides(model):
    """What both sides say of their vocabularies."""
    return [(part.config.vocab_size, part.spec.vocab) for part in (model.encoder, model.decoder)]


@every_framework
@pytest.mark.parametrize(
    ("case", "size"),
    [
        *((case, 70) for case in CASES),
        ("bert", 50),
        *(pytest.param(case, 50, marks=pytest.mark.extensive) for case in CASES if case != "bert"),
    ],
)
def test_a_sides_vocabulary_grows_and_shrinks(peer, tmp_path, framework, case, size):
    decoder, options = CASES[case]
    pair = peer("bert", decoder, **options)
    model, given = framework.load(pair.folder), batch(pair)
    before = logits(framework, model, given)
    found = model.resize_token_embeddings(size, side="decoder")
    assert found is model.decoder.get_input_embeddings()
    after = logits(framework, model, given)
    assert after.shape[-1] == size
    kept = min(peers.TARGET_VOCAB, size)
    assert near(before[..., :kept], after[..., :kept])
    assert sides(model) == [(peers.SOURCE_VOCAB,) * 2, (size,) * 2]
    assert model.config.decoder.vocab_size == size
    labels = torch.full((4, 3), size - 1)
    _, gradients = framework.gradients(model, {**peers.source(pair), "labels": labels})
    assert gradients["decoder.embed.token.weight"].shape[0] == size
    assert gradients["decoder.embed.token.weight"][size - 1].any()
    model.save_pretrained(tmp_path)
    for reads in (framework, ALL["torch"]):
        assert near(after, logits(reads, reads.load(tmp_path), given), 1e-6 if reads is framework else 1e-5)
    if decoder != "bart":  # of which transformers cannot open a decoder within a join
        theirs = transformers.EncoderDecoderModel.from_pretrained(tmp_path).eval()
        with torch.no_grad():
            assert near(after, theirs(**given).logits)


@every_framework
def test_new_rows_are_drawn_as_the_config_says_and_a_new_bias_is_zero(peer, framework):
    pair = peer("bert", "bert", decoder_more=UNTIED)
    model = framework.load(pair.folder)
    before = framework.named(model)
    model.resize_token_embeddings(2061, side="decoder")
    after = framework.named(model)
    assert after.keys() == before.keys()
    for name in before:
        kept = after[name][: len(before[name])]
        assert np.array_equal(kept, before[name]), name
    changed = [name for name in before if after[name].shape != before[name].shape]
    assert sorted(changed) == ["decoder.embed.token.weight", "decoder.head.bias", "decoder.output.weight"]
    assert not after["decoder.head.bias"][61:].any()
    for name in ("decoder.embed.token.weight", "decoder.output.weight"):
        assert abs(after[name][61:].std() / model.decoder.spec.initializer_range - 1) < 0.05
    assert model.num_parameters() == sum(x.size for x in after.values())


@every_framework
def test_generate_and_the_encoder_know_the_new_sizes_each_time(peer, framework):
    pair = peer("bert", "gpt2", vocab=(17, 17))
    model, given = framework.load(pair.folder), peers.source(pair)
    asked = {**framework.arrays(given), "max_new_tokens": 5}
    before = framework.tokens(model.generate(**asked))
    for size in (40, 19, 40):
        model.decoder.resize_token_embeddings(size)
        only = framework.tokens(model.generate(**asked, suppress_tokens=[i for i in range(size) if i != size - 1]))
        assert {token for row in only for token in row[1:]} == {size - 1}
    model.resize_token_embeddings(17, "decoder")
    assert framework.tokens(model.generate(**asked)) == before
    longer = {**given, "input_ids": given["input_ids"].clone()}
    longer["input_ids"][0, 0] = 17
    with pytest.raises(InputError, match="encoder: token id 17"):
        model.generate(**framework.arrays(longer), max_new_tokens=5)
    model.encoder.resize_token_embeddings(18)
    assert len(framework.tokens(model.generate(**framework.arrays(longer), max_new_tokens=5))) == 4
    assert framework.tokens(model.generate(**asked)) == before


@every_framework
@pytest.mark.parametrize("share", ["all", "embeddings"])
def test_a_shared_vocabulary_grows_on_both_sides(tmp_path, framework, share):
    model = of_configs(framework, share=share)
    ids = np.arange(6, 54).reshape(4, 12)
    given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "decoder_input_ids": ids[:, :5]}
    before, count = logits(framework, model, given), model.num_parameters()
    model.resize_token_embeddings(66)
    after = logits(framework, model, given)
    assert near(before, after[..., :61])
    assert sides(model) == [(66, 66), (66, 66)]
    assert model.num_parameters() == count + 5 * (SMALL["hidden_size"] + 1)  # a row once, and its bias
    for part in (model.encoder, model.decoder):
        with pytest.raises(InputError, match="shared"):
            part.resize_token_embeddings(80)
    model.save_pretrained(tmp_path)
    again = framework.load(tmp_path)
    assert again.num_parameters() == model.num_parameters()
    assert near(after, logits(framework, again, given), 1e-6)


@every_framework
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_type_and_what_is_frozen_stay(peer, framework, dtype):
    pair = peer("bert", "roberta", decoder_more=UNTIED)
    model = framework.load(pair.folder, dtype=dtype)
    model.freeze("token_embeddings")
    trained = model.num_parameters(only_trainable=True)
    model.resize_token_embeddings(70, side="decoder")
    wide = pair.ours.config.decoder.hidden_size
    assert {str(x.dtype).removeprefix("torch.") for x in model.ops.named_arrays(model).values()} == {dtype}
    assert model.num_parameters(only_trainable=True) == trained + 9 * (wide + 1)  # the head's rows, not the table's
    model.unfreeze("token_embeddings")
    assert model.num_parameters(only_trainable=True) == model.num_parameters()


@every_framework
def test_a_part_alone_grows_and_is_saved(peer, tmp_path, framework):
    pair = peer("bert", "gpt2")
    encoder, decoder = framework.parts
    framework.load(pair.folder).encoder.save_pretrained(tmp_path / "encoder")
    framework.load(pair.folder).decoder.save_pretrained(tmp_path / "decoder")
    for kind, name in ((encoder, "encoder"), (decoder, "decoder")):
        part = kind.from_pretrained(tmp_path / name)
        before = part.ops.read(part, "embed.token.weight")
        part.resize_token_embeddings(99)
        part.save_pretrained(tmp_path / "more")
        again = kind.from_pretrained(tmp_path / "more")
        assert again.config.vocab_size == again.spec.vocab == 99
        found = again.ops.read(again, "embed.token.weight")
        assert np.array_equal(framework.number(found[: len(before)]), framework.number(before))


@every_framework
def test_resizing_without_a_side_or_to_nothing(peer, framework):
    pair = peer("bert", "gpt2")
    model = framework.load(pair.folder)
    for side in (None, "both"):
        with pytest.raises(InputError, match='say which side\'s, with side="encoder" or side="decoder"'):
            model.resize_token_embeddings(80, side)
    with pytest.raises(InputError, match="new_num_tokens is 0; at least 1 was expected"):
        model.decoder.resize_token_embeddings(0)
    shared = of_configs(framework, share="embeddings")
    with pytest.raises(InputError, match="new_num_tokens is -1"):
        shared.resize_token_embeddings(-1)
    with pytest.raises(InputError, match="shared"):  # still
        shared.encoder.resize_token_embeddings(80)


def test_keras_forgets_what_it_compiled_for_another_size(peer):
    pair = peer("bert", "gpt2")
    model = ALL["tensorflow"].load(pair.folder)
    given = {name: x.numpy() for name, x in batch(pair).items()}
    model.predict(given, verbose=0)
    paths = [variable.path for variable in model.variables]
    model.resize_token_embeddings(70, side="decoder")
    assert model.predict(given, verbose=0)["logits"].shape[-1] == 70
    assert sorted(variable.path for variable in model.variables) == sorted(paths)
