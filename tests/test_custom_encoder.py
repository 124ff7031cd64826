"""An encoder of the user's own: equal to the all-conjoin model of the same weights; trained, saved, loaded, generating."""

import copy
from pathlib import Path

import peers
import pytest
import torch
import transformers
from peers import Peer, far, near
from test_training_runs import tiny_model, tiny_pairs
from torch import Tensor

from conjoin import ConfigError, EncoderDecoderModel, FlaxEncoderDecoderModel, InputError, pipeline
from conjoin.cli import main
from conjoin.cli.inspect import describe
from conjoin.errors import CheckpointError
from conjoin.tokens import TokenizerPair
from conjoin.torch import Decoder
from conjoin.training import Recipe, train

CLOSE = 1e-5
FEATURES = 12


class Listener(torch.nn.Module):
    """A GRU over features: sound, as it were."""

    def __init__(self, width: int = 20) -> None:
        super().__init__()
        self.gru = torch.nn.GRU(FEATURES, width, batch_first=True)

    def forward(self, input_values: Tensor) -> Tensor:
        return self.gru(input_values)


class Frames(torch.nn.Module):
    """Every two samples are one frame, by one linear layer: a tuple comes back, and a mask is of samples."""

    def __init__(self) -> None:
        super().__init__()
        self.up = torch.nn.Linear(2, 24)

    def forward(self, samples: Tensor, attention_mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        return self.up(samples.unflatten(1, (-1, 2))), attention_mask


def decoder(pair: Peer) -> Decoder:
    return copy.deepcopy(pair.ours.decoder)


def with_tokens(model: EncoderDecoderModel, pair: Peer) -> EncoderDecoderModel:
    """The model with the pair's special tokens."""
    model.config.generation = copy.deepcopy(pair.ours.config.generation)
    return model.eval()


def custom(pair: Peer) -> EncoderDecoderModel:
    """The pair's join, with transformers' own module as its encoder."""
    model = EncoderDecoderModel(encoder=copy.deepcopy(pair.theirs.encoder), decoder=decoder(pair))
    if model.enc_to_dec_proj is not None:
        model.enc_to_dec_proj.load_state_dict(pair.ours.enc_to_dec_proj.state_dict())
    return with_tokens(model, pair)


def listening(pair: Peer, width: int = 20) -> EncoderDecoderModel:
    """A join of a GRU."""
    torch.manual_seed(0)
    model = EncoderDecoderModel(encoder=Listener(width), decoder=decoder(pair), encoder_hidden_size=width)
    return with_tokens(model, pair)


@pytest.fixture
def pair(peer) -> Peer:
    return peer("bert", "gpt2")


# transformers' modules.


@pytest.mark.parametrize("widths", [(32, 24), (24, 24)], ids=["projected", "alike"])
@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_a_bert_of_transformers_equals_ours(peer, kind, widths):
    pair = peer("bert", kind, widths=widths, vocab=(47, 17), encoder_more=(("num_attention_heads", 4),))
    model, given = custom(pair), peers.source(pair)
    given["token_type_ids"] = torch.randint(0, 2, given["input_ids"].shape)
    target = {"decoder_input_ids": peers.target(pair)}
    with torch.no_grad():
        expected, found = pair.ours(**given, **target), model(**given, **target)
        assert near(expected.logits, found.logits, CLOSE)
        assert near(expected.encoder_last_hidden_state, found.encoder_last_hidden_state, CLOSE)
        by_place = model(given["input_ids"], given["attention_mask"], target["decoder_input_ids"])
        assert near(pair.ours(given["input_ids"], given["attention_mask"], **target).logits, by_place.logits, CLOSE)
    for settings in ({}, {"num_beams": 3, "num_return_sequences": 2}, {"encoder_no_repeat_ngram_size": 1}):
        asked = {**given, **settings, "max_new_tokens": 12}
        assert model.generate(**asked).tolist() == pair.ours.generate(**asked).tolist()


def test_loss_and_gradients_equal_and_states_come_along(pair):
    model = custom(pair)
    batch = {**peers.source(pair), "labels": peers.labels(pair)}
    pair.ours.zero_grad(set_to_none=True)
    losses = [one(**batch, return_logits=False).loss for one in (pair.ours, model)]
    assert far(*losses) < CLOSE
    for loss in losses:
        loss.backward()
    ours = peers.gradients(pair.ours)
    named = dict(model.named_parameters())
    checked = 0
    for name, gradient in ours.items():
        own = named.get(name.replace("encoder.", "encoder.module.", 1))
        if name.startswith("encoder."):
            assert near(gradient, own.grad, CLOSE), name
            checked += 1
    assert checked > 30
    out = model(**batch, output_hidden_states=True)
    assert len(out.encoder_hidden_states) == 3
    assert near(out.encoder_hidden_states[-1], out.encoder_last_hidden_state, 1e-9)


def test_encode_decode_and_a_cache_step_by_step(pair):
    model, given, target = custom(pair), peers.source(pair), peers.target(pair)
    with torch.no_grad():
        whole = model(**given, decoder_input_ids=target).logits
        outputs, mask = model.encode(**given), given["attention_mask"]
        assert near(whole, model.decode(target, outputs, encoder_attention_mask=mask).logits, CLOSE)
        past = model.init_cache(len(target), 12, outputs, encoder_attention_mask=mask)
        for at in range(target.shape[1]):
            out = model.decode(target[:, at : at + 1], past_key_values=past)
            past = out.past_key_values
            assert near(whole[:, at], out.logits[:, 0], CLOSE)
        ready = model(encoder_outputs=outputs, attention_mask=mask, decoder_input_ids=target)
        assert near(whole, ready.logits, CLOSE)
        assert isinstance(model.encode(**given, return_dict=False), tuple)
    asked = {"attention_mask": mask, "max_new_tokens": 8}
    assert (
        model.generate(encoder_outputs=outputs, **asked).tolist()
        == model.generate(given["input_ids"], **asked).tolist()
    )


def images() -> transformers.ViTModel:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 20}
    return transformers.ViTModel(transformers.ViTConfig(image_size=8, patch_size=4, **sizes), add_pooling_layer=False)


def t5() -> transformers.T5EncoderModel:
    config = transformers.T5Config(vocab_size=40, d_model=16, d_kv=8, d_ff=20, num_layers=1, num_heads=2)
    return transformers.T5EncoderModel(config)


def longformer() -> transformers.LongformerModel:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 20}
    config = transformers.LongformerConfig(vocab_size=40, attention_window=4, max_position_embeddings=20, **sizes)
    return transformers.LongformerModel(config, add_pooling_layer=False)


@pytest.mark.parametrize(
    ("make", "given"),
    [
        (images, {"pixel_values": torch.linspace(-1, 1, 2 * 3 * 8 * 8).reshape(2, 3, 8, 8)}),
        (
            t5,
            {"input_ids": torch.tensor([[5, 6, 7], [8, 9, 0]]), "attention_mask": torch.tensor([[1, 1, 1], [1, 1, 0]])},
        ),
        (
            longformer,
            {
                "input_ids": torch.tensor([[5, 6, 7, 8, 9, 10], [8, 9, 11, 12, 13, 14]]),
                "global_attention_mask": torch.tensor([[1, 0, 0, 0, 0, 0], [1, 0, 0, 1, 0, 0]]),
            },
        ),
    ],
)
def test_images_and_other_texts(pair, tmp_path, make, given):
    torch.manual_seed(1)
    module = make().eval()
    model = with_tokens(EncoderDecoderModel(encoder=module, decoder=decoder(pair)), pair)
    labels = peers.labels(pair, rows=2)
    with torch.no_grad():
        states = module(**given).last_hidden_state
        mask = given.get("attention_mask")
        expected = model(encoder_outputs=(states,), attention_mask=mask, labels=labels)
        assert near(expected.logits, model(**given, labels=labels).logits, CLOSE)
    for settings in ({}, {"num_beams": 3}):
        asked = {**settings, "max_new_tokens": 8}
        made = model.generate(**given, **asked)
        assert made.tolist() == model.generate(encoder_outputs=(states,), attention_mask=mask, **asked).tolist()
    model.save_pretrained(tmp_path / "model")
    again = EncoderDecoderModel.from_pretrained(tmp_path / "model", encoder=make())
    assert again.generate(**given, **asked).tolist() == made.tolist()
    if make is t5:  # whose embedding has two names, and is one tensor still
        assert again.encoder.module.shared.weight is again.encoder.module.encoder.embed_tokens.weight


# Modules of one's own.


def test_a_module_joins_a_decoder_of_a_folder(pair, tmp_path):
    plain = transformers.GPT2LMHeadModel(peers.config("gpt2", "encoder", width=24, heads=3, vocab=61))
    plain.save_pretrained(tmp_path / "decoder")
    module = Listener()
    model = EncoderDecoderModel.from_encoder_decoder_pretrained(
        None,
        tmp_path / "decoder",
        encoder_model=module,
        encoder_hidden_size=20,
        cross_attention_init="self_attention",
        pad_token_id=0,
    )
    assert model.encoder.module is module
    assert not any(name.startswith("encoder.") for name in model.new_parameters)
    assert "enc_to_dec_proj.weight" in model.new_parameters
    block = model.decoder.layers[0]
    assert torch.equal(block.cross.k.weight, block.attention.k.weight)
    assert model.config.decoder_start_token_id is None
    assert model.start_token() == peers.BOS
    made = model.generate(input_values=sound(), max_new_tokens=5)
    model.save_pretrained(tmp_path / "model")
    again = EncoderDecoderModel.from_pretrained(tmp_path / "model", encoder=Listener())
    assert again.generate(input_values=sound(), max_new_tokens=5).tolist() == made.tolist()
    with pytest.raises(ConfigError, match=r'share="all" needs two stacks of one family.*Listener'):
        EncoderDecoderModel.from_encoder_decoder_pretrained(
            None, tmp_path / "decoder", encoder_model=module, encoder_hidden_size=20, share="all"
        )


def sound(rows: int = 4, length: int = 6) -> Tensor:
    return torch.randn(rows, length, FEATURES, generator=torch.Generator().manual_seed(4))


def test_a_gru_trains_saves_loads_and_generates_the_same(pair, tmp_path):
    model = listening(pair)
    batch = {"input_values": sound(), "labels": peers.labels(pair)}
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    losses = []
    model.train()
    for _ in range(12):
        optimizer.zero_grad()
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.5
    assert not torch.equal(before["encoder.module.gru.weight_ih_l0"], model.encoder.module.gru.weight_ih_l0)
    model.eval()
    model.save_pretrained(tmp_path / "model")
    assert sorted(path.suffix for path in (tmp_path / "model").iterdir()) == [".json", ".json", ".md", ".safetensors"]
    module = Listener()
    kept = module.gru.weight_ih_l0
    again = EncoderDecoderModel.from_pretrained(tmp_path / "model", encoder=module)
    assert again.encoder.module is module
    assert module.gru.weight_ih_l0 is kept  # an optimiser that holds it goes on
    assert not again.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    with torch.no_grad():
        assert torch.equal(model(**batch).logits, again(**batch).logits)
    for settings in ({"max_new_tokens": 9}, {"max_new_tokens": 9, "num_beams": 3}):
        made = model.generate(input_values=sound(), **settings)
        assert made.tolist() == again.generate(input_values=sound(), **settings).tolist()
    assert len({tuple(row) for row in made.tolist()}) > 1
    half = EncoderDecoderModel.from_pretrained(tmp_path / "model", encoder=Listener(), dtype="bfloat16")
    assert {p.dtype for p in half.parameters()} == {torch.bfloat16}


def test_the_mask_is_the_decoders_where_it_fits_the_states(pair):
    model, given = listening(pair), sound()
    mask = torch.ones(4, 6, dtype=torch.long)
    mask[:, 4:] = 0
    target = peers.target(pair)
    with torch.no_grad():
        states = model.encode(input_values=given).last_hidden_state
        expected = model.decode(target, (states,), encoder_attention_mask=mask).logits
        assert near(expected, model(input_values=given, attention_mask=mask, decoder_input_ids=target).logits, CLOSE)
        assert far(expected, model(input_values=given, decoder_input_ids=target).logits) > 1e-3
        torch.manual_seed(0)
        frames = EncoderDecoderModel(encoder=Frames(), decoder=decoder(pair), encoder_hidden_size=24)
        with_tokens(frames, pair)
        assert frames.enc_to_dec_proj is None
        samples = torch.randn(4, 8)
        one, other = (
            frames(samples=samples, decoder_input_ids=target, **more).logits
            for more in ({}, {"attention_mask": torch.ones(4, 8)})
        )
        assert near(one, other, CLOSE)
    masked = {"attention_mask": mask, "max_new_tokens": 7}
    assert (
        model.generate(input_values=given, **masked).tolist()
        == model.generate(encoder_outputs=(states,), **masked).tolist()
    )


def test_generating_leaves_no_mode_and_no_gradient_behind(pair):
    model = listening(pair)
    model.encoder.module.drop = torch.nn.Dropout(0.5)
    model.train()
    model.decoder.eval()
    made = model.generate(input_values=sound(), max_new_tokens=5)
    assert model.encoder.module.training
    assert not model.decoder.training
    assert made.tolist() == model.generate(input_values=sound(), max_new_tokens=5).tolist()
    assert all(p.grad is None for p in model.parameters())


# Training.


def test_parts_are_frozen_and_grouped(pair):
    model = custom(pair)
    model.freeze("encoder", "embeddings")
    learning = {n for n, p in model.named_parameters() if p.requires_grad}
    assert learning
    assert not [n for n in learning if n.startswith("encoder.") or ".embed." in n]
    model.unfreeze("encoder")
    model.freeze("cross_attention", "embeddings")
    assert all(p.requires_grad for n, p in model.named_parameters() if n.startswith("encoder.module."))
    assert model.new_parameters == ("enc_to_dec_proj.weight", "enc_to_dec_proj.bias")


def test_gradient_checkpointing_is_the_modules_or_refused(pair):
    model, calls = custom(pair).train(), []
    batch = {**peers.source(pair), "labels": peers.labels(pair)}
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    model.encoder.module.encoder.layer[0].intermediate.register_forward_hook(lambda *_: calls.append(1))
    gradients = []
    for times, switch in ((1, None), (2, "enable"), (1, "disable")):
        if switch is not None:
            getattr(model, f"gradient_checkpointing_{switch}")()
        model.zero_grad(set_to_none=True)
        calls.clear()
        model(**batch).loss.backward()
        assert len(calls) == times
        gradients.append(model.encoder.module.embeddings.word_embeddings.weight.grad)
    assert all(near(gradients[0], one, CLOSE) for one in gradients[1:])
    with pytest.raises(
        InputError, match=r"the encoder, Listener, has no gradient_checkpointing_enable; .*model.decoder"
    ):
        listening(pair).gradient_checkpointing_enable()


def test_peft_trains_the_users_own_part(pair):
    peft = pytest.importorskip("peft")
    model = custom(pair)
    given = {**peers.source(pair), "labels": peers.labels(pair)}
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["query", "value"]))
    trainable = [n for n, p in adapted.named_parameters() if p.requires_grad]
    assert len(trainable) == 8
    assert all(".encoder.module." in n for n in trainable)
    optimizer = torch.optim.SGD([p for p in adapted.parameters() if p.requires_grad], lr=1.0)
    first = adapted(**given).loss.item()
    for _ in range(3):
        optimizer.zero_grad()
        adapted(**given).loss.backward()
        optimizer.step()
    assert adapted(**given).loss.item() < first - 1e-3
    made = adapted.generate(**peers.source(pair), max_new_tokens=8)
    merged = adapted.merge_and_unload()
    assert merged.generate(**peers.source(pair), max_new_tokens=8).tolist() == made.tolist()
    inner = peft.get_peft_model(copy.deepcopy(pair.theirs.encoder), peft.LoraConfig(r=2, target_modules=["query"]))
    joined = with_tokens(EncoderDecoderModel(encoder=inner, decoder=decoder(pair)), pair)
    joined.enc_to_dec_proj.load_state_dict(pair.ours.enc_to_dec_proj.state_dict())
    with torch.no_grad():
        assert near(pair.ours(**given).logits, joined(**given).logits, CLOSE)


def test_conjoins_training_and_pipeline_take_it(tmp_path: Path):
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 20}
    config = transformers.BertConfig(vocab_size=65, max_position_embeddings=32, **sizes)
    plain = tiny_model(tmp_path / "words", dropout=0.0)
    torch.manual_seed(1)
    model = EncoderDecoderModel(encoder=transformers.BertModel(config, add_pooling_layer=False), decoder=plain.decoder)
    model.config.generation = plain.config.generation
    model.tokenizers = TokenizerPair(plain.tokenizers.source, plain.tokenizers.source)
    recipe = Recipe(batch_size=8, epochs=6, precision="float32", device="cpu", learning_rate=0.01, start="plain")
    result = train(model, tiny_pairs(48), tiny_pairs(8, 1), recipe, tmp_path / "out", quiet=True)
    assert result.losses[-1] < result.losses[0] - 0.3
    fresh = transformers.BertModel(config, add_pooling_layer=False)
    saved = EncoderDecoderModel.from_pretrained(tmp_path / "out", encoder=fresh)
    texts = tiny_pairs(4, 2).sources
    tokenizer = plain.tokenizers
    write = pipeline(model, tokenizer=tokenizer)
    written = write(texts, max_new_tokens=6)
    assert pipeline(saved)(texts, max_new_tokens=6) == written
    assert "".join(write.stream(texts[0], max_new_tokens=6)) == written[0]


# What cannot be.


def test_what_cannot_be_joined_is_said(pair):
    module, own = Listener(), decoder(pair)
    with pytest.raises(ConfigError, match=r"the width of Listener's hidden states is not known.*encoder_hidden_size"):
        EncoderDecoderModel(encoder=module, decoder=own)
    config = pair.ours.config.copy()
    config.share = "embeddings"
    with pytest.raises(ConfigError, match=r'share="embeddings" needs two stacks.*Listener'):
        EncoderDecoderModel(config, encoder=module, decoder=own, encoder_hidden_size=20)
    with pytest.raises(ConfigError, match="encoder_hidden_size is of a module of your own"):
        EncoderDecoderModel(encoder=pair.ours.encoder, decoder=own, encoder_hidden_size=20)
    with pytest.raises(ConfigError, match=r"encoder is a conjoin.torch.Decoder"):
        EncoderDecoderModel(encoder=own, decoder=own)
    with pytest.raises(ConfigError, match="the width of Listener's hidden states is not known"):
        EncoderDecoderModel.from_encoder_decoder_pretrained(None, pair.folder, encoder_model=module)


def test_what_cannot_be_read_is_said(pair):
    model, target = listening(pair), peers.target(pair)
    with pytest.raises(TypeError, match=r'Listener has no argument "input_valuse".*"input_values"'):
        model(input_valuse=sound(), decoder_input_ids=target)
    with pytest.raises(TypeError, match='"lables"'):
        model(input_values=sound(), lables=target)
    with pytest.raises(TypeError, match='"num_beam"'):
        model.generate(input_values=sound(), num_beam=3)
    with pytest.raises(TypeError, match='"input_ids"'):
        model.generate(target)
    wide = EncoderDecoderModel(encoder=Listener(20), decoder=decoder(pair), encoder_hidden_size=16)
    with pytest.raises(InputError, match=r"Listener, returned shape \(4, 6, 20\); .*\(batch, tokens, 16\)"):
        wide.encode(input_values=sound())
    lm = pair.theirs.decoder
    with pytest.raises(InputError, match=r"GPT2LMHeadModel, returned .*logits.*hidden states of shape"):
        EncoderDecoderModel(encoder=lm, decoder=decoder(pair)).encode(input_ids=target)
    with pytest.raises(ConfigError, match="module of your own, which must cut long sources itself"):
        custom(pair).encode_in_chunks(target)
    with pytest.raises(ConfigError, match="module of your own, which must cut"):
        model.generate(input_values=sound(), encode_in_chunks=True)
    with pytest.raises(InputError, match="Listener, is a module of your own; resize it"):
        model.resize_token_embeddings(70, side="encoder")


def test_what_cannot_be_loaded_is_said(pair, tmp_path, capfd):
    model, folder = listening(pair), tmp_path / "model"
    model.save_pretrained(folder)
    words = r"a module of your own \(Listener, width 20\), .*from_pretrained\(folder, encoder=module\)"
    for kind in (EncoderDecoderModel, FlaxEncoderDecoderModel):
        with pytest.raises(ConfigError, match=words):
            kind.from_pretrained(folder)
    with pytest.raises(ConfigError, match=r"encoder is a Listener; a conjoin.flax.Encoder was expected"):
        FlaxEncoderDecoderModel.from_pretrained(folder, encoder=Listener())
    (tmp_path / "texts").write_text("a text")
    assert main(["generate", str(folder), str(tmp_path / "texts")]) == 2
    assert "a module of your own" in capfd.readouterr().err
    with pytest.raises(CheckpointError, match=r"wrong shape: encoder.gru.weight_ih_l0 is \[60, 12\], \[48, 12\]"):
        EncoderDecoderModel.from_pretrained(folder, encoder=Listener(16))
    with pytest.raises(CheckpointError, match=r"missing: encoder.up.weight.*unexpected: encoder.gru"):
        EncoderDecoderModel.from_pretrained(folder, encoder=Frames())
    with pytest.raises(ConfigError, match="BertModel's hidden states have width 32; 20 was expected"):
        EncoderDecoderModel.from_pretrained(folder, encoder=copy.deepcopy(pair.theirs.encoder))
    with pytest.raises(ConfigError, match=r'has an encoder of its own, of model_type "bert"; leave out encoder'):
        EncoderDecoderModel.from_pretrained(pair.folder, encoder=Listener())
    with torch.device("meta"):
        empty = Listener()
    with pytest.raises(ConfigError, match="Listener is on the meta device"):
        EncoderDecoderModel.from_pretrained(folder, encoder=empty)


def test_what_the_folder_says_of_it(pair, tmp_path, capfd):
    model = listening(pair)
    model.save_pretrained(tmp_path / "model")
    card = (tmp_path / "model" / "README.md").read_text()
    assert "Listener" in card
    assert "from_pretrained(" in card
    assert "transformers" not in card
    found = describe(tmp_path / "model")
    assert found["parameters"]["total"] == model.num_parameters()
    assert found["parameters"]["encoder"] == sum(p.numel() for p in model.encoder.parameters())
    assert main(["inspect", str(tmp_path / "model")]) == 0
    assert "Listener" in capfd.readouterr().out


@pytest.mark.parametrize("again", [copy.deepcopy, lambda m: torch.load(save_whole(m), weights_only=False)])
def test_a_copy_is_equal_and_apart(pair, again):
    model = listening(pair)
    other = again(model)
    with torch.no_grad():
        assert torch.equal(model.encode(input_values=sound())[0], other.encode(input_values=sound())[0])
        other.encoder.module.gru.weight_ih_l0.zero_()
        assert not torch.equal(model.encode(input_values=sound())[0], other.encode(input_values=sound())[0])


def save_whole(model: torch.nn.Module):
    """A file in memory of a whole model, as torch pickles it."""
    import io

    held = io.BytesIO()
    torch.save(model, held)
    held.seek(0)
    return held
