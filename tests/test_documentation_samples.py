"""Each PyTorch sample of transformers' Encoder Decoder Models page and docstrings, with its import line and names changed."""

import inspect
import re
import string
from pathlib import Path
from typing import Any

import peers
import pytest
import torch
import transformers
from peers import near

import conjoin
from conjoin import BertConfig, BertTokenizer, EncoderDecoderModel

SMALL = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 37,
    "max_position_embeddings": 90,
    "initializer_range": 0.3,
}
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "<pad>", "<s>", "</s>"]
LETTERS = [*string.ascii_lowercase, *string.digits, *string.punctuation]
PAGE = {
    "pipeline": """
        from transformers import pipeline

        summarizer = pipeline("summarization", model="patrickvonplaten/bert2bert-cnn_dailymail-fp16", device=0)

        text = "Plants create energy through a process known as photosynthesis."
        print(summarizer(text))
    """,
    "auto_model": """
        import torch
        from transformers import AutoTokenizer, AutoModelForCausalLM

        tokenizer = AutoTokenizer.from_pretrained("patrickvonplaten/bert2bert-cnn_dailymail-fp16")
        model = AutoModelForCausalLM.from_pretrained("patrickvonplaten/bert2bert-cnn_dailymail-fp16", dtype=torch.bfloat16, device_map="auto", attn_implementation="sdpa")

        text = "Plants create energy through a process known as photosynthesis."
        inputs = tokenizer(text, return_tensors="pt", truncation=True, padding=True).to(model.device)

        summary = model.generate(**inputs, max_length=60, num_beams=4, early_stopping=True)
        print(tokenizer.decode(summary[0], skip_special_tokens=True))
    """,  # noqa: E501
    "warm_start": """
        from transformers import EncoderDecoderModel, BertTokenizer

        tokenizer = BertTokenizer.from_pretrained("google-bert/bert-base-uncased")
        model = EncoderDecoderModel.from_encoder_decoder_pretrained("google-bert/bert-base-uncased", "google-bert/bert-base-uncased")
    """,  # noqa: E501
    "training": """
        from transformers import BertTokenizer, EncoderDecoderModel

        tokenizer = BertTokenizer.from_pretrained("google-bert/bert-base-uncased")
        model = EncoderDecoderModel.from_encoder_decoder_pretrained("google-bert/bert-base-uncased", "google-bert/bert-base-uncased")

        model.config.decoder_start_token_id = tokenizer.cls_token_id
        model.config.pad_token_id = tokenizer.pad_token_id

        input_ids = tokenizer(
            "The tower is 324 metres tall, about the same height as an 81-storey building.",
            return_tensors="pt",
        ).input_ids

        labels = tokenizer(
            "the eiffel tower surpassed the washington monument in height.",
            return_tensors="pt",
        ).input_ids

        # the forward function automatically creates the correct decoder_input_ids
        loss = model(input_ids=input_ids, labels=labels).loss
    """,  # noqa: E501
    "two_configs": """
        from transformers import BertConfig, EncoderDecoderConfig, EncoderDecoderModel

        config_encoder = BertConfig()
        config_decoder = BertConfig()

        config = EncoderDecoderConfig.from_encoder_decoder_configs(config_encoder, config_decoder)
        model = EncoderDecoderModel(config=config)
    """,
    "translation": """
        from transformers import AutoTokenizer, EncoderDecoderModel

        # instantiate a tokenizer and a model
        tokenizer = AutoTokenizer.from_pretrained("google/bert2bert_L-24_wmt_en_de", pad_token="<pad>", eos_token="</s>", bos_token="<s>")
        model = EncoderDecoderModel.from_pretrained("google/bert2bert_L-24_wmt_en_de")

        # let's perform inference on a long piece of text
        input_ids = tokenizer("Would you like to grab a coffee with me this week?", return_tensors="pt", add_special_tokens=False).input_ids

        outputs = model.generate(input_ids)[0]
        text = tokenizer.decode(outputs, skip_special_tokens=True)
        print(text)
    """,  # noqa: E501
}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny folders for the hub's names: a masked BERT, and two joined models with their tokenizers."""
    root = tmp_path_factory.mktemp("hub")
    bert = root / "bert"
    vocabulary = [*SPECIAL, *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    masked = transformers.BertForMaskedLM(transformers.BertConfig(vocab_size=len(vocabulary), **SMALL))
    peers.randomise(masked, 0)
    masked.save_pretrained(bert)
    (bert / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    torch.manual_seed(0)
    joined = EncoderDecoderModel.from_encoder_decoder_pretrained(bert, bert)
    joined.save_pretrained(root / "summarizer")
    marks = {name: vocabulary.index(token) for name, token in (("pad", "<pad>"), ("bos", "<s>"), ("eos", "</s>"))}
    for name, token in marks.items():
        setattr(joined.config, f"{name}_token_id", token)
    joined.config.decoder_start_token_id = marks["bos"]
    joined.save_pretrained(root / "translator")
    return {
        "google-bert/bert-base-uncased": bert,
        "patrickvonplaten/bert2bert-cnn_dailymail-fp16": root / "summarizer",
        "google/bert2bert_L-24_wmt_en_de": root / "translator",
    }


def run(sample: str, hub: dict[str, Path], small: str = "") -> dict[str, Any]:
    """Runs a sample; returns its names. `small` goes between the brackets of BertConfig()."""
    code = inspect.cleandoc(sample)
    code, changed = re.subn(r"^from transformers import", "from conjoin import", code, flags=re.M)
    assert changed == 1
    for name, folder in hub.items():
        code = code.replace(f'"{name}"', repr(str(folder)))
    assert "google" not in code.replace("google-bert/bert-base-uncased style", "")
    found: dict[str, Any] = {}
    exec(compile(code.replace("BertConfig()", f"BertConfig({small})"), "sample", "exec"), found)
    return found


def documented(thing: Any) -> str:
    """The code of a docstring's example."""
    lines = [line.strip() for line in thing.__doc__.splitlines()]
    code = [line[4:] for line in lines if line.startswith((">>> ", "... "))]
    assert len(code) > 3
    return "\n".join(code)


def transformers_on(model: EncoderDecoderModel, folder: Path) -> transformers.EncoderDecoderModel:
    model.save_pretrained(folder)
    return transformers.EncoderDecoderModel.from_pretrained(folder).eval()


def test_the_summarization_pipeline(hub, capsys):
    found = run(PAGE["pipeline"], hub)
    result = found["summarizer"](found["text"])
    assert capsys.readouterr().out.strip() == str(result)
    model = EncoderDecoderModel.from_pretrained(hub["patrickvonplaten/bert2bert-cnn_dailymail-fp16"])
    tokenizer = BertTokenizer.from_pretrained(hub["google-bert/bert-base-uncased"])
    ids = tokenizer(found["text"], return_tensors="pt").input_ids
    made = model.generate(ids, num_beams=4, max_new_tokens=90)
    assert result == [{"summary_text": tokenizer.decode(made[0], skip_special_tokens=True)}]
    assert result[0]["summary_text"]


def test_a_joined_model_by_auto_model_for_causal_lm(hub, capsys):
    found = run(PAGE["auto_model"], hub)
    model, inputs = found["model"], found["inputs"]
    assert isinstance(model, EncoderDecoderModel)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert set(inputs) == {"input_ids", "token_type_ids", "attention_mask"}
    assert inputs["input_ids"].device == model.device
    assert found["summary"].shape[1] <= 60
    wide = EncoderDecoderModel.from_pretrained(hub["patrickvonplaten/bert2bert-cnn_dailymail-fp16"]).to(torch.bfloat16)
    again = wide.generate(inputs["input_ids"], max_length=60, num_beams=4, early_stopping=True)
    assert again.tolist() == found["summary"].tolist()
    text = BertTokenizer.from_pretrained(hub["google-bert/bert-base-uncased"]).decode(
        again[0], skip_special_tokens=True
    )
    assert capsys.readouterr().out.strip() == text.strip()


def test_a_warm_start(hub):
    found = run(PAGE["warm_start"], hub)
    model = found["model"]
    assert isinstance(found["tokenizer"], BertTokenizer)
    assert all(".cross" in name for name in model.new_parameters)
    assert len(model.new_parameters) == 2 * 10
    assert torch.equal(model.encoder.embed.token.weight, model.decoder.embed.token.weight)
    assert not model.training


def test_training(hub, tmp_path):
    found = run(PAGE["training"], hub)
    model = found["model"]
    found["loss"].backward()
    assert model.decoder.layers[0].cross.q.weight.grad.abs().max().item() > 0
    ids = found["input_ids"]
    with torch.no_grad():
        theirs = transformers_on(model, tmp_path)(
            input_ids=ids, attention_mask=torch.ones_like(ids), labels=found["labels"]
        )
    assert near(theirs.loss, found["loss"], 1e-6)


def test_a_model_of_two_configs(hub):
    found = run(PAGE["two_configs"], hub, "vocab_size=61, hidden_size=24, num_attention_heads=3, num_hidden_layers=2")
    model = found["model"]
    assert model.config.decoder.is_decoder
    assert model.config.decoder.add_cross_attention
    assert not found["config_decoder"].is_decoder
    assert model.decoder.layers[1].cross.q.weight.shape == (24, 24)


@pytest.mark.slow
def test_a_model_of_two_configs_of_full_size(hub):
    model = run(PAGE["two_configs"], hub)["model"]
    with torch.device("meta"):
        config = transformers.EncoderDecoderConfig.from_encoder_decoder_configs(
            *(transformers.BertConfig() for _ in "ab")
        )
        theirs = transformers.EncoderDecoderModel(config=config)
    pooler = sum(p.numel() for p in theirs.encoder.pooler.parameters())
    assert model.num_parameters() == theirs.num_parameters() - pooler > 240_000_000


def test_translation(hub, tmp_path, capsys):
    found = run(PAGE["translation"], hub)
    tokenizer, model, ids = found["tokenizer"], found["model"], found["input_ids"]
    assert (tokenizer.pad_token, tokenizer.bos_token, tokenizer.eos_token) == ("<pad>", "<s>", "</s>")
    assert ids[0, 0] != tokenizer.cls_token_id
    theirs = transformers_on(model, tmp_path)
    expected = theirs.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=20)[0]
    assert found["outputs"].tolist() == expected.tolist()
    text = tokenizer.decode(expected, skip_special_tokens=True)
    assert found["text"] == text
    assert "<s>" not in text
    assert capsys.readouterr().out.strip() == text.strip()


@pytest.mark.parametrize("kind", ["config", "warm_start", "forward"])
def test_the_docstrings_examples(hub, tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    theirs = transformers.EncoderDecoderModel
    thing = {
        "config": transformers.EncoderDecoderConfig,
        "warm_start": theirs.from_encoder_decoder_pretrained,
        "forward": theirs.forward,
    }[kind]
    sizes = ", ".join(f"{name}={value}" for name, value in {"vocab_size": 61, **SMALL}.items())
    found = run(documented(thing), hub, sizes)
    model = found["model"]
    assert isinstance(model, EncoderDecoderModel)
    if kind == "config":
        assert found["encoder_decoder_config"] == model.config
        assert model.config.decoder.is_decoder
        with torch.no_grad():  # it reads its source, which transformers' own example does not
            ids = torch.randint(5, 61, (2, 6))
            a, b = (model(input_ids=x, decoder_input_ids=ids).logits for x in (ids, ids.flip(1)))
        assert not torch.allclose(a, b, atol=1e-2)
    if kind == "forward":
        assert found["generated"][0, 0] == found["tokenizer"].cls_token_id
        assert found["loss"].item() > 0
        ids = found["input_ids"]
        peer = transformers.EncoderDecoderModel.from_pretrained("bert2bert").eval()
        with torch.no_grad():
            out = peer(input_ids=ids, attention_mask=torch.ones_like(ids), labels=found["labels"])
        assert near(out.logits, found["logits"], 1e-5)
        made = peer.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=20)
        assert found["generated"].tolist() == made.tolist()


def test_every_name_that_the_samples_import_is_public():
    for sample in PAGE.values():
        for names in re.findall(r"from transformers import (.+)", sample):
            for name in names.split(", "):
                assert name in conjoin.__all__
    assert BertConfig is conjoin.BertConfig
