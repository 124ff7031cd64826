"""What scripts written for transformers do around the model, with only their imports changed."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny
import torch

from conjoin import (
    AutoConfig,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    BertConfig,
    BertTokenizer,
    CheckpointError,
    ConfigError,
    EncoderDecoderConfig,
    EncoderDecoderModel,
    GenerationConfig,
    InputError,
)
from conjoin.tokens import BatchEncoding
from conjoin.torch import Encoder

transformers = pytest.importorskip("transformers")

LABELS = torch.tensor([[5, 6, 3], [9, 3, -100]])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.join(tmp_path_factory.mktemp("habits") / "model", "bert")


@pytest.fixture
def model(folder: Path) -> EncoderDecoderModel:
    return EncoderDecoderModel.from_pretrained(folder)


def source(model: EncoderDecoderModel) -> dict[str, torch.Tensor]:
    return dict(model.tokenizers.source(tiny.TEXTS[:2], padding=True, return_tensors="pt"))


def test_labels_among_the_inputs_of_generate_change_nothing(model):
    given = source(model)
    assert torch.equal(model.generate(**given, labels=LABELS), model.generate(**given))


def test_transformers_generation_configs_are_taken(model):
    given = source(model)
    expected = model.generate(**given, num_beams=2, max_new_tokens=5)
    theirs = transformers.GenerationConfig(num_beams=2, max_new_tokens=5)
    assert torch.equal(model.generate(**given, generation_config=theirs), expected)
    start, end = model.config.decoder_start_token_id, model.config.eos_token_id
    model.generation_config = theirs
    assert torch.equal(model.generate(**given), expected)
    assert (model.config.decoder_start_token_id, model.config.eos_token_id) == (start, end)
    assert torch.isfinite(model(**given, labels=LABELS).loss)
    model.generation_config = GenerationConfig(max_new_tokens=2, decoder_start_token_id=7)
    assert model.generate(**given)[:, 0].tolist() == [7, 7]
    for wrong in ({"max_new_tokens": 5}, 3):
        with pytest.raises(InputError, match="a GenerationConfig was expected"):
            model.generation_config = wrong


def test_a_generation_config_takes_what_does_nothing_here(model):
    config = GenerationConfig(max_new_tokens=3, use_cache=True)
    assert config == GenerationConfig(max_new_tokens=3)
    assert model.generate(**source(model), generation_config=config).shape[1] <= 4
    with pytest.raises(TypeError, match='no argument "num_beam"; the nearest known is "num_beams"'):
        GenerationConfig(num_beam=3)


def test_generation_configs_of_a_model_and_of_a_folder(model, folder):
    made = GenerationConfig.from_model_config(model.config)
    assert made == model.generation_config
    assert made is not model.generation_config
    assert made.to_diff_dict()["decoder_start_token_id"] == model.config.decoder_start_token_id
    assert GenerationConfig.from_pretrained(folder, num_beams=3) == made.updated({"num_beams": 3})
    with pytest.raises(TypeError, match='nearest known is "num_beams"'):
        GenerationConfig.from_pretrained(folder, num_beam=3)
    with pytest.raises(InputError, match="config is a BertConfig"):
        GenerationConfig.from_model_config(model.config.decoder)


def test_generation_configs_update(model):
    settings = model.generation_config
    assert settings.update(num_beams=3, max_lenght=7) == {"max_lenght": 7}
    assert settings.update(defaults_only=True, num_beams=1, min_length=2) == {}
    assert (settings.num_beams, settings.min_length) == (3, 2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, "bfloat16"])
def test_loading_options_of_scripts(folder, dtype):
    options = {"torch_dtype": dtype, "low_cpu_mem_usage": True, "trust_remote_code": False, "use_safetensors": True}
    parts = [folder.parent / "model_parts" / side for side in ("encoder", "decoder")]
    for loaded in (
        EncoderDecoderModel.from_pretrained(folder, **options),
        EncoderDecoderModel.from_encoder_decoder_pretrained(*parts, **options),
    ):
        assert {p.dtype for p in loaded.parameters()} == {torch.bfloat16}


def test_accelerates_way_of_saving(model, tmp_path):
    model.save_pretrained(tmp_path / "other", is_main_process=False, save_function=torch.save)
    assert not (tmp_path / "other").exists()
    model.save_pretrained(tmp_path / "main", is_main_process=True, save_function=torch.save, safe_serialization=True)
    again = EncoderDecoderModel.from_pretrained(tmp_path / "main")
    torch.testing.assert_close(again.state_dict(), model.state_dict(), rtol=0, atol=0)
    with pytest.raises(InputError, match="safe_serialization is False"):
        model.save_pretrained(tmp_path / "bin", safe_serialization=False)


@pytest.mark.parametrize("duplicate", [False, True])
@pytest.mark.parametrize("share", ["none", "all"])
def test_a_state_dict_is_saved_in_place_of_the_models_values(tmp_path, share, duplicate):
    parts = tiny.bert(tmp_path / "bert"), tiny.bert(tmp_path / "bert")
    model = EncoderDecoderModel.from_encoder_decoder_pretrained(*parts, share=share)
    gathered = {name: torch.randn_like(x) for name, x in model.state_dict().items()}
    model.save_pretrained(tmp_path / "m", state_dict=gathered, push_to_hub=False, duplicate_shared=duplicate)
    again = EncoderDecoderModel.from_pretrained(tmp_path / "m")
    torch.testing.assert_close(again.state_dict(), gathered, rtol=0, atol=0)
    again.tie_weights()
    torch.testing.assert_close(again.state_dict(), gathered, rtol=0, atol=0)
    assert again.num_parameters() == model.num_parameters()


@pytest.mark.parametrize("share", ["embeddings", "all"])
@pytest.mark.parametrize("where", ["cpu", "meta"])
def test_what_is_shared_stays_one_where_tensors_are_assigned(tmp_path, share, where):
    parts = tiny.bert(tmp_path / "bert"), tiny.bert(tmp_path / "bert")
    model = EncoderDecoderModel.from_encoder_decoder_pretrained(*parts, share=share)
    with torch.device(where):
        again = EncoderDecoderModel(config=model.config)
    assert not any(again.load_state_dict({n: x.clone() for n, x in model.state_dict().items()}, assign=True))
    assert again.held_twice() == model.held_twice() != {}
    torch.testing.assert_close(again.state_dict(), model.state_dict(), rtol=0, atol=0)


def test_what_cannot_be_saved_is_refused(model, tmp_path):
    state = model.state_dict()
    name = next(iter(state))
    for wrong, said in (
        ({n: x for n, x in state.items() if n != name}, "has no"),
        ({**state, "more": state[name]}, "has more"),
    ):
        with pytest.raises(InputError, match=f"state_dict {said}"):
            model.save_pretrained(tmp_path / "m", state_dict=wrong)
    with pytest.raises(InputError, match="push_to_hub is True"):
        model.save_pretrained(tmp_path / "m", push_to_hub=True)
    assert not (tmp_path / "m").exists()


def test_vocabularies_grow_to_a_multiple(model, tmp_path):
    tokens = model.config.decoder.vocab_size
    model.decoder.resize_token_embeddings(tokens + 1, pad_to_multiple_of=8)
    assert model.config.decoder.vocab_size == -(-(tokens + 1) // 8) * 8
    found = model.resize_token_embeddings(side="encoder", pad_to_multiple_of=64)
    assert found.weight.shape[0] == model.config.encoder.vocab_size == 64
    with pytest.raises(InputError, match="pad_to_multiple_of is 0"):
        model.decoder.resize_token_embeddings(tokens, pad_to_multiple_of=0)


def test_use_cache_of_a_part_is_kept_and_changes_nothing(model, tmp_path):
    given = source(model)
    before = model.generate(**given)
    model.decoder.config.use_cache = False
    model.config.use_cache = False
    assert torch.equal(model.generate(**given), before)
    model.save_pretrained(tmp_path)
    assert EncoderDecoderModel.from_pretrained(tmp_path).config.decoder.use_cache is False


def test_ids_of_32_bits_are_taken(model):
    given = source(model)
    small = {name: x.int() for name, x in given.items()}
    for more in ({}, {"return_logits": False}):
        assert model(**small, labels=LABELS.int(), **more).loss == model(**given, labels=LABELS, **more).loss


def test_return_dict_none_is_true(model):
    given = source(model)
    assert torch.isfinite(model(**given, labels=LABELS, return_dict=None).loss)
    assert model.encoder(given["input_ids"], return_dict=None).last_hidden_state.ndim == 3


def test_arguments_of_the_next_step(model):
    given = source(model)
    out = model(**given, decoder_input_ids=torch.tensor([[2, 5], [2, 6]]))
    ids = torch.tensor([[2, 5, 7], [2, 6, 8]])
    step = model.prepare_inputs_for_generation(ids, past_key_values=out.past_key_values, **given)
    assert step["decoder_input_ids"].tolist() == [[7], [8]]
    whole = model(**given, decoder_input_ids=ids).logits[:, -1]
    torch.testing.assert_close(model(**step).logits[:, -1], whole, atol=1e-5, rtol=0)


@pytest.mark.filterwarnings("ignore")  # transformers' and accelerate's own
def test_the_warm_starting_recipe_evaluates_with_generate(folder: Path, tmp_path: Path) -> None:
    """https://huggingface.co/blog/warm-starting-encoder-decoder: Seq2SeqTrainer, predict_with_generate, fixed lengths."""
    torch.set_num_threads(1)
    parts = [folder.parent / "model_parts" / side for side in ("encoder", "decoder")]
    tokenizer = BertTokenizer.from_pretrained(parts[0])
    model = EncoderDecoderModel.from_encoder_decoder_pretrained(*parts)
    model.config.decoder_start_token_id = tokenizer.cls_token_id
    model.config.eos_token_id = tokenizer.sep_token_id
    model.config.pad_token_id = tokenizer.pad_token_id
    model.config.vocab_size = model.config.encoder.vocab_size
    model.config.max_length, model.config.min_length, model.config.num_beams = 14, 5, 2

    def padded(text: str, length: int) -> Any:
        return tokenizer(text, padding="max_length", truncation=True, max_length=length)

    data = []
    for text in tiny.TEXTS:
        inputs, outputs = padded(text, 18), padded(" ".join(text.split()[:3]), 8)
        labels = [-100 if i == tokenizer.pad_token_id else i for i in outputs.input_ids]
        row = {"input_ids": inputs.input_ids, "attention_mask": inputs.attention_mask, "labels": labels}
        data.append({**row, "decoder_input_ids": outputs.input_ids, "decoder_attention_mask": outputs.attention_mask})
    shapes = []

    def compute_metrics(found: Any) -> dict[str, float]:
        found.label_ids[found.label_ids == -100] = tokenizer.pad_token_id
        shapes.append((found.predictions.shape, found.label_ids.shape))
        return {"texts": len(tokenizer.batch_decode(found.predictions, skip_special_tokens=True))}

    common: dict[str, Any] = {"use_cpu": True, "report_to": [], "disable_tqdm": True, "save_strategy": "no"}
    arguments = transformers.Seq2SeqTrainingArguments(
        output_dir=str(tmp_path),
        predict_with_generate=True,
        gradient_checkpointing=True,
        eval_strategy="steps",
        eval_steps=2,
        max_steps=2,
        **common,
    )
    trainer = transformers.Seq2SeqTrainer(
        model=model,
        processing_class=tokenizer,
        args=arguments,
        compute_metrics=compute_metrics,
        train_dataset=data,
        eval_dataset=data,
    )
    trainer.train()
    assert trainer.evaluate()["eval_texts"] == len(data)
    assert shapes == [((5, 14), (5, 14))] * 2
    with pytest.raises(InputError, match="every_n_layers is 2"):
        model.activation_checkpointing_enable(every_n_layers=2)


def test_arguments_by_transformers_names(folder, tmp_path):
    model = EncoderDecoderModel.from_pretrained(pretrained_model_name_or_path=folder)
    model.save_pretrained(save_directory=tmp_path / "m")
    model.config.save_pretrained(save_directory=tmp_path / "c")
    model.encoder.save_pretrained(save_directory=tmp_path / "e")
    model.generation_config.save_pretrained(save_directory=tmp_path / "g")
    tokenizer = AutoTokenizer.from_pretrained(pretrained_model_name_or_path=tmp_path / "m")
    tokenizer.save_pretrained(save_directory=tmp_path / "t")
    assert AutoConfig.from_pretrained(pretrained_model_name_or_path=tmp_path / "e").hidden_size == 16
    assert GenerationConfig.from_pretrained(pretrained_model_name=tmp_path / "g") == model.generation_config
    loaded = AutoModelForSeq2SeqLM.from_pretrained(pretrained_model_name_or_path=tmp_path / "m", from_tf=False)
    assert loaded.config == model.config
    assert Encoder.from_pretrained(pretrained_model_name_or_path=tmp_path / "e").main_input_name == "input_ids"
    for wrong in (None, 3):
        with pytest.raises(
            CheckpointError, match=f'a folder or a hub id such as "owner/name" was expected, not {wrong}'
        ):
            EncoderDecoderModel.from_pretrained(wrong)


def test_configs_of_transformers_are_taken(folder):
    parts = [transformers.BertConfig(**tiny.SIZES, vocab_size=30) for _ in "ed"]
    joined = transformers.EncoderDecoderConfig.from_encoder_decoder_configs(*parts)
    ours = EncoderDecoderConfig.from_encoder_decoder_configs(*parts)
    assert EncoderDecoderModel(config=joined).config.to_dict() == EncoderDecoderModel(config=ours).config.to_dict()
    theirs = transformers.EncoderDecoderConfig.from_pretrained(folder)
    for given in (theirs, str(folder), folder, EncoderDecoderConfig.from_pretrained(folder)):
        assert EncoderDecoderModel.from_pretrained(folder, config=given).config.encoder.hidden_size == 16
    with pytest.raises(ConfigError, match="config is a BertConfig; an EncoderDecoderConfig was expected"):
        EncoderDecoderModel(config=parts[0])
    with pytest.raises(ConfigError, match='the config has no "model_type"'):
        EncoderDecoderConfig(decoder={"hidden_size": 16})


def test_configs_made_as_transformers_are(model):
    made = BertConfig(**tiny.SIZES, num_labels=3, output_attentions=True, transformers_version="4.57.6")
    assert made == BertConfig(**tiny.SIZES) == AutoConfig.for_model("bert", **tiny.SIZES)
    made.update({"vocab_size": 40})
    assert made.vocab_size == 40
    with pytest.raises(ConfigError, match='model_type "brt" is not known; the nearest known is "bert"'):
        AutoConfig.for_model("brt")
    model.config.update({"pad_token_id": 7, "max_length": 9})
    assert (model.generation_config.pad_token_id, model.config.max_length) == (7, 9)
    assert AutoModelForSeq2SeqLM.from_config(model.config).num_parameters() == model.num_parameters()


@pytest.mark.parametrize(
    ("name", "said"),
    [("use_auth_token", "pass token="), ("load_in_8bit", 'pass dtype="int8"'), ("subfolder", "pass the folder")],
)
def test_what_is_called_otherwise_is_said(folder, name, said):
    with pytest.raises(TypeError, match=f'no argument "{name}"; {said}'):
        EncoderDecoderModel.from_pretrained(folder, **{name: True})
    parts = [folder.parent / "model_parts" / side for side in ("encoder", "decoder")]
    with pytest.raises(TypeError, match=f'no argument "encoder_{name}"; {said}'):
        EncoderDecoderModel.from_encoder_decoder_pretrained(*parts, **{f"encoder_{name}": True})
    EncoderDecoderModel.from_encoder_decoder_pretrained(*parts, decoder_trust_remote_code=True, encoder_from_tf=False)


def test_calls_that_lack_something_say_what(model):
    given = source(model)
    with pytest.raises(InputError, match="pass labels, or decoder_input_ids"):
        model(**given)
    with pytest.raises(InputError, match=r"input_ids has shape \(9,\); \(batch, tokens\) was expected"):
        model.generate(given["input_ids"][0][:9])


@pytest.mark.parametrize("wrong", ["the cat", [[2, 5, 3]], BatchEncoding({"input_ids": [[2, 5, 3]]})])
def test_what_is_no_tensor_is_said(model, wrong):
    with pytest.raises(InputError, match=f"input_ids is a {type(wrong).__name__}; a PyTorch tensor was expected"):
        model.generate(wrong)


def test_a_model_is_pushed_to_the_hub(model, tmp_path, monkeypatch):
    put: dict[str, Any] = {}

    class Hub:
        def __init__(self, **given: Any) -> None:
            put.update(given)

        def create_repo(self, repo_id: str, **given: Any) -> Any:
            if repo_id == "no/where":
                raise OSError("no such place\nand more")
            return SimpleNamespace(repo_id=f"me/{repo_id}")

        def upload_folder(self, *, folder_path: Path, **given: Any) -> Any:
            put.update(given, loaded=EncoderDecoderModel.from_pretrained(folder_path))
            return SimpleNamespace(commit_url="https://hub/me/mine/commit/1")

    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    assert model.push_to_hub("mine", token="secret", commit_message="first") == "https://hub/me/mine/commit/1"
    assert (put["repo_id"], put["token"], put["commit_message"]) == ("me/mine", "secret", "first")
    torch.testing.assert_close(put["loaded"].state_dict(), model.state_dict(), rtol=0, atol=0)
    with pytest.raises(
        CheckpointError, match=r'"no/where" could not be written on the hub \(OSError: no such place\)\.$'
    ):
        model.push_to_hub("no/where")


def test_searches_that_transformers_fetches_as_code_are_built_in(model):
    ids, groups = torch.tensor([[2, 5, 9, 3]]), {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 1.0}
    fetched = {"custom_generate": "transformers-community/group-beam-search", "trust_remote_code": True}
    assert torch.equal(model.generate(ids, **groups, **fetched), model.generate(ids, **groups))
    with pytest.raises(InputError, match=r'custom_generate is "?.*dola'):
        model.generate(ids, custom_generate="transformers-community/dola", trust_remote_code=True)


@pytest.mark.parametrize("kind", ["GPT2ForSequenceClassification", "LlamaForTokenClassification"])
def test_a_language_model_with_the_head_of_another_task_is_a_part(folder, tmp_path, kind):
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 40}
    made = getattr(transformers, kind)
    made(
        made.config_class(**sizes, tie_word_embeddings=True, bos_token_id=1, eos_token_id=2, pad_token_id=0)
    ).save_pretrained(tmp_path / "lm")
    encoder = folder.parent / "model_parts" / "encoder"
    for parts in ((encoder, tmp_path / "lm"), (tmp_path / "lm", encoder)):
        assert EncoderDecoderModel.from_encoder_decoder_pretrained(*parts).config.decoder.num_hidden_layers in (1, 2)
