"""Every family beside transformers: states, logits, caches, births of cross-attention and round trips, in each framework."""

import inspect
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from families import CASES
from families.case import VOCAB, WIDTH, Case
from frameworks import ALL, Framework, all_in_torch
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from conjoin import BertConfig, EncoderDecoderModel
from conjoin.backends.torch import unpadding
from conjoin.composite import part_config
from conjoin.families import FAMILIES, family_of, spec_of
from conjoin.shapes import parameter_shapes
from conjoin.spec import RoleName

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
ENCODERS = [case for case in CASES if case.encoder is not None]
DECODERS = [case for case in CASES if case.decoder is not None]
# Families whose two sides are one body: in JAX and TensorFlow the decoder's test is both.
ONE_BODY = {case.config.model_type for case in DECODERS if not getattr(case.config, "is_encoder_decoder", False)}
LANGUAGE_MODELS = [case for case in DECODERS if not case.crosses]
FACTS = "attention norms parallel sinusoidal position_pad alibi relative score_cap query_key_norm".split()
packs = unpadding.Packing.__init__
MADE: dict[tuple[str, str], tuple[Any, Path]] = {}


def by_name(cases: list[Case]) -> Any:
    return pytest.mark.parametrize("case", cases, ids=[case.name for case in cases])


def in_each_framework(cases: list[Case], few: list[Case] | None = None) -> Any:
    """All cases in PyTorch; in the two others a case of each model type, or `few`: what varies within a family is data."""
    return all_in_torch("case", cases, first_of_each(cases) if few is None else few)


def first_of_each(cases: list[Case]) -> list[Case]:
    """A case of each model type."""
    return list({case.config.model_type: case for case in reversed(cases)}.values())


def kinds(cases: list[Case]) -> list[Case]:
    """Of each kind of decoding one case: what positions, masks, caches and heads are, whatever the family."""
    found: dict[Any, Case] = {}
    for case in cases:
        config = part_config(family_of(case.config.model_type).config.from_dict(case.config.to_dict()), "decoder")
        spec = spec_of(config, "decoder")
        facts = tuple(bool(getattr(spec, name)) for name in FACTS)
        turns = any(one is not None for one in spec.rotary)
        found.setdefault((facts, turns, any(spec.reaches), spec.key_heads == spec.heads, spec.positions > 0), case)
    return list(found.values())


@pytest.fixture
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """`made(case, role)`: the peer's model of a side, and its folder."""

    def of(case: Case, role: str) -> tuple[Any, Path]:
        key = case.name, role
        if key not in MADE:
            folder = tmp_path_factory.mktemp("family") / case.name
            with torch.inference_mode(False):  # whoever asks first: its tensors are others' too
                MADE[key] = case.make(role, folder), folder
        return MADE[key]

    return of


def source(rows: int = 4, length: int = 9) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask: a full row, padding on the right, padding on the left, and a short row."""
    ids = torch.randint(6, VOCAB, (rows, length), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    for row, hidden in enumerate((slice(0, 0), slice(length - 3, None), slice(0, 2), slice(3, None))):
        mask[row, hidden] = 0
    return ids, mask


def target(rows: int = 4, length: int = 7) -> torch.Tensor:
    return torch.randint(6, VOCAB, (rows, length), generator=torch.Generator().manual_seed(2))


def memory(rows: int = 4, length: int = 9, width: int = WIDTH) -> torch.Tensor:
    return torch.randn(rows, length, width, generator=torch.Generator().manual_seed(3))


def seen(x: np.ndarray, mask: torch.Tensor) -> np.ndarray:
    """The states of tokens that are not padding."""
    return x[mask.numpy().astype(bool)]


@in_each_framework(ENCODERS, first_of_each([case for case in ENCODERS if case.config.model_type not in ONE_BODY]))
@torch.no_grad()
def test_encoder_states_equal(case: Case, framework: Framework, made: Any) -> None:
    theirs, folder = made(case, "encoder")
    ids, mask = source()
    ids = ids if case.pad is None else ids.masked_fill(mask == 0, case.pad)
    ours = framework.parts[0].from_pretrained(folder)
    out = ours(
        **framework.arrays({"input_ids": ids, "attention_mask": mask, **case.more(ids)}), output_hidden_states=True
    )
    expected = case.states(theirs, ids, mask).numpy()
    found = framework.number(out.last_hidden_state)
    np.testing.assert_allclose(seen(found, mask), seen(expected, mask), **CLOSE)
    assert np.abs(seen(expected, mask)).mean() > 1e-2  # and there is something to compare
    assert len(out.hidden_states) == ours.spec.layers + 1


@by_name(ENCODERS)
@torch.no_grad()
def test_positions_that_a_caller_gives(case: Case, made: Any) -> None:
    """Offset positions, where the peer's encoder takes them."""
    theirs, folder = made(case, "encoder")
    if "position_ids" not in inspect.signature(theirs.forward).parameters:
        return
    ids, mask = source()
    spread = torch.arange(ids.shape[1])[None].expand(len(ids), -1) * 2 + 5
    ours = ALL["torch"].parts[0].from_pretrained(folder)
    found = ours(input_ids=ids, attention_mask=mask, position_ids=spread).last_hidden_state
    expected = theirs(input_ids=ids, attention_mask=mask, position_ids=spread).last_hidden_state
    np.testing.assert_allclose(seen(found.numpy(), mask), seen(expected.numpy(), mask), **CLOSE)


@in_each_framework(DECODERS)
@torch.no_grad()
def test_decoder_logits_equal_whole_and_cached(case: Case, framework: Framework, made: Any) -> None:
    theirs, folder = made(case, "decoder")
    ours = framework.parts[1].from_pretrained(folder)
    ids, (_, mask) = target(), source()
    given: dict[str, Any] = {}
    if case.crosses:
        states = memory(width=ours.spec.memory_width or ours.spec.width)
        given = {"encoder_hidden_states": states, "encoder_attention_mask": mask}
    expected = case.logits(theirs, ids, given.get("encoder_hidden_states"), given.get("encoder_attention_mask"))
    scale = max(1.0, float(expected.abs().max()) / 4)
    close = {"rtol": 1e-5, "atol": 1e-5 * scale}
    out = ours(**framework.arrays({"input_ids": ids, **given}))
    np.testing.assert_allclose(framework.number(out.logits), expected.numpy(), **close)
    begun = ours(**framework.arrays({"input_ids": ids[:, :3], **given}), use_cache=True)
    cache, pieces = begun.past_key_values, [framework.number(begun.logits)]
    # A shape more is a compilation more in JAX; steps of one token are in the test of generation.
    for part in ids[:, 3:].split([2, 1, 1] if framework.name == "torch" else [4], 1):
        step = ours(**framework.arrays({"input_ids": part, **given}), past_key_values=cache, use_cache=True)
        cache = step.past_key_values
        pieces.append(framework.number(step.logits))
    np.testing.assert_allclose(np.concatenate(pieces, 1), expected.numpy(), **close)


@by_name(ENCODERS)
@torch.no_grad()
def test_encoder_round_trip(case: Case, made: Any, tmp_path: Path) -> None:
    round_trip(case, "encoder", made, tmp_path)


@by_name(DECODERS)
@torch.no_grad()
def test_decoder_round_trip(case: Case, made: Any, tmp_path: Path) -> None:
    round_trip(case, "decoder", made, tmp_path)


def round_trip(case: Case, role: str, made: Any, folder: Path) -> None:
    """What conjoin saves has the tensors of the file it read, and transformers opens it and computes the same."""
    theirs, was = made(case, role)
    ours = ALL["torch"].parts[role == "decoder"].from_pretrained(was)
    ours.save_pretrained(folder / "saved")
    again = ALL["torch"].parts[role == "decoder"].from_pretrained(folder / "saved")
    for (name, a), (other, b) in zip(ours.state_dict().items(), again.state_dict().items(), strict=True):
        assert name == other
        assert torch.equal(a, b), name
    if role == "decoder" and not case.crosses:
        return  # with cross-attention, of which transformers knows nothing
    kind = (case.alone or case.encoder) if role == "encoder" else case.decoder
    opened, report = kind.from_pretrained(folder / "saved", output_loading_info=True)
    assert not {n for n in report["missing_keys"] if not re.search(case.lacks, n)}, report
    assert not report["unexpected_keys"], report
    assert not report["mismatched_keys"], report
    ids, mask = source()
    if role == "encoder":
        a, b = case.states(opened.eval(), ids, mask), case.states(theirs, ids, mask)
        torch.testing.assert_close(a[mask.bool()], b[mask.bool()], rtol=0, atol=1e-6)
    else:
        states = memory(width=ours.spec.memory_width or ours.spec.width)
        a, b = (case.logits(model, target(), states, mask) for model in (opened.eval(), theirs))
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


def joined(folder: Path, tmp_path: Path, framework: Framework, **options: Any) -> Any:
    """A tiny BERT before a decoder."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=VOCAB, hidden_size=24, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    EncoderDecoderModel.encoder_class(config).save_pretrained(tmp_path / "bert")
    tokens = {"decoder_start_token_id": 5, "pad_token_id": 0, "eos_token_id": 4}
    model = framework.model_class.from_encoder_decoder_pretrained(tmp_path / "bert", folder, **options)
    for name, value in tokens.items():
        setattr(model.config, name, value)
    return model


@in_each_framework(LANGUAGE_MODELS, kinds(LANGUAGE_MODELS))
@torch.no_grad()
def test_a_zero_gate_leaves_the_language_model_as_it_was(
    case: Case, framework: Framework, made: Any, tmp_path: Path
) -> None:
    theirs, folder = made(case, "decoder")
    model = joined(folder, tmp_path, framework, cross_attention_init="zero_gate")
    ids, mask = source()
    given = framework.arrays({"input_ids": ids, "attention_mask": mask, "decoder_input_ids": target()})
    expected = case.logits(theirs, target(), None, None).numpy()
    scale = max(1.0, float(np.abs(expected).max()) / 4)
    np.testing.assert_allclose(framework.number(model(**given).logits), expected, rtol=1e-5, atol=1e-5 * scale)
    # And where the gate opens, the source is read.
    for name in model.ops.shapes(model):
        if name.endswith("cross_gate"):
            model.ops.rewrite(model, name, lambda old: old * 0 + 1)
    assert np.abs(framework.number(model(**given).logits) - expected).max() > 1e-3


@by_name(DECODERS)
@torch.no_grad()
def test_generation_is_what_whole_passes_say(case: Case, made: Any, tmp_path: Path) -> None:
    """Greedy and beam search by cache and lineage choose what passes over the whole text choose."""
    model = joined(made(case, "decoder")[1], tmp_path, ALL["torch"])
    ids, mask = source()
    settings = {"attention_mask": mask, "max_new_tokens": 8, "eos_token_id": None}
    found = model.generate(ids, **settings)
    tokens = torch.full((len(ids), 1), 5)
    for _ in range(8):
        logits = model(input_ids=ids, attention_mask=mask, decoder_input_ids=tokens).logits
        tokens = torch.cat([tokens, logits[:, -1:].argmax(-1)], 1)
    assert found.tolist() == tokens.tolist()
    beams = model.generate(ids, **settings, num_beams=3, return_dict_in_generate=True, output_scores=True)
    logits = model(input_ids=ids, attention_mask=mask, decoder_input_ids=beams.sequences).logits
    chosen = logits[:, :-1].log_softmax(-1).gather(-1, beams.sequences[:, 1:, None])[..., 0]
    torch.testing.assert_close(chosen.sum(1) / 8, beams.sequences_scores, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "framework", [ALL["jax"], pytest.param(ALL["tensorflow"], marks=pytest.mark.extensive)], ids=["jax", "tensorflow"]
)
@by_name(kinds(DECODERS))
def test_generation_equals_across_frameworks(case: Case, framework: Framework, made: Any, tmp_path: Path) -> None:
    torch_model = joined(made(case, "decoder")[1], tmp_path, ALL["torch"])
    torch_model.save_pretrained(tmp_path / "joined")
    model = framework.load(tmp_path / "joined")
    ids, mask = source()
    for beams in (1, 3):
        settings = {"max_new_tokens": 8, "num_beams": beams, "eos_token_id": 4}
        expected = torch_model.generate(ids, attention_mask=mask, **settings).tolist()
        given = framework.arrays({"input_ids": ids, "attention_mask": mask})
        assert framework.tokens(model.generate(**given, **settings)) == expected


@pytest.mark.parametrize(
    ("case", "role"),
    [(case, role) for case in CASES for role in ("encoder", "decoder") if getattr(case, role) is not None],
    ids=lambda x: getattr(x, "name", x),
)
def test_a_spec_says_which_parameters_there_are(case: Case, role: RoleName) -> None:
    config = part_config(family_of(case.config.model_type).config.from_dict(case.config.to_dict()), role)
    part = ALL["torch"].parts[role == "decoder"](config)
    there = {name: tuple(parameter.shape) for name, parameter in part.named_parameters()}
    assert dict(parameter_shapes(spec_of(config, role))) == there


OTHERWISE = ("is_decoder", "is_encoder_decoder", "sliding_window")  # the last is none in transformers until it is used


@pytest.mark.parametrize("name", sorted(FAMILIES.keys() & CONFIG_MAPPING.keys()))
def test_a_config_has_the_defaults_of_transformers(name: str) -> None:
    """What a config.json does not say is what transformers takes it for; None is what others follow from, but for tokens."""
    ours, theirs = family_of(name).config(), CONFIG_MAPPING[name]().to_dict()
    for field in ours.names():
        own = getattr(ours, field)
        if field in theirs and field not in OTHERWISE and (own is not None or field.endswith("_token_id")):
            assert own == (list(theirs[field]) if isinstance(own, list) else theirs[field]), field


@pytest.mark.parametrize("birth", ["random", "self_attention"])
@by_name(LANGUAGE_MODELS)
def test_births_and_a_step_of_training(case: Case, birth: str, made: Any, tmp_path: Path) -> None:
    """Cross-attention is born finite, of its layer's values where asked, and learns."""
    model = joined(made(case, "decoder")[1], tmp_path, ALL["torch"], cross_attention_init=birth)
    block = next(b for b in model.decoder.layers if b.has_cross)
    assert torch.equal(block.cross.q.weight, block.attention.q.weight) == (birth == "self_attention")
    model.train()
    model.freeze("encoder", "decoder")
    model.unfreeze("cross_attention", "projection")
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    ids, mask = source()
    losses = []
    for _ in range(4):
        loss = model(input_ids=ids, attention_mask=mask, labels=target()).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0], losses


def learnt(part: Any, given: dict[str, Any], read: torch.Tensor, *, packed: bool) -> dict[str, torch.Tensor]:
    """The states that are read, and the gradients of a sum of them, with padding or without it."""
    part.double().zero_grad()
    part.training = True  # itself alone, so that its layers drop nothing
    mode = {"return_logits": False} if part.role == "decoder" else {}
    with torch.enable_grad():
        out = part(**given, **mode, read_mask=read if packed else None)
        states = (out.logits if part.role == "decoder" else out.last_hidden_state)[read]
        (states * torch.linspace(-1, 1, states.shape[-1])).sum().backward()
    gradients = {name: p.grad for name, p in part.named_parameters() if p.grad is not None}
    return {"states": states.detach(), **gradients}


def digits(part: Any) -> dict[str, float]:
    """Those of float64; Gemma's norms compute in float32."""
    return {"rtol": 1e-5, "atol": 1e-5} if part.spec.norm_offset else {"rtol": 1e-9, "atol": 1e-9}


@pytest.fixture
def packings(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Those that are made; however little padding there is."""
    made: list[Any] = []
    monkeypatch.setattr(unpadding, "WORTH", 1.0)
    monkeypatch.setattr(unpadding.Packing, "__init__", lambda *given: made.append(given) or packs(*given))
    return made


@by_name(ENCODERS)
def test_encoder_learns_the_same_without_padding(case: Case, made: Any, packings: list[Any]) -> None:
    ids, mask = source()
    ids = ids if case.pad is None else ids.masked_fill(mask == 0, case.pad)
    ours = ALL["torch"].parts[0].from_pretrained(made(case, "encoder")[1])
    given = {"input_ids": ids, "attention_mask": mask, **case.more(ids)}
    found, expected = (learnt(ours, given, mask == 1, packed=packed) for packed in (True, False))
    torch.testing.assert_close(found, expected, **digits(ours))
    assert len(packings) == ours.spec.by_token


@by_name(DECODERS)
def test_decoder_learns_the_same_without_padding(case: Case, made: Any, packings: list[Any]) -> None:
    ours = ALL["torch"].parts[1].from_pretrained(made(case, "decoder")[1])
    ids, (_, mask) = target(), source()
    given: dict[str, Any] = {"input_ids": ids, "attention_mask": mask[:, :7]}
    if case.crosses:
        states = memory(width=ours.spec.memory_width or ours.spec.width).double()
        given |= {"encoder_hidden_states": states, "encoder_attention_mask": mask}
    read = mask[:, :7] == 1
    found, expected = (learnt(ours, given, read, packed=packed) for packed in (True, False))
    torch.testing.assert_close(found, expected, **digits(ours))
    assert len(packings) == ours.spec.by_token + 2 * case.crosses
