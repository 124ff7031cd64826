"""`generate(vocabulary=...)`: what suppressing every other token gives, for each source by itself; and maps from pairs."""

from pathlib import Path

import pytest
import torch
from test_engine import ids_of, kernels, narrowed, pair_of

from conjoin import EncoderDecoderModel, FlaxEncoderDecoderModel, VocabularyMap
from conjoin.errors import ConfigError, InputError

VOCAB = 200
MODES = {
    "greedy": {},
    "beams": {"num_beams": 4, "num_return_sequences": 2},
    "sampling": {"do_sample": True, "seed": 3, "top_k": 0},
    "sampled_beams": {"do_sample": True, "seed": 3, "num_beams": 3, "top_k": 0},
}


def lists_of(rows: int) -> list[list[int]]:
    """A shortlist for each row, the longest more than a panel."""
    draw = torch.Generator().manual_seed(5)
    return [torch.randperm(VOCAB, generator=draw)[: 20 + 12 * row].tolist() for row in range(rows)]


def written(model: EncoderDecoderModel, ids: torch.Tensor, mask: torch.Tensor, **asked: object):
    """What is written, with each step's scores and logits."""
    kept = {"return_dict_in_generate": True, "output_scores": True, "output_logits": True, "max_new_tokens": 7}
    return model.generate(ids, attention_mask=mask, **kept, **asked)


@pytest.mark.parametrize("mode", MODES)
def test_a_shortlist_is_what_suppressing_all_others_gives(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exactly, where the framework computes; also for a row among others with lists of their own.

    Beams sum log-probabilities, which transformers makes before it suppresses: they are compared with those made again.
    """
    monkeypatch.setenv("CONJOIN_ENGINE", "framework")
    model, (ids, mask), lists = pair_of(), ids_of(4, vocab=VOCAB), lists_of(4)
    again = {"renormalize_logits": True} if "beams" in mode else {}
    together = written(model, ids, mask, vocabulary=lists, **MODES[mode])
    each = len(together.sequences) // 4
    for row, allowed in enumerate(lists):
        others = sorted(set(range(VOCAB)) - {*allowed, 2})
        alone = written(model, ids[row : row + 1], mask[row : row + 1], suppress_tokens=others, **MODES[mode], **again)
        found = together.sequences[row * each : (row + 1) * each]
        assert torch.equal(found[:, : alone.sequences.shape[1]], alone.sequences)
    same = written(model, ids, mask, vocabulary=lists[2], **MODES[mode])
    others = sorted(set(range(VOCAB)) - {*lists[2], 2})
    suppressed = written(model, ids, mask, suppress_tokens=others, **MODES[mode], **again)
    assert torch.equal(same.sequences, suppressed.sequences)
    for ours, theirs in zip(same.scores, suppressed.scores, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5 if again else 0)
    assert same.logits[0].isinf().sum(-1).eq(VOCAB - len({*lists[2], 2})).all()


@kernels
@pytest.mark.parametrize("kind", ["float32", "bfloat16", "int8", "int8_weight_only", "int4_weight_only"])
def test_the_head_of_a_shortlist_on_the_kernels(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its numbers are those of the whole head, and do not depend on whose lists stand beside."""
    monkeypatch.setenv("CONJOIN_ENGINE", "native")
    model, (ids, mask), lists = narrowed(kind, pair_of()), ids_of(4, vocab=VOCAB), lists_of(4)
    whole = written(model, ids, mask)
    together = written(model, ids, mask, vocabulary=lists)
    for row, allowed in enumerate(lists):
        assert torch.equal(together.logits[0][row, allowed], whole.logits[0][row, allowed])
        given = {"num_beams": 3, "vocabulary": [allowed]}
        alone = written(model, ids[row : row + 1], mask[row : row + 1], **given)
        beside = written(model, ids, mask, num_beams=3, vocabulary=lists)
        width = alone.sequences.shape[1]
        assert torch.equal(beside.sequences[row, :width], alone.sequences[0])
        assert torch.equal(beside.sequences_scores[row], alone.sequences_scores[0])


def test_a_map_from_pairs(tmp_path: Path) -> None:
    pairs = [((5, 6, 7), (20, 30)), ((5, 9), (20, 31)), ((5, 6), (20, 30)), ((8,), (20,)), ((6, 5), (5, 32))]
    made = VocabularyMap.from_pairs(pairs, own=False, always=1, longest=2, each=1)
    assert made.always == (20,)
    assert made.ngrams == {(5,): (30,), (6,): (30,), (5, 6): (30,)}
    assert made.allowed([9, 6]) == {20, 30}
    assert VocabularyMap.from_pairs(pairs, own=True, always=1, each=1).allowed([9]) == {9, 20}
    made.save_pretrained(tmp_path)
    assert VocabularyMap.from_pretrained(tmp_path) == made
    (tmp_path / "vocabulary_map.json").write_text('{"always": 3}')
    with pytest.raises(ConfigError, match="is no vocabulary map"):
        VocabularyMap.from_pretrained(tmp_path)
    with pytest.raises(InputError, match="no pairs came"):
        VocabularyMap.from_pairs([], own=False)


def test_a_map_reads_each_source_without_its_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONJOIN_ENGINE", "framework")
    model, (ids, mask) = pair_of(), ids_of(3, vocab=VOCAB)
    by_source = VocabularyMap((50, 51), {}, own=True)
    found = model.generate(ids, attention_mask=mask, vocabulary=by_source, num_beams=2, max_new_tokens=8)
    for row in range(3):
        assert set(found[row, 1:].tolist()) <= {0, 2, 50, 51, *ids[row][mask[row] > 0].tolist()}


def test_shortlists_are_refused_where_they_cannot_be(tmp_path: Path) -> None:
    model, (ids, mask) = pair_of(), ids_of(3, vocab=VOCAB)
    for asked, words in (
        ({"vocabulary": [3, 200]}, "0 to 199 was expected"),
        ({"vocabulary": [[3], [4]]}, "lists for 2 sources and 3 came"),
        ({"vocabulary": ["a", "b", "c"]}, "ids were expected"),
        ({"vocabulary": [], "eos_token_id": None}, "has no ids for a source"),
        ({"vocabulary": [3], "guidance_scale": 2.0}, "came with guidance_scale"),
        ({"vocabulary": [3], "prompt_lookup_num_tokens": 2}, "came with drafts"),
    ):
        with pytest.raises(InputError, match=words):
            model.generate(ids, attention_mask=mask, **asked)
    model.save_pretrained(tmp_path)
    with pytest.raises(InputError, match="vocabulary works in PyTorch alone"):
        FlaxEncoderDecoderModel.from_pretrained(tmp_path).generate(ids.numpy(), vocabulary=[3])
