"""transformers' samples of FlaxEncoderDecoderModel and TFEncoderDecoderModel run here as they stand, their import line changed.

Hub names are replaced by folders of tiny models. The samples are those of transformers 4.57.6, the last with these classes.
"""

import inspect
import json
import re
import string
from pathlib import Path
from typing import Any

import numpy as np
import peers
import pytest
import torch
import transformers
from frameworks import ALL, Framework, compiled_frameworks
from tokenizers.pre_tokenizers import ByteLevel

import conjoin
from conjoin import BertTokenizer, EncoderDecoderModel

pytestmark = pytest.mark.usefixtures("engine")
SMALL = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 37,
    "max_position_embeddings": 400,
    "initializer_range": 0.3,
}
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = [*string.ascii_letters, *string.digits, *string.punctuation]
SAMPLES = {
    "warm_start": """
        from transformers import {cls}

        model = {cls}.from_encoder_decoder_pretrained("google-bert/bert-base-cased", "openai-community/gpt2")
        # saving model after fine-tuning
        model.save_pretrained("./bert2gpt2")
        # load fine-tuned model
        model = {cls}.from_pretrained("./bert2gpt2")
    """,
    "two_configs": """
        from transformers import BertConfig, EncoderDecoderConfig, {cls}

        config_encoder = BertConfig()
        config_decoder = BertConfig()

        config = EncoderDecoderConfig.from_encoder_decoder_configs(config_encoder, config_decoder)
        model = {cls}(config=config)
    """,
    "tf_from_pytorch": """
        from transformers import EncoderDecoderModel, TFEncoderDecoderModel

        # a workaround to load from pytorch checkpoint
        _model = EncoderDecoderModel.from_pretrained("patrickvonplaten/bert2bert-cnn_dailymail-fp16")

        _model.encoder.save_pretrained("./encoder")
        _model.decoder.save_pretrained("./decoder")

        model = TFEncoderDecoderModel.from_encoder_decoder_pretrained(
            "./encoder", "./decoder", encoder_from_pt=True, decoder_from_pt=True
        )
        # This is only for copying some specific attributes of this particular model.
        model.config = _model.config
    """,
    "tf_call": """
        from transformers import TFEncoderDecoderModel, BertTokenizer

        model = TFEncoderDecoderModel.from_encoder_decoder_pretrained("google-bert/bert-base-cased", "openai-community/gpt2")

        tokenizer = BertTokenizer.from_pretrained("google-bert/bert-base-cased")

        # forward
        input_ids = tokenizer.encode(
            "Hello, my dog is cute", add_special_tokens=True, return_tensors="tf"
        )  # Batch size 1
        outputs = model(input_ids=input_ids, decoder_input_ids=input_ids)

        # training
        outputs = model(input_ids=input_ids, decoder_input_ids=input_ids, labels=input_ids)
        loss, logits = outputs.loss, outputs.logits

        # save and load from pretrained
        model.save_pretrained("bert2gpt2")
        model = TFEncoderDecoderModel.from_pretrained("bert2gpt2")

        # generation
        generated = model.generate(input_ids, decoder_start_token_id=model.config.decoder.bos_token_id)
    """,
    "flax_encode_decode": """
        from transformers import FlaxEncoderDecoderModel, BertTokenizer
        import jax.numpy as jnp

        model = FlaxEncoderDecoderModel.from_encoder_decoder_pretrained("google-bert/bert-base-cased", "openai-community/gpt2")

        tokenizer = BertTokenizer.from_pretrained("google-bert/bert-base-cased")

        text = "My friends are cool but they eat too many carbs."
        input_ids = tokenizer.encode(text, max_length=1024, return_tensors="np")
        encoder_outputs = model.encode(input_ids)

        decoder_start_token_id = model.config.decoder.bos_token_id
        decoder_input_ids = jnp.ones((input_ids.shape[0], 1), dtype="i4") * decoder_start_token_id

        outputs = model.decode(decoder_input_ids, encoder_outputs)
        logits = outputs.logits
    """,
    "flax_generate": """
        from transformers import FlaxEncoderDecoderModel, BertTokenizer, GPT2Tokenizer

        # load a fine-tuned bert2gpt2 model
        model = FlaxEncoderDecoderModel.from_pretrained("patrickvonplaten/bert2gpt2-cnn_dailymail-fp16")
        # load input & output tokenizer
        tokenizer_input = BertTokenizer.from_pretrained("google-bert/bert-base-cased")
        tokenizer_output = GPT2Tokenizer.from_pretrained("openai-community/gpt2")

        article = '''Sigma Alpha Epsilon is under fire for a video showing party-bound fraternity members
        singing a racist chant. SAE's national chapter suspended the students,
        but University of Oklahoma President David Boren took it a step further,
        saying the university's affiliation with the fraternity is permanently done.'''

        input_ids = tokenizer_input(article, add_special_tokens=True, return_tensors="np").input_ids

        # use GPT2's eos_token as the pad as well as eos token
        model.config.eos_token_id = model.config.decoder.eos_token_id
        model.config.pad_token_id = model.config.eos_token_id

        sequences = model.generate(input_ids, num_beams=4, max_length=12).sequences

        summary = tokenizer_output.batch_decode(sequences, skip_special_tokens=True)[0]
    """,
}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny folders for the hub's names: a masked BERT, a GPT-2, and joins of them."""
    root = tmp_path_factory.mktemp("hub")
    bert, gpt2 = root / "bert", root / "gpt2"
    vocabulary = [*SPECIAL, *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    masked = transformers.BertForMaskedLM(transformers.BertConfig(vocab_size=len(vocabulary), **SMALL))
    peers.randomise(masked, 0)
    masked.save_pretrained(bert)
    (bert / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    (bert / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False}))
    bytes_ = [*sorted(ByteLevel.alphabet()), "<|endoftext|>"]
    end = len(bytes_) - 1
    plain = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=len(bytes_), n_positions=60, n_embd=16, n_layer=2, n_head=2, bos_token_id=end, eos_token_id=end
        )
    )
    peers.randomise(plain, 1)
    plain.save_pretrained(gpt2)
    (gpt2 / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(bytes_)}), encoding="utf-8")
    (gpt2 / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    torch.manual_seed(0)
    for name, decoder in (("bert2bert", bert), ("bert2gpt2", gpt2)):
        EncoderDecoderModel.from_encoder_decoder_pretrained(bert, decoder).save_pretrained(root / name)
    return {
        "google-bert/bert-base-cased": bert,
        "openai-community/gpt2": gpt2,
        "patrickvonplaten/bert2bert-cnn_dailymail-fp16": root / "bert2bert",
        "patrickvonplaten/bert2gpt2-cnn_dailymail-fp16": root / "bert2gpt2",
    }


@pytest.fixture
def run(hub: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs a sample in an empty folder; returns its names. `small` goes between the brackets of BertConfig()."""
    monkeypatch.chdir(tmp_path)

    def of(name: str, framework: Framework, small: str = "") -> dict[str, Any]:
        code = inspect.cleandoc(SAMPLES[name]).replace("{cls}", framework.class_name)
        code, changed = re.subn(r"^from transformers import", "from conjoin import", code, flags=re.M)
        assert changed == 1
        for known, folder in hub.items():
            code = code.replace(f'"{known}"', repr(str(folder)))
        found: dict[str, Any] = {}
        exec(compile(code.replace("BertConfig()", f"BertConfig({small})"), name, "exec"), found)
        return found

    return of


def theirs_of(folder: Path | str) -> transformers.EncoderDecoderModel:
    return transformers.EncoderDecoderModel.from_pretrained(folder).eval()


def ids_of(array: Any) -> torch.Tensor:
    return torch.tensor(np.asarray(array), dtype=torch.long)


def near(theirs: torch.Tensor, ours: Any) -> bool:
    theirs, ours = theirs.detach().numpy(), np.asarray(ours)
    assert theirs.shape == ours.shape
    return float(np.abs(theirs - ours).max()) < 1e-5 * max(1.0, float(np.abs(theirs).max()))


@compiled_frameworks
def test_a_warm_start_is_saved_and_loaded(run, framework, hub):
    found = run("warm_start", framework)
    model, theirs = found["model"], theirs_of("bert2gpt2")
    assert type(model) is framework.model_class
    ids = np.random.RandomState(0).randint(5, 100, (2, 7))
    given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "decoder_input_ids": ids}
    with torch.no_grad():
        expected = theirs(**{name: torch.tensor(x) for name, x in given.items()}).logits
    assert near(expected, model(**framework.arrays(given)).logits)
    tokens = framework.named(model)["encoder.embed.token.weight"]
    assert np.array_equal(
        tokens, conjoin.torch.Encoder.from_pretrained(hub["google-bert/bert-base-cased"]).embed.token.weight.detach()
    )


@compiled_frameworks
def test_a_model_of_two_configs(run, framework):
    sizes = ", ".join(f"{name}={value}" for name, value in {"vocab_size": 61, **SMALL}.items())
    found = run("two_configs", framework, sizes)
    model = found["model"]
    assert model.config.decoder.is_decoder
    assert model.config.decoder.add_cross_attention
    assert not found["config_decoder"].is_decoder
    assert model.config == found["config"]
    ids = np.random.RandomState(0).randint(5, 61, (2, 6))
    a, b = (
        framework.number(model(**framework.arrays({"input_ids": x, "decoder_input_ids": ids})).logits)
        for x in (ids, ids[:, ::-1])
    )
    assert not np.allclose(a, b, atol=1e-2)  # it reads its source


def test_tensorflow_from_a_pytorch_checkpoint(run, hub):
    found = run("tf_from_pytorch", ALL["tensorflow"])
    model, framework = found["model"], ALL["tensorflow"]
    assert model.config is found["_model"].config
    assert model.new_parameters == ()
    given = {"input_ids": torch.randint(5, 100, (2, 7)), "decoder_input_ids": torch.randint(5, 100, (2, 4))}
    given["attention_mask"] = torch.ones(2, 7, dtype=torch.long)
    theirs = theirs_of(hub["patrickvonplaten/bert2bert-cnn_dailymail-fp16"])
    with torch.no_grad():
        assert near(theirs(**given).logits, model(**framework.arrays(given)).logits)
    del given["decoder_input_ids"]
    expected = theirs.generate(**given, max_new_tokens=6).tolist()
    assert framework.tokens(model.generate(**framework.arrays(given), max_new_tokens=6)) == expected


def test_tensorflow_forward_training_and_generation(run):
    found = run("tf_call", ALL["tensorflow"])
    theirs, ids = theirs_of("bert2gpt2"), ids_of(found["input_ids"])
    assert ids[0, 0] == found["tokenizer"].cls_token_id
    with torch.no_grad():
        out = theirs(input_ids=ids, attention_mask=torch.ones_like(ids), decoder_input_ids=ids, labels=ids)
    assert near(out.logits, found["logits"])
    assert float(found["loss"]) == pytest.approx(out.loss.item(), abs=1e-5)
    start = found["model"].config.decoder.bos_token_id
    made = theirs.generate(ids, attention_mask=torch.ones_like(ids), decoder_start_token_id=start, max_new_tokens=20)
    assert np.asarray(found["generated"]).tolist() == made.tolist()


def test_flax_encode_and_decode(run):
    found = run("flax_encode_decode", ALL["jax"])
    model, ids = found["model"], ids_of(found["input_ids"])
    assert isinstance(found["input_ids"], np.ndarray)
    model.save_pretrained("saved")
    theirs = theirs_of("saved")
    start = torch.full((1, 1), found["decoder_start_token_id"])
    with torch.no_grad():
        out = theirs(input_ids=ids, attention_mask=torch.ones_like(ids), decoder_input_ids=start)
    assert near(out.encoder_last_hidden_state, found["encoder_outputs"].last_hidden_state)
    assert near(out.logits, found["logits"])


def test_flax_generate(run, hub):
    found = run("flax_generate", ALL["jax"])
    theirs, ids = theirs_of(hub["patrickvonplaten/bert2gpt2-cnn_dailymail-fp16"]), ids_of(found["input_ids"])
    assert ids.shape[1] > 200
    end = found["model"].config.eos_token_id
    assert end == found["model"].config.pad_token_id == found["tokenizer_output"].eos_token_id
    made = theirs.generate(
        ids, attention_mask=torch.ones_like(ids), num_beams=4, max_length=12, eos_token_id=end, pad_token_id=end
    )
    assert found["sequences"].tolist() == made.tolist()
    assert found["summary"] == found["tokenizer_output"].decode(made[0], skip_special_tokens=True)
    assert found["summary"]


def test_every_name_that_the_samples_import_is_public():
    for sample in SAMPLES.values():
        for names in re.findall(r"from transformers import (.+)", sample):
            for name in names.replace("{cls}", "TFEncoderDecoderModel, FlaxEncoderDecoderModel").split(", "):
                assert name in conjoin.__all__
    assert BertTokenizer is conjoin.BertTokenizer
