"""The engine beside PyTorch: every family on the kernels, bfloat16, int8 and int4, threads, and what a batch may not change."""

import copy
import gc
import json
import sys
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from test_families import DECODERS, ENCODERS, by_name, made  # noqa: F401

from conjoin import BertConfig, EncoderDecoderConfig, EncoderDecoderModel, FlaxEncoderDecoderModel
from conjoin.cli.inspect import describe
from conjoin.engine import program
from conjoin.engine import tensor_rows as rows
from conjoin.engine.arrays import Reused, address
from conjoin.engine.kernels.layout import Mode
from conjoin.engine.kernels.linear import next_rows
from conjoin.engine.kernels.products import BLOCKS
from conjoin.engine.machine import has_kernels
from conjoin.engine.memory import unpacked
from conjoin.engine.narrow import TYPES, NarrowLinear
from conjoin.engine.pages import PAGE, PIECE, lasting_zeros
from conjoin.engine.program import Closed
from conjoin.engine.quantised import quantised, widened
from conjoin.engine.twins import is_native, twin_of
from conjoin.engine.weights import empty_panels, plain
from conjoin.errors import CheckpointError, ConfigError, InputError
from conjoin.seq2seq.cache import DecoderCache
from conjoin.training import Pairs, Recipe, train

kernels = pytest.mark.skipif(not has_kernels(), reason="the kernels need AVX-512 with VNNI")


@pytest.fixture(autouse=True)
def native(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONJOIN_ENGINE", "native")


def ids_of(rows_: int, length: int = 11, vocab: int = 60) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask; each row hides one more token than the one before."""
    ids = torch.randint(6, vocab, (rows_, length), generator=torch.Generator().manual_seed(1))
    return ids, (torch.arange(length)[None] < length - torch.arange(rows_)[:, None] % 5).long()


def pair_of(width: int = 64, layers: int = 2, **facts: object) -> EncoderDecoderModel:
    """BERT and BERT with random weights that are far from each other."""
    sizes = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": 2, "intermediate_size": 96}
    part = BertConfig(vocab_size=200, **sizes, **facts)
    model = EncoderDecoderModel(EncoderDecoderConfig.from_encoder_decoder_configs(part, part.copy())).eval()
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn(p.shape, generator=draw) * 0.1)
    model.config.decoder_start_token_id, model.config.pad_token_id, model.config.eos_token_id = 1, 0, 2
    return model


def host_stack(role: str, part):
    """A part as JAX's and TensorFlow's models have it on the kernels, with the parameters of PyTorch's."""
    from conjoin.engine.host import model

    made_ = getattr(model, role)(part.config)
    model.fill(made_, lambda name: part.ops.read(part, name).numpy())
    made_.pack(Mode.FLOAT32)
    return made_


class on_tensors:
    """A part over NumPy's arrays, called with tensors and giving tensors."""

    def __init__(self, part) -> None:
        self.part, self.spec = part, part.spec

    def __getattr__(self, name: str):
        return lambda *args, **given: converted(
            getattr(self.part, name)(*converted(args, torch.Tensor.numpy), **converted(given, torch.Tensor.numpy)),
            torch.from_numpy,
        )

    def __call__(self, **given):
        return self.__getattr__("__call__")(**given)


def converted(x, change):
    """x with each of its arrays changed."""
    if isinstance(x, dict):
        return type(x)({name: converted(one, change) for name, one in x.items()})
    if isinstance(x, tuple) and hasattr(x, "_fields"):
        return type(x)(*(converted(one, change) for one in x))
    if isinstance(x, list | tuple):
        return type(x)(converted(one, change) for one in x)
    return change(x) if isinstance(x, torch.Tensor | np.ndarray) else x


@pytest.mark.parametrize("engine", ["native", "framework"])
def test_a_model_that_is_gone_leaves_nothing(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its packed weights, twice its size, were kept for as long as the process ran."""
    monkeypatch.setenv("CONJOIN_ENGINE", engine)
    model = pair_of()
    for beams in (1, 2):
        model.generate(ids_of(5)[0], num_beams=beams, max_new_tokens=3)
    parts = [weakref.ref(part) for part in (model, model.encoder, twin_of(model.encoder), twin_of(model.decoder))]
    del model
    gc.collect()
    assert [part() for part in parts] == [None] * 4


@kernels
@by_name(DECODERS)
@torch.inference_mode()
def test_a_decoder_on_the_kernels_is_pytorchs(made, case) -> None:  # noqa: F811
    """States after a prompt of several tokens and after one more, with a source that is masked; logits."""
    _, folder = made(case, "decoder")
    decoder = twin = EncoderDecoderModel.decoder_class.from_pretrained(folder)
    twin = twin_of(decoder)
    if not is_native(twin):
        spec = decoder.spec
        odd = spec.attention is not None or spec.embed_width or spec.rotary_values or not spec.cross
        assert odd, "an ordinary decoder was expected to run on the kernels"
        return
    draw = torch.Generator().manual_seed(3)
    states = torch.randn(2, 7, decoder.spec.memory_width or decoder.spec.width, generator=draw)
    seen = torch.tensor([[True] * 7, [True] * 4 + [False] * 3])[:, None, None]
    ids = torch.randint(6, decoder.spec.vocab, (2, 6), generator=draw)
    found = []
    for part in (decoder, twin, on_tensors(host_stack("Decoder", decoder))):
        memory = part.remember(states)
        cache = part.empty_cache(2, 6, states)
        mask = part.causal_mask(5, 0, 6, None, ids)
        x, cache = part.step(ids[:, :5], part.prompted(ids[:, :5], 6), mask, memory, seen, cache, 0)
        place = part.abreast(ids[:, 5:], 5, torch.arange(6)[None] if part.spec.ordered else None)
        y, cache = part.step(ids[:, 5:], place, None, memory, seen, cache, 5)
        found.append((x, y, part.logits(y), cache[0][0]))
    for other in found[1:]:
        for ours, theirs in zip(other, found[0], strict=True):
            torch.testing.assert_close(ours, theirs, rtol=2e-5, atol=2e-5)


@kernels
@by_name(ENCODERS)
@torch.inference_mode()
def test_an_encoder_on_the_kernels_is_pytorchs(made, case) -> None:  # noqa: F811
    _, folder = made(case, "encoder")
    encoder = EncoderDecoderModel.encoder_class.from_pretrained(folder)
    twin = twin_of(encoder)
    if not is_native(twin) or encoder.spec.front is not None:
        return
    ids, mask = ids_of(4, vocab=encoder.spec.vocab)
    theirs, *others = (
        part(input_ids=ids, attention_mask=mask)["last_hidden_state"]
        for part in (encoder, twin, on_tensors(host_stack("Encoder", encoder)))
    )
    for ours in others:
        torch.testing.assert_close(ours[mask.bool()], theirs[mask.bool()], rtol=2e-5, atol=2e-5)


@kernels
@torch.inference_mode()
def test_a_large_batch_is_read_in_pieces_and_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from conjoin.engine import native

    model, (ids, mask) = pair_of(), ids_of(7, vocab=200)
    twin = twin_of(model.encoder)
    whole = twin(input_ids=ids, attention_mask=mask)["last_hidden_state"]
    memory = twin_of(model.decoder).remember(whole)
    monkeypatch.setattr(native, "MOST", 30)  # two rows of eleven tokens at a time
    assert torch.equal(twin(input_ids=ids, attention_mask=mask)["last_hidden_state"], whole)
    for again, before in zip(twin_of(model.decoder).remember(whole), memory, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(again, before, strict=True))


@kernels
@torch.inference_mode()
def test_large_buffers_of_a_source_do_not_outlast_its_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, run = set(), Closed.run
    monkeypatch.setattr(program, "KEPT", 1000)
    monkeypatch.setattr(Closed, "run", lambda self, x, *rest: (seen.add(self), run(self, x, *rest)))
    model, (ids, mask) = pair_of(), ids_of(6)
    found = model.generate(ids, attention_mask=mask, num_beams=3, max_new_tokens=5)
    kept = [one.room.nbytes for one in seen]
    assert sum(size == 0 for size in kept) == 2  # the encoder's, and those of keys and values of the source
    assert sum(size > 1000 for size in kept) > 0  # what steps need stays from one to the next
    assert model.generate(ids, attention_mask=mask, num_beams=3, max_new_tokens=5).tolist() == found.tolist()


@kernels
@torch.inference_mode()
def test_an_encoder_reads_no_padding_and_gives_the_same_bit_for_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    ids, mask = ids_of(6, length=40, vocab=200)
    mask[3, 9:] = 0
    mask[5, 1:] = 0
    models = (pair_of(), *(narrowed(kind, pair_of()) for kind in KINDS))
    read: list[int] = []
    run = Closed.run
    monkeypatch.setattr(Closed, "run", lambda self, x, *rest: (read.append(len(x)), run(self, x, *rest)))
    for model in models:
        twin = twin_of(model.encoder)
        states = twin(input_ids=ids, attention_mask=mask)["last_hidden_state"]
        assert read.pop() == mask.sum()
        assert not states[mask == 0].any()
        with monkeypatch.context() as small:  # a few sequences at a time, or one
            small.setattr("conjoin.engine.native.CLOSE", 50)
            assert torch.equal(twin(input_ids=ids, attention_mask=mask)["last_hidden_state"], states)
        assert sum(read) == mask.sum()
        assert len(read) > 2
        read.clear()
        with monkeypatch.context() as padded:
            padded.setattr("conjoin.engine.native.real_tokens", lambda *given: None)
            expected = twin(input_ids=ids, attention_mask=mask)["last_hidden_state"]
        assert read.pop() == mask.numel()
        assert torch.equal(states[mask == 1], expected[mask == 1])


@kernels
@torch.inference_mode()
@pytest.mark.parametrize("tokens", [5, 16, 41, 64])
@pytest.mark.parametrize("width", [64, 40])
def test_keys_and_values_of_a_source_in_panels_are_pytorchs(width: int, tokens: int) -> None:
    decoder, states = pair_of(width).decoder, torch.randn(2, tokens, width, generator=torch.Generator().manual_seed(2))
    kept = DecoderCache(decoder.empty_cache(2, 1, states), 0, twin_of(decoder).remember(states))
    for ours, theirs in zip(unpacked(kept).cross, decoder.remember(states), strict=True):
        for x, y in zip(ours, theirs, strict=True):
            torch.testing.assert_close(x, y, rtol=2e-5, atol=2e-5)


@kernels
@torch.inference_mode()
def test_padding_that_is_not_at_the_end_is_read_as_it_is() -> None:
    model, (ids, mask) = pair_of(), ids_of(4, vocab=200)
    mask = mask.flip(1)
    ours, theirs = (
        part(input_ids=ids, attention_mask=mask)["last_hidden_state"]
        for part in (twin_of(model.encoder), model.encoder)
    )
    torch.testing.assert_close(ours[mask == 1], theirs[mask == 1], rtol=2e-5, atol=2e-5)


@kernels
def test_the_size_of_a_model_decides_unless_one_says(monkeypatch: pytest.MonkeyPatch) -> None:
    model = pair_of()
    assert is_native(twin_of(model.decoder))
    monkeypatch.setenv("CONJOIN_ENGINE", "torch")
    assert not is_native(twin_of(model.decoder))
    monkeypatch.delenv("CONJOIN_ENGINE")
    assert not is_native(twin_of(model.decoder))  # small: compiling would cost more than it brings


@kernels
@pytest.mark.parametrize(
    "asked", [{}, {"num_beams": 4}, {"do_sample": True, "seed": 3}, {"num_beams": 3, "num_return_sequences": 2}]
)
def test_a_row_does_not_depend_on_its_batch_bit_for_bit(asked) -> None:
    """Sums are made in one order, whatever rows stand beside: also in int8, where each row has its own scale, and in int4."""
    ids, mask = ids_of(9, vocab=200)
    for model in (pair_of(), *(narrowed(kind, pair_of()) for kind in KINDS)):
        given = {"max_new_tokens": 9, "output_scores": True, "return_dict_in_generate": True, **asked}
        together = model.generate(ids, attention_mask=mask, **given)
        for row in (0, 4, 8):
            alone = model.generate(ids[row : row + 1], attention_mask=mask[row : row + 1], **given)
            each = len(alone.sequences)
            rows_ = together.sequences[row * each : (row + 1) * each, : alone.sequences.shape[1]]
            assert torch.equal(rows_, alone.sequences)


@kernels
@pytest.mark.parametrize(
    "asked", [{"eos_token_id": [*range(1, 200, 5)]}, {"num_beams": 3, "eos_token_id": 50, "early_stopping": True}]
)
def test_sources_that_are_done_leave_and_those_that_stay_are_not_copied(monkeypatch: pytest.MonkeyPatch, asked) -> None:
    """A batch whose sources end one after another: each is written as it is alone, and no row of a cache is taken out of it."""
    ids, mask = ids_of(9, vocab=200)
    model, given = pair_of(), {"max_new_tokens": 12, "no_repeat_ngram_size": 1, **asked}
    alone = [model.generate(ids[i : i + 1], attention_mask=mask[i : i + 1], **given)[0] for i in range(len(ids))]
    assert len({len(row) for row in alone}) > 2  # they end at different steps
    monkeypatch.setattr(model.ops, "take_slots", None)
    together = model.generate(ids, attention_mask=mask, **given)
    for row, own in zip(together, alone, strict=True):
        assert torch.equal(row[: len(own)], own)
        assert len(set(row[len(own) :].tolist())) < 2  # padding


@kernels
def test_threads_change_nothing() -> None:
    ids, mask = ids_of(5, vocab=200)
    model, was = pair_of(), torch.get_num_threads()
    made_ = []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        out = model.generate(ids, attention_mask=mask, num_beams=3, output_scores=True, return_dict_in_generate=True)
        made_.append((out.sequences, out.sequences_scores))
        assert torch.get_num_threads() == count
    torch.set_num_threads(was)
    assert all(torch.equal(a, b) for other in made_[1:] for a, b in zip(made_[0], other, strict=True))


@kernels
def test_two_calls_at_once_do_not_mix() -> None:
    ids, mask = ids_of(6, vocab=200)
    model = pair_of()
    expected = [model.generate(ids[i : i + 2], attention_mask=mask[i : i + 2]) for i in (0, 2, 4)]
    found: dict[int, list[torch.Tensor]] = {0: [], 2: [], 4: []}

    def run(i: int) -> None:
        for _ in range(5):
            found[i].append(model.generate(ids[i : i + 2], attention_mask=mask[i : i + 2]))

    threads = [threading.Thread(target=run, args=(i,)) for i in found]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert all(torch.equal(out, e) for e, outs in zip(expected, found.values(), strict=True) for out in outs)


@kernels
def test_a_changed_weight_is_seen() -> None:
    ids, mask = ids_of(3, vocab=200)
    model = pair_of()
    before = model.generate(ids, attention_mask=mask)
    with torch.no_grad():
        model.decoder.embed.token.weight.neg_()
    assert not torch.equal(before, model.generate(ids, attention_mask=mask))


@kernels
@pytest.mark.parametrize(("kind", "near_by"), [(torch.bfloat16, 0.02), (torch.float16, 0.002)], ids=str)
def test_halves_on_the_kernels_are_near_float32(kind: torch.dtype, near_by: float) -> None:
    model = pair_of()
    ids, mask = ids_of(4, vocab=200)
    half = copy.deepcopy(model).to(kind)
    given = {
        "decoder_input_ids": ids[:, :5],
        "max_new_tokens": 1,
        "output_logits": True,
        "return_dict_in_generate": True,
    }
    exact, near = (m.generate(ids, attention_mask=mask, **given).logits[0] for m in (model, half))
    assert is_native(twin_of(half.decoder))
    assert (near - exact).abs().max() < near_by * exact.abs().max()


# int8 and int4.

KINDS = ["int8", "int8_weight_only", "int4_weight_only"]


def narrowed(kind: str, model: EncoderDecoderModel, folder: Path | None = None) -> EncoderDecoderModel:
    """The model in one of KINDS."""
    import tempfile

    with tempfile.TemporaryDirectory() as made_:
        model.save_pretrained(folder or made_)
        return EncoderDecoderModel.from_pretrained(folder or made_, dtype=kind)


@pytest.mark.parametrize(
    ("kind", "near_by", "smaller"),
    [("int8", 0.05, 0.5), ("int8_weight_only", 0.05, 0.5), ("int4_weight_only", 0.5, 0.45)],
)
def test_whole_numbers_are_near_float32_and_keep_few_bytes(kind, near_by, smaller, tmp_path: Path) -> None:
    model = pair_of(width=128)
    narrow = narrowed(kind, model, tmp_path / "float32")
    ids, mask = ids_of(4, vocab=200)
    exact, near = (m(input_ids=ids, attention_mask=mask, decoder_input_ids=ids[:, :6]).logits for m in (model, narrow))
    assert 0 < (near - exact).abs().max() < near_by * exact.abs().max()
    narrow.save_pretrained(tmp_path / kind)
    sizes = [sum(f.stat().st_size for f in (tmp_path / one).glob("*.safetensors")) for one in ("float32", kind)]
    assert sizes[1] < smaller * sizes[0]  # tiny models have many positions
    assert narrow.num_parameters() == model.num_parameters()
    assert describe(tmp_path / kind)["parameters"] == describe(tmp_path / "float32")["parameters"]


@pytest.mark.parametrize("share", ["none", "embeddings", "all"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_of_whole_numbers_gives_the_same_numbers_again(kind: str, tmp_path: Path, share: str) -> None:
    part = BertConfig(vocab_size=200, hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=96)
    config = EncoderDecoderConfig.from_encoder_decoder_configs(part, part.copy(), share=share)
    model = EncoderDecoderModel(config).eval()
    model.config.decoder_start_token_id, model.config.pad_token_id, model.config.eos_token_id = 1, 0, 2
    narrow = narrowed(kind, model)
    narrow.save_pretrained(tmp_path)
    again = EncoderDecoderModel.from_pretrained(tmp_path)
    ids, mask = ids_of(3, vocab=200)
    given = {"input_ids": ids, "attention_mask": mask, "decoder_input_ids": ids[:, :5]}
    assert torch.equal(narrow(**given).logits, again(**given).logits)
    assert torch.equal(narrow.generate(ids, attention_mask=mask), again.generate(ids, attention_mask=mask))
    assert (again.encoder.embed.token is again.decoder.embed.token) == (share != "none")
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == kind


@pytest.mark.parametrize(("kind", "near_by"), [("int8", 0.02), ("int8_weight_only", 1e-6), ("int4_weight_only", 1e-6)])
def test_whole_numbers_run_on_any_machine_as_on_the_kernels(kind, near_by, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the kernels torch makes the products: of int8 matrices, or of what weights stand for."""
    model, (ids, mask) = pair_of(), ids_of(1, vocab=200)
    given = {"attention_mask": mask, "decoder_input_ids": ids[:, :5]}
    asked = {"max_new_tokens": 1, "output_logits": True, "return_dict_in_generate": True}
    narrow = narrowed(kind, model)
    first = narrow(input_ids=ids, **given).logits
    made_ = narrow.generate(ids, **given, **asked)
    assert is_native(twin_of(narrow.decoder)) == has_kernels()
    for module in ("narrow", "twins", "rows"):
        monkeypatch.setattr(f"conjoin.engine.{module}.has_kernels", lambda: False)
    other = narrowed(kind, model)
    second = other(input_ids=ids, **given).logits
    assert (first - second).abs().max() < near_by * first.abs().max()
    again = other.generate(ids, **given, **asked)
    assert (made_.logits[0] - again.logits[0]).abs().max() < max(near_by, 1e-5) * first.abs().max()


@pytest.mark.parametrize("kind", KINDS[1:])
def test_what_weights_stand_for_is_what_is_multiplied(kind: str) -> None:
    """Of widths that fill no panel, no group, or no step of the kernels, one channel and one group zeros; and after a save."""
    for outputs, inputs in ((70, 96), (33, 40), (64, 36), (31, 7)):
        weight = torch.randn(outputs, inputs, generator=torch.Generator().manual_seed(0))
        weight[3] = weight[:, 32:64] = 0
        layer = NarrowLinear(torch.nn.Linear(inputs, outputs), empty_panels(outputs, inputs, TYPES[kind]))
        layer.take(weight)
        x = torch.randn(14, inputs)
        torch.testing.assert_close(layer(x), x @ layer.weight.t() + layer.bias, rtol=1e-5, atol=1e-5)
        assert (layer.weight[3] == 0).all()
        again = NarrowLinear(torch.nn.Linear(inputs, outputs), empty_panels(outputs, inputs, TYPES[kind]))
        again.take_stored(*map(torch.from_numpy, plain(layer.panels)))
        assert torch.equal(again.weight, layer.weight)


def test_int4_finds_numbers_that_it_can_hold() -> None:
    steps = torch.randint(-8, 8, (40, 6, 16), generator=torch.Generator().manual_seed(0)).float()
    steps[..., 5] = -8  # what a group's scale is found by
    weight = (steps * 2.0 ** torch.arange(-3, 3)[:, None]).flatten(1)
    made_ = widened(*quantised(weight.numpy(), Mode.INT4_WEIGHTS), Mode.INT4_WEIGHTS, 96)
    assert (made_ == weight.numpy()).all()


@pytest.mark.parametrize("kind", KINDS)
def test_folders_of_whole_numbers_are_refused_where_they_cannot_be(kind: str, tmp_path: Path) -> None:
    narrowed(kind, pair_of()).save_pretrained(tmp_path)
    with pytest.raises(InputError, match=rf"dtype is 'float32', and .* holds {kind} weights; leave dtype out"):
        EncoderDecoderModel.from_pretrained(tmp_path, dtype="float32")
    with pytest.raises(InputError, match=f"holds an {kind} model, which runs in PyTorch only"):
        FlaxEncoderDecoderModel.from_pretrained(tmp_path)
    path = tmp_path / f"model.{kind}.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="cannot be read"):
        EncoderDecoderModel.from_pretrained(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_in_whole_numbers_neither_resizes_nor_trains(kind: str, tmp_path: Path) -> None:
    narrow, (ids, mask) = narrowed(kind, pair_of()), ids_of(2, vocab=200)
    with pytest.raises(InputError, match=rf'dtype is "{kind}" and the model is loaded already; load its folder so'):
        narrow.ops.moved(pair_of(), None, kind)
    with pytest.raises(InputError, match="cannot be resized"):
        narrow.resize_token_embeddings(300, side="decoder")
    loss = narrow(input_ids=ids, attention_mask=mask, labels=ids[:, :4]).loss
    assert not loss.requires_grad
    with pytest.raises(ConfigError, match=f"the model is an {kind} model, which cannot be trained, nor adapters on it"):
        train(narrow, Pairs(["a"], ["b"]), None, Recipe(), tmp_path)
    peft = pytest.importorskip("peft")
    with pytest.raises(ValueError, match=rf"NarrowLinear\(.*dtype={kind}\) is not supported"):
        peft.get_peft_model(narrow, peft.LoraConfig(r=2, target_modules=["q", "v"]))


# The largest of a vocabulary.


@kernels
@pytest.mark.parametrize("width", [8192, 30522, 50257])
def test_the_largest_and_log_probabilities_are_torchs(width: int) -> None:
    x = torch.randn(3, 2, width, generator=torch.Generator().manual_seed(0)) * 6
    x[0, 1, 5:9000] = float("-inf")
    values, places = rows.best(x, 7)
    expected = torch.topk(x, 7)
    assert torch.equal(values, expected.values)
    assert torch.equal(places, expected.indices)
    torch.testing.assert_close(rows.log_softmax(x), x.log_softmax(-1), rtol=1e-6, atol=2e-5)
    sums = torch.tensor([[0.0, -3.0]] * 3)
    best, chosen = rows.best_of_sums(x, sums, 6)
    whole = torch.topk((x + sums[..., None]).flatten(1), 6)
    assert torch.equal(best, whole.values)
    assert torch.equal(chosen, whole.indices)


@kernels
def test_of_equals_the_first_is_the_largest() -> None:
    x = torch.zeros(1, 9000)
    x[0, 300::7] = 1.0
    assert rows.argmax(x).tolist() == [300]
    assert rows.best(x, 3)[1].tolist() == [[300, 307, 314]]


@kernels
@pytest.mark.parametrize("width", [8192, 30522])
def test_the_best_of_logits_are_those_of_log_probabilities_written_down(width: int) -> None:
    """Equal bit for bit, ties, tokens that are forbidden (some twice, some that there are not) and hardly any left included."""
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(4, 3, width, generator=draw) * 5
    x[0, 1, 50::70] = 30.0
    x[1, 2, 9:] = float("-inf")
    one = x[3, :1]
    x[3] = one
    sums = torch.randn(4, 3, generator=draw)
    top = torch.topk(x, 3).indices
    top[3] = top[3, :1].clone()
    nothing = torch.full((4, 3, 2), -1)
    for forbidden in (nothing[..., :0], torch.cat([top, nothing, top[..., :1], nothing + width + 1], -1)):
        before = x.clone()
        alike = rows.best_of_logits(one.expand(1, 3, width), forbidden[3:, :1].expand(1, 3, -1), sums[3:], 6)
        found = rows.best_of_logits(x, forbidden, sums, 6)
        assert all(torch.equal(a, b[3:]) for a, b in zip(alike, found, strict=True))
        assert torch.equal(x, before)
        hidden = torch.zeros(x.shape, dtype=torch.bool)
        for i, j, n in (forbidden >= 0).logical_and(forbidden < width).nonzero().tolist():
            hidden[i, j, forbidden[i, j, n]] = True
        scores = rows.log_softmax(x).masked_fill(hidden, float("-inf"))
        for ours, theirs in zip(found, rows.best_of_sums(scores, sums, 6), strict=True):
            assert torch.equal(ours, theirs)


@kernels
@pytest.mark.parametrize("beams", [1, 4])
def test_rules_that_forbid_change_no_token_on_the_kernels(
    beams: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Tokens chosen of logits, or with beams of hidden states, are those chosen after every rule wrote its scores."""
    monkeypatch.setattr("conjoin.engine.native.FEW", 7)
    part = BertConfig(vocab_size=9000, hidden_size=64, num_hidden_layers=1, num_attention_heads=2, intermediate_size=96)
    torch.manual_seed(0)
    model = EncoderDecoderModel(EncoderDecoderConfig.from_encoder_decoder_configs(part, part.copy())).eval()
    model.config.decoder_start_token_id, model.config.pad_token_id, model.config.eos_token_id = 1, 0, 2
    ids, mask = ids_of(5, vocab=200)
    asked = {"num_beams": beams, "max_new_tokens": 12, "no_repeat_ngram_size": 1, "min_new_tokens": 3}
    asked |= {"encoder_no_repeat_ngram_size": 2, "suppress_tokens": [7, 8], "begin_suppress_tokens": [9]}
    found = model.generate(ids, attention_mask=mask, **asked)
    with monkeypatch.context() as written:
        written.setattr("conjoin.backends.torch.chooses", lambda logits, k: False)
        assert torch.equal(found, model.generate(ids, attention_mask=mask, **asked))
    for search in ("single", "beams"):
        monkeypatch.setattr(
            f"conjoin.decoding.search.{search}.apply", lambda *given: pytest.fail("scores were written")
        )
    model.generate(ids, attention_mask=mask, **asked)
    model.save_pretrained(tmp_path)
    other = FlaxEncoderDecoderModel.from_pretrained(tmp_path)
    assert np.array_equal(found.numpy(), other.generate(ids.numpy(), attention_mask=mask.numpy(), **asked))


@kernels
def test_a_block_of_any_height_gives_a_row_the_same_numbers() -> None:
    """A row's product, bias, activation and what is added are the same bits whichever rows stand beside it."""
    for model in (pair_of(), narrowed("int8", pair_of())):
        twin = twin_of(model.decoder)
        states = torch.randn(27, 64, generator=torch.Generator().manual_seed(2))
        whole = twin.logits(states)
        for count in (1, 2, 3, 5, 11, 13):
            assert torch.equal(twin.logits(states[:count]), whole[:count])


def test_room_is_given_again_once_nobody_holds_it() -> None:
    room = Reused()
    first = room.empty((3, 50))
    held = torch.from_numpy(first)[1:]
    second = room.empty((3, 50))
    assert not np.shares_memory(first, second)
    place = address(first)
    del first
    assert address(room.empty((2, 50))) != place  # the tensor still holds it
    del held
    assert address(room.empty((2, 50))) == place


@kernels
def test_the_softmax_of_a_row_hangs_neither_on_rows_beside_it_nor_on_what_is_hidden_behind_it() -> None:
    from conjoin.engine.arrays import address, empty
    from conjoin.engine.kernels.compiling import called_from_python
    from conjoin.engine.kernels.soften import soften, soften_four

    @called_from_python
    def run(row: int, stride: int, count: int, overs: int, alone: int, over: int) -> None:
        soften_four(row, stride, count, overs)
        soften(alone, stride, count, over)

    for count in (1, 15, 16, 17, 76, 200):
        whole, overs = empty((4, 256)), np.zeros(16, np.float32)
        whole[:] = np.random.default_rng(count).standard_normal((4, 256)) * 5
        whole[0] = np.finfo(np.float32).min  # all hidden
        expected = np.exp(whole[:, :count].astype(np.float64) - whole[:, :count].max(1, keepdims=True))
        alone, over, hidden = whole[1:2].copy(), np.zeros(16, np.float32), whole[[1, 1, 1, 1]]
        run(address(whole), 1024, count, address(overs), address(alone), address(over))
        weights = whole[1:, :count] * overs[1:4, None]
        assert np.abs(weights - (expected / expected.sum(1, keepdims=True))[1:]).max() < 1e-6
        assert overs[0] == 0
        assert not whole[:, count : -(-count // 16) * 16].any()
        assert overs[1] == over[0]
        assert (whole[1, :count] == alone[0, :count]).all()
        hidden[:, count:], before = np.finfo(np.float32).min, over[0]
        run(address(hidden), 1024, 256, address(overs), address(alone), address(over))
        assert overs[1] == before
        assert (hidden[1, :count] == whole[1, :count]).all()


def test_rows_are_divided_among_products_so_that_none_has_fewer_than_four() -> None:
    for count in range(4, 60):
        left, blocks = count, []
        while left:
            blocks.append(min(max(BLOCKS), next_rows.py_func(left)))
            left -= blocks[-1]
        assert min(blocks) >= 4
        assert set(blocks) <= set(BLOCKS)


def test_weights_lie_one_behind_another_in_large_pages_and_never_in_each_other():
    sizes = (3, 1000, 70_000, PIECE // 8, 5, PIECE // 2, 17)
    found = [lasting_zeros((size,), np.int32) for size in sizes]
    for i, one in enumerate(found):
        assert address(one) % 64 == 0
        assert not one.any()
        one[:] = i + 1
    for i, one in enumerate(found):
        assert (one == i + 1).all()
    if sys.platform == "linux":
        assert address(found[5]) % PAGE == 0  # larger than half a piece: one of its own
