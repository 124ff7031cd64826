"""pipeline: equal to generating and decoding by hand, in order, in pieces that join to the whole; and its mistakes."""

import logging
import threading
from pathlib import Path

import pytest
import tiny
import torch
import transformers
from tiny import TEXTS

import conjoin
from conjoin import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    ConfigError,
    EncoderDecoderModel,
    InputError,
)
from conjoin.batching import BatchLimit
from conjoin.engine.machine import has_kernels
from conjoin.onnx.layout import GRAPHS
from conjoin.pieces import pieces
from conjoin.pipelines import Writer, pipeline
from conjoin.tokens import TokenizerPair


@pytest.fixture(scope="session", params=["bert", "gpt2"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.join(tmp_path_factory.mktemp("joined") / request.param, request.param)


@pytest.fixture
def write(folder: Path) -> Writer:
    return pipeline(folder)


def by_hand(write: Writer, text: str, **settings: object) -> str:
    inputs = write.tokenizers.source(text, return_tensors="pt")
    ids = write.model.generate(inputs["input_ids"], attention_mask=inputs["attention_mask"], **settings)
    return write.tokenizers.target.decode(ids[0], skip_special_tokens=True)


SETTINGS = [
    {"max_new_tokens": 12},
    {"max_new_tokens": 9, "num_beams": 3},
    {"max_length": 8, "no_repeat_ngram_size": 1},
    {"max_new_tokens": 10, "do_sample": True, "seed": 3, "top_k": 0},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_a_text_is_what_generate_and_the_tokenizer_give(write, settings):
    assert write(TEXTS[0], **settings) == by_hand(write, TEXTS[0], **settings)


@pytest.mark.parametrize("kind", [transformers.GenerationConfig, conjoin.GenerationConfig])
def test_a_generation_config_gives_way_to_what_is_named(write, kind):
    config = kind(num_beams=3, max_new_tokens=9)
    assert write(TEXTS[0], generation_config=config) == by_hand(write, TEXTS[0], num_beams=3, max_new_tokens=9)
    assert write(TEXTS[0], generation_config=config, max_new_tokens=2) == by_hand(
        write, TEXTS[0], num_beams=3, max_new_tokens=2
    )


def test_a_list_keeps_its_order_whatever_the_batches(write):
    alone = [by_hand(write, text, max_new_tokens=8) for text in TEXTS]
    assert len(set(alone)) > 1
    for size in (1, 2, 16):
        assert write(TEXTS, max_new_tokens=8, batch_size=size) == alone
    assert write([]) == []


def test_batches_are_of_like_lengths(write):
    lengths = [len(row) for row in write.encoded(TEXTS, False, None)]
    order = [i for index, _ in write.batches(TEXTS, max_new_tokens=2, batch_size=2) for i in index]
    assert [lengths[i] for i in order] == sorted(lengths, reverse=True)


def test_settings_of_the_pipeline_hold_for_every_call_and_give_way_to_a_calls(folder):
    write = pipeline(folder, max_new_tokens=3)
    assert write(TEXTS[0]) == by_hand(write, TEXTS[0], max_new_tokens=3)
    assert write(TEXTS[0], max_new_tokens=7) == by_hand(write, TEXTS[0], max_new_tokens=7)
    assert write(TEXTS[0], max_length=6) == by_hand(write, TEXTS[0], max_new_tokens=5)


def test_a_length_that_is_asked_for_wins_over_the_models_other_one(write):
    write.model.config.generation.max_new_tokens = 11
    expected = by_hand(write, TEXTS[0], max_new_tokens=4)
    assert write(TEXTS[0], max_length=5) == expected
    assert write(TEXTS[0]) == by_hand(write, TEXTS[0], max_new_tokens=11)


def test_without_a_length_there_is_room_for_all_that_the_decoder_can_write(write):
    most = write.model.decoder.spec.max_length
    assert write(TEXTS[0]) == by_hand(write, TEXTS[0], max_new_tokens=most)


# Streams.


@pytest.mark.parametrize("settings", [s for s in SETTINGS if "num_beams" not in s], ids=str)
def test_the_pieces_of_a_stream_join_to_the_whole(write, settings):
    found = list(write.stream(TEXTS[2], **settings))
    assert "".join(found) == write(TEXTS[2], **settings)
    assert len(found) > 1
    assert all(found)


@pytest.mark.parametrize(
    "settings", [{}, {"length_penalty": 2.0, "early_stopping": "never"}, {"do_sample": True, "seed": 4}]
)
def test_the_pieces_of_beams_come_before_the_end_and_join_to_the_whole(write, settings):
    early = 0
    for text in TEXTS:
        asked = {"num_beams": 3, "max_new_tokens": 12, **settings}
        found = list(write.stream(text, **asked))
        assert "".join(found) == write(text, **asked)
        early += len(found) > 1
    assert early > 1


@pytest.mark.parametrize("settings", [{}, {"num_beams": 3}, {"do_sample": True, "seed": 4}], ids=str)
def test_several_texts_come_in_pieces_side_by_side(write, settings):
    asked = {"max_new_tokens": 10, **settings}
    found = list(write.stream(TEXTS, **asked))
    whole = ["".join(piece for at, piece in found if at == i) for i in range(len(TEXTS))]
    assert whole == write(TEXTS, **asked)
    order = [at for at, _ in found]
    assert order != sorted(order)  # side by side, not one after another
    assert all(piece for _, piece in found)
    assert list(write.stream([])) == []


def test_streams_take_turns_and_leave_no_mode_behind(write):
    write.model.train()
    expected = [write(text, max_new_tokens=8) for text in TEXTS[:2]]
    streams = [write.stream(text, max_new_tokens=8) for text in TEXTS[:2]]
    found = ["", ""]
    for _ in range(12):
        for i, one in enumerate(streams):
            found[i] += next(one, "")
            assert not torch.is_inference_mode_enabled()
            assert write.model.training
    assert found == expected


@pytest.mark.parametrize("text", ["naïve café", "日本語のテキスト", "a 😀 and a 👩‍👩‍👧 , ﷽", "plain"])
def test_no_piece_ends_within_a_character(tmp_path, text):
    tokenizer = AutoTokenizer.from_pretrained(tiny.gpt2(tmp_path / "gpt2"))
    ids = tokenizer(text)["input_ids"]
    assert len(ids) == len(text.encode())
    found = list(pieces(iter(ids), tokenizer))
    assert found == list(text)


def test_bytes_that_are_no_text_come_as_they_are_decoded(tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(tiny.gpt2(tmp_path / "gpt2"))
    random = torch.randint(0, 256, (200,)).tolist()
    assert "".join(pieces(iter(random), tokenizer)) == tokenizer.decode(random)
    cut = tokenizer("né")["input_ids"][:-1]
    assert "".join(pieces(iter(cut), tokenizer)) == "n\ufffd"


def test_what_a_clean_up_may_still_change_is_held_back(tmp_path):
    tokenizer = transformers.BertTokenizer.from_pretrained(
        tiny.bert(tmp_path / "bert"), clean_up_tokenization_spaces=True
    )
    text = "it was here , don ' t ! the cat sat on the mat , and then the dog ran ."
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    found = list(pieces(iter(ids), tokenizer))
    assert "".join(found) == tokenizer.decode(ids, skip_special_tokens=True)
    assert len(found) > 3


# Tasks, as transformers has them.


@pytest.mark.parametrize(
    ("task", "key"),
    [
        ("summarization", "summary_text"),
        ("text2text-generation", "generated_text"),
        ("translation", "translation_text"),
        ("translation_en_to_de", "translation_text"),
    ],
)
def test_a_task_gives_dictionaries(folder, write, task, key):
    run = pipeline(task, model=str(folder), device=-1)
    expected = [write(text, max_length=10, num_beams=4) for text in TEXTS]
    assert run(TEXTS[0], max_length=10) == [{key: expected[0]}]
    assert run(TEXTS, max_length=10) == [{key: text} for text in expected]
    several = run(TEXTS[:2], max_length=10, num_return_sequences=2)
    assert [len(one) for one in several] == [2, 2]
    assert several[0][0] == {key: expected[0]}
    assert len(run(TEXTS[0], max_length=10, num_return_sequences=2)) == 2


def test_a_tasks_beams_give_way_to_the_models_and_the_callers(folder, write):
    write.model.config.generation.num_beams = 2
    run = pipeline("summarization", model=write.model)
    assert run(TEXTS[0], max_length=9) == [{"summary_text": write(TEXTS[0], max_length=9, num_beams=2)}]
    assert run(TEXTS[0], max_length=9, num_beams=1) == [{"summary_text": write(TEXTS[0], max_length=9, num_beams=1)}]


@pytest.mark.skipif(torch.accelerator.is_available(), reason="for machines without an accelerator")
def test_device_0_is_the_cpu_where_there_is_no_accelerator_and_says_so(folder, caplog):
    with caplog.at_level(logging.WARNING, logger="conjoin"):
        run = pipeline("summarization", model=folder, dtype=torch.float16, device=0)
    assert [record.message for record in caplog.records] == ["device=0: there is no accelerator here; the CPU is used."]
    assert run.model.dtype == torch.float16
    assert isinstance(run(TEXTS[0])[0]["summary_text"], str)


def test_a_folder_with_a_tasks_name_is_a_folder(folder, tmp_path, monkeypatch):
    (tmp_path / "summarization").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    assert isinstance(pipeline("summarization"), Writer)


def test_a_tokenizer_of_transformers_works(folder, write):
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    own = AutoTokenizer.from_pretrained(folder)
    target = write.tokenizers.target
    for pair in ((theirs, target), (own, target), TokenizerPair(theirs, target)):
        assert pipeline(folder, tokenizer=pair)(TEXTS, max_new_tokens=5) == write(TEXTS, max_new_tokens=5)
    if write.tokenizers.same:
        for one in (theirs, own, folder, str(folder)):
            assert pipeline(folder, tokenizer=one)(TEXTS, max_new_tokens=5) == write(TEXTS, max_new_tokens=5)


# Auto classes.


@pytest.mark.parametrize("auto", [AutoModelForSeq2SeqLM, AutoModelForCausalLM])
def test_auto_classes_load_joined_models(folder, auto):
    model = auto.from_pretrained(str(folder), dtype=torch.bfloat16, device_map="auto", attn_implementation="sdpa")
    assert isinstance(model, EncoderDecoderModel)
    assert model.dtype == torch.bfloat16
    inputs = AutoTokenizer.from_pretrained(folder)(TEXTS[0], return_tensors="pt").to(model.device)
    assert model.generate(**inputs, max_length=6, num_beams=2).shape[1] <= 6
    with pytest.raises(TypeError, match='"revision"'):
        auto.from_pretrained(folder, revison="main")


def test_auto_classes_say_what_to_do_with_a_single_model(tmp_path):
    with pytest.raises(ConfigError, match=r'model_type "gpt2".*from_encoder_decoder_pretrained'):
        AutoModelForCausalLM.from_pretrained(tiny.gpt2(tmp_path / "gpt2"))


# Mistakes.


def test_sources_that_do_not_fit(write):
    long = " ".join(["cat"] * 40)
    with pytest.raises(InputError, match=r"source has 42 tokens and the encoder has positions for 24.*truncation=True"):
        write(long)
    with pytest.raises(InputError, match="index 1 has 42 tokens"):
        write(["cat", long])
    kept = " ".join(["cat"] * 22)
    assert write(long, truncation=True, max_new_tokens=5) == write(kept, max_new_tokens=5)
    assert "".join(write.stream(long, truncation=True, max_new_tokens=5)) == write(kept, max_new_tokens=5)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("", "source at index 0 is empty"),
        (["cat", " \n"], "source at index 1 is empty"),
        (["cat", None], "source at index 1 is a NoneType"),
        ({"cat"}, "a list of texts was expected, not set"),
        (7, "not int"),
    ],
)
def test_what_is_no_text_is_refused(write, texts, message):
    with pytest.raises(InputError, match=message):
        write(texts)


def test_unknown_settings_name_the_nearest(folder, write):
    for call in (write, write.stream, pipeline("summarization", model=write.model)):
        with pytest.raises(TypeError, match='"num_beam"; the nearest known is "num_beams"'):
            call("cat", num_beam=4)
    with pytest.raises(TypeError, match='"max_new_token"; the nearest known is "max_new_tokens"'):
        pipeline(folder, max_new_token=4)
    with pytest.raises(InputError, match="candidates"):
        write("cat", num_beams=2, num_return_sequences=2)
    with pytest.raises(InputError, match="batch_size is 0"):
        write("cat", batch_size=0)


def test_calls_that_cannot_be(folder, write):
    with pytest.raises(InputError, match='no task "summarisation"; the nearest known is "summarization"'):
        pipeline("summarisation", model=folder)
    with pytest.raises(InputError, match='pipeline\\("summarization"\\) needs a model'):
        pipeline("summarization")
    with pytest.raises(InputError, match="needs a model"):
        pipeline()
    with pytest.raises(InputError, match="not int"):
        pipeline(model=3)
    with pytest.raises(InputError, match="two models"):
        pipeline(write.model, model=folder)
    with pytest.raises(InputError, match="revision"):
        pipeline(write.model, revision="main")
    with pytest.raises(InputError, match="tuple of 3"):
        pipeline(folder, tokenizer=(1, 2, 3))


def test_a_model_without_tokenizers_needs_one(write):
    pair = write.tokenizers
    write.model.encoder.tokenizer = None
    with pytest.raises(InputError, match="pass tokenizer="):
        pipeline(write.model)
    assert pipeline(write.model, tokenizer=pair)("cat", max_new_tokens=3) == write("cat", max_new_tokens=3)


def test_one_tokenizer_for_two_vocabularies_is_refused(folder, write):
    if not write.tokenizers.same:
        with pytest.raises(InputError, match=r"vocabularies of 34 and 257; pass tokenizer=\(source, target\)"):
            pipeline(folder, tokenizer=write.tokenizers.source)


@pytest.mark.skipif(torch.accelerator.is_available(), reason="for machines without an accelerator")
@pytest.mark.parametrize("device", ["cuda", "cuda:1", 3, "gpu", torch.device("cuda")])
def test_devices_that_are_not_there(folder, device):
    with pytest.raises(InputError, match="device is"):
        pipeline(folder, device=device)


def test_the_name_is_exported():
    assert conjoin.pipeline is pipeline


# Batches.


def test_batches_hold_as_many_tokens_as_asked_for(write):
    alone = [by_hand(write, text, max_new_tokens=4, num_beams=2) for text in TEXTS]
    for tokens in (1, 64, 128, 10_000):
        assert write(TEXTS, max_new_tokens=4, num_beams=2, max_batch_tokens=tokens) == alone
    sizes = [len(index) for index, _ in write.batches(TEXTS, max_new_tokens=2, num_beams=2, max_batch_tokens=64)]
    assert sizes == [2, 2, 1]  # a short source counts as 32 tokens


@pytest.fixture
def lanes(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Two threads on the kernels; the names of those that generate."""
    if not has_kernels():
        pytest.skip("the kernels need AVX-512 with VNNI")
    monkeypatch.setenv("CONJOIN_ENGINE", "native")
    monkeypatch.setattr("conjoin.engine.lanes.kernel_threads", lambda: 2)
    names: set[str] = set()
    generate = EncoderDecoderModel.generate

    def noted(self: EncoderDecoderModel, *given: object, **settings: object) -> object:
        names.add(threading.current_thread().name)
        return generate(self, *given, **settings)

    monkeypatch.setattr(EncoderDecoderModel, "generate", noted)
    return names


@pytest.mark.parametrize("asked", [{"num_beams": 2}, {"do_sample": True, "seed": 3}], ids=str)
def test_batches_side_by_side_write_the_same_in_order(folder, lanes, asked):
    write, threads = pipeline(folder, max_new_tokens=6), torch.get_num_threads()
    expected = [write([text], **asked)[0] for text in TEXTS * 3]
    assert lanes == {"MainThread"}
    assert write(TEXTS * 3, batch_size=1, **asked) == expected
    assert {name for name in lanes if name.startswith("conjoin-lane")}
    assert torch.get_num_threads() == threads


def test_batches_side_by_side_look_at_the_weights_once_and_the_next_call_again(folder, lanes, monkeypatch):
    from conjoin.engine import twins

    looks, signature = [], twins.signature
    monkeypatch.setattr(twins, "signature", lambda stack: (looks.append(stack), signature(stack))[1])
    write = pipeline(folder, max_new_tokens=6)
    before = write(TEXTS * 3, batch_size=1)
    assert looks == [write.model.encoder, write.model.decoder]
    with torch.no_grad():
        write.model.decoder.embed.token.weight.mul_(-1)
    assert write(TEXTS * 3, batch_size=1) != before


def test_what_draws_from_the_global_state_or_calls_back_is_written_in_turn(folder, lanes):
    write = pipeline(folder, max_new_tokens=6)
    write(TEXTS, batch_size=1, do_sample=True)
    write(TEXTS, batch_size=1, prefix_allowed_tokens_fn=lambda number, ids: [5, 6])
    assert lanes == {"MainThread"}


def test_an_error_of_one_batch_is_the_calls(folder, lanes):
    with pytest.raises(InputError, match="10001 tokens were asked for"):
        pipeline(folder)(TEXTS * 3, batch_size=1, max_new_tokens=10_000)
    assert not [one for one in threading.enumerate() if one.name.startswith("conjoin-lane")]


def test_padding_counts_in_a_batch_of_tokens():
    found = BatchLimit(tokens=400).batches([40, 200, 100, 90, 40, 33])
    assert found == [[1, 2], [3, 0, 4, 5]]
    assert BatchLimit(tokens=400).batches([500, 500]) == [[0], [1]]
    assert [len(one) for one in BatchLimit(tokens=4000).batches([100] * 100, lanes=2)] == [40, 30, 15, 8, 7]
    assert [len(one) for one in BatchLimit(tokens=4000).batches([100] * 8, lanes=2)] == [8]
    assert [len(one) for one in BatchLimit(texts=20).batches([100] * 30, lanes=2)] == [20, 10]
    assert BatchLimit(texts=3).batches([1, 2, 3, 4]) == [[3, 2, 1], [0]]


def test_a_pipeline_has_one_limit_of_batches(folder):
    write = pipeline(folder, batch_size=1)
    assert [index for index, _ in write.batches(TEXTS[:2], max_new_tokens=2)] == [[0], [1]]
    assert [index for index, _ in write.batches(TEXTS[:2], max_new_tokens=2, max_batch_tokens=500)] == [[0, 1]]
    with pytest.raises(InputError, match="batch_size is 2 and max_batch_tokens 9; one of them was expected"):
        write("cat", batch_size=2, max_batch_tokens=9)
    with pytest.raises(InputError, match="max_batch_tokens is 0; a whole number of tokens"):
        pipeline(folder, max_batch_tokens=0)


@pytest.mark.parametrize("backend", ["jax", "tensorflow"])
def test_exported_graphs_run_in_onnx_runtime_alone(tmp_path, backend):
    for name in GRAPHS:
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=f'backend is "{backend}", and .* holds ONNX graphs, .* leave backend out'):
        pipeline(tmp_path, backend=backend)
