"""BERT's relatives beyond their cases: keys of older versions, what is refused, layers that are kept, dropout, sharing."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from families import CASES
from families.case import Case
from test_families import source

from conjoin import EncoderDecoderModel
from conjoin.errors import ConfigError
from conjoin.families import FAMILIES, spec_of
from conjoin.spec import KeyDistances

ENCODER = EncoderDecoderModel.encoder_class
BY_NAME: dict[str, Case] = {case.name: case for case in CASES}
WITH_TABLES = (
    "albert bert-generation camembert data2vec-text electra ernie megatron-bert mpnet rembert roberta-prelayernorm roformer "
    "xlm-roberta xlm-roberta-xl distilbert".split()
)

ABSOLUTE = "distilbert mpnet rembert roformer".split()  # which transformers 4 gives no others


def read(family: str, /, **keys: Any) -> Any:
    return FAMILIES[family].config.from_dict(keys)


@pytest.mark.parametrize("model_type", WITH_TABLES)
def test_positions_that_a_family_has_not_are_refused(model_type: str) -> None:
    read(model_type, position_embedding_type="absolute")
    for kind in ("relative", *(("relative_key_query",) if model_type in ABSOLUTE else ())):
        with pytest.raises(ConfigError, match=rf"position_embedding_type.*{kind}.*absolute"):
            read(model_type, position_embedding_type=kind)


@pytest.mark.parametrize("model_type", [name for name in WITH_TABLES if name not in ABSOLUTE])
def test_learned_distances_stand_in_the_place_of_a_table(model_type: str) -> None:
    spec = spec_of(read(model_type, position_embedding_type="relative_key", max_position_embeddings=9), "encoder")
    assert (spec.positions, spec.max_length, spec.attention) == (0, 9, KeyDistances(9))


@pytest.mark.parametrize(
    ("model_type", "key", "value"),
    [
        ("albert", "inner_group_num", 2),
        ("mpnet", "relative_attention_num_buckets", 64),
        ("nomic_bert", "prenorm", True),
        ("nomic_bert", "qkv_proj_bias", True),
        ("nomic_bert", "num_experts", 8),
        ("nomic_bert", "rotary_scaling_factor", 2.0),
        ("eurobert", "hidden_dropout", 0.1),
        ("modernbert", "position_embedding_type", "relative_key"),
        ("modernbert-decoder", "sliding_window", 3),
    ],
)
def test_what_is_not_implemented_is_refused_by_key_and_value(model_type: str, key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"{key}.* is {value!r}"):
        read(model_type, **{key: value})


@pytest.mark.parametrize("layer_types", [["full_attention"], ["full_attention", "other"]])
def test_layers_of_no_known_kind_are_refused(layer_types: list[str]) -> None:
    with pytest.raises(ConfigError, match="layer_types"):
        spec_of(read("modernbert", num_hidden_layers=2, layer_types=layer_types), "encoder")


@pytest.mark.parametrize(("model_type", "role"), [("modernbert", "encoder"), ("modernbert-decoder", "decoder")])
def test_modernbert_of_transformers_4(model_type: str, role: Any) -> None:
    """Its keys are read as transformers 5 reads them, and what is written says the same in both versions' words."""
    old = {
        "num_hidden_layers": 4,
        "global_rope_theta": 500.0,
        "local_rope_theta": 50.0,
        "global_attn_every_n_layers": 2,
        "local_attention": 6,
        "position_embedding_type": "sans_pos",
        "layer_norm_eps": 1e-5,
        "reference_compile": True,
    }
    config = read(model_type, **old)
    new = transformers.AutoConfig.for_model(model_type, **old).to_dict()
    assert "global_rope_theta" not in new
    spec = spec_of(config, role)
    assert spec == spec_of(read(model_type, **new), role)
    reach = 3 if role == "encoder" else 2
    assert spec.reaches == (None, reach, None, reach)
    written = read(model_type, **new).to_dict()
    for key in ("global_rope_theta", "local_rope_theta", "global_attn_every_n_layers", "local_attention"):
        assert written[key] == old[key]
    again = transformers.AutoConfig.for_model(**written)
    assert again.layer_types == new["layer_types"]
    assert again.rope_parameters == new["rope_parameters"]


def test_nomic_bert_under_its_authors_names() -> None:
    theirs = {
        "activation_function": "swiglu",
        "attn_pdrop": 0.1,
        "causal": False,
        "layer_norm_epsilon": 1e-6,
        "mlp_fc1_bias": False,
        "mlp_fc2_bias": False,
        "n_embd": 32,
        "n_head": 4,
        "n_inner": 37,
        "n_layer": 3,
        "n_positions": 99,
        "prenorm": False,
        "qkv_proj_bias": False,
        "resid_pdrop": 0.2,
        "rotary_emb_base": 50.0,
        "rotary_emb_fraction": 1.0,
        "rotary_emb_scale_base": None,
        "rotary_scaling_factor": None,
    }
    ours = transformers.NomicBertConfig(
        hidden_size=32,
        num_attention_heads=4,
        intermediate_size=37,
        num_hidden_layers=3,
        max_position_embeddings=99,
        layer_norm_eps=1e-6,
        hidden_dropout_prob=0.2,
        attention_probs_dropout_prob=0.1,
        rope_parameters={"rope_type": "default", "rope_theta": 50.0},
    ).to_dict()
    assert spec_of(read("nomic_bert", **theirs), "encoder") == spec_of(read("nomic_bert", **ours), "encoder")


@torch.no_grad()
def test_kept_layers_of_modernbert_stay_what_they_were(tmp_path: Path) -> None:
    case = BY_NAME["modernbert"]
    theirs = case.make("encoder", tmp_path)
    ours = ENCODER.from_pretrained(tmp_path, keep_layers=(0, 3, 2))
    theirs.layers = torch.nn.ModuleList([theirs.layers[i] for i in (0, 3, 2)])
    ids, mask = source()
    found = ours(input_ids=ids, attention_mask=mask).last_hidden_state
    torch.testing.assert_close(found[mask.bool()], case.states(theirs, ids, mask)[mask.bool()], rtol=1e-5, atol=1e-5)
    with pytest.raises(ConfigError, match="the first must be layer 0"):
        ENCODER.from_pretrained(tmp_path, keep_layers=(1, 2))


@torch.no_grad()
def test_fewer_layers_of_albert_share_the_same_weights(tmp_path: Path) -> None:
    case = BY_NAME["albert"]
    theirs = case.make("encoder", tmp_path / "one")
    theirs.config.num_hidden_layers = 2
    ids, mask = source()
    expected = case.states(theirs, ids, mask)[mask.bool()]
    for options in ({"keep_layers": (1, 3)}, {"num_hidden_layers": 2}):
        ours = ENCODER.from_pretrained(tmp_path / "one", **options)
        found = ours(input_ids=ids, attention_mask=mask).last_hidden_state[mask.bool()]
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    BY_NAME["albert-groups"].make("encoder", tmp_path / "groups")
    with pytest.raises(ConfigError, match="2 groups"):
        ENCODER.from_pretrained(tmp_path / "groups", keep_layers=(0, 1))


@pytest.mark.parametrize(
    ("name", "attention", "feed_forward"),
    [("bert-generation", 0.25, 0.25), ("albert", 0.25, 0.0), ("xlm-roberta-xl", 0.25, 0.0)],
)
def test_dropout_is_where_transformers_has_it(name: str, attention: float, feed_forward: float) -> None:
    block = ENCODER(read(name, **{**BY_NAME[name].config.to_dict(), "hidden_dropout_prob": 0.25})).layers[0]
    assert (block.dropout.p, block.ffn_dropout.p) == (attention, feed_forward)


def test_dropout_of_distilbert_and_modernbert() -> None:
    block = ENCODER(read("distilbert", **{**BY_NAME["distilbert"].config.to_dict(), "dropout": 0.25})).layers[0]
    assert (block.dropout.p, block.ffn_dropout.p) == (0.0, 0.25)
    given = {**BY_NAME["modernbert"].config.to_dict(), "attention_dropout": 0.25, "mlp_dropout": 0.5}
    block = ENCODER(read("modernbert", **given)).layers[0]
    assert (block.dropout.p, block.ffn_dropout.p, block.ffn.dropout.p) == (0.25, 0.0, 0.5)


def test_shared_embeddings_are_compared_by_their_own_width(tmp_path: Path) -> None:
    """An ELECTRA's are narrower than its stack, so a BERT of the stack's width cannot share them; another ELECTRA can."""
    BY_NAME["electra"].make("encoder", tmp_path / "encoder")
    BY_NAME["electra"].make("decoder", tmp_path / "decoder")
    BY_NAME["ernie"].make("decoder", tmp_path / "ernie")
    join = EncoderDecoderModel.from_encoder_decoder_pretrained
    model = join(tmp_path / "encoder", tmp_path / "decoder", share="embeddings")
    assert model.encoder.embed.token.weight is model.decoder.embed.token.weight
    with pytest.raises(ConfigError, match=r"\(61, 16\).*\(61, 32\)"):
        join(tmp_path / "encoder", tmp_path / "ernie", share="embeddings")


MASKED = "albert camembert distilbert electra ernie eurobert megatron-bert modernbert mpnet nomic-bert rembert roformer".split()


@pytest.mark.parametrize("name", MASKED)
@torch.no_grad()
def test_the_body_of_a_masked_language_model(name: str, tmp_path: Path) -> None:
    """Its prefix is found and its head is no surprise."""
    case = BY_NAME[name]
    theirs = getattr(transformers, case.encoder.__name__.removesuffix("Model") + "ForMaskedLM")(case.config).eval()
    theirs.save_pretrained(tmp_path)
    ids, mask = source()
    found = ENCODER.from_pretrained(tmp_path)(input_ids=ids, attention_mask=mask).last_hidden_state
    expected = case.states(theirs.base_model, ids, mask)
    torch.testing.assert_close(found[mask.bool()], expected[mask.bool()], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("encoder", "decoder"),
    [
        ("electra", "rembert"),
        ("bert-generation", "bert-generation"),
        ("albert", "camembert"),
        ("modernbert", "ernie-tasks"),
    ],
)
@torch.no_grad()
def test_joins_of_transformers(encoder: str, decoder: str, tmp_path: Path) -> None:
    """A joined model of transformers is read, and transformers reads what is saved of it."""
    source_side, target_side = BY_NAME[encoder], BY_NAME[decoder]
    config = type(target_side.config).from_dict({**target_side.config.to_dict(), "is_decoder": True})
    config.add_cross_attention = True
    theirs = transformers.EncoderDecoderModel(
        encoder=source_side.encoder(source_side.config), decoder=target_side.decoder(config)
    ).eval()
    theirs.save_pretrained(tmp_path / "theirs")
    ids, mask = source()
    given = {"input_ids": ids, "attention_mask": mask, "decoder_input_ids": ids[:, :7]}
    expected = theirs(**given).logits
    ours = EncoderDecoderModel.from_pretrained(tmp_path / "theirs")
    torch.testing.assert_close(ours(**given).logits, expected, rtol=1e-5, atol=1e-5)
    ours.save_pretrained(tmp_path / "ours")
    again = transformers.EncoderDecoderModel.from_pretrained(tmp_path / "ours").eval()
    torch.testing.assert_close(again(**given).logits, expected, rtol=0, atol=1e-6)
