"""AutoTokenizer: reads in a folder which class of tokenizer it holds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from conjoin.errors import CheckpointError
from conjoin.tokens.backend import model_kind
from conjoin.tokens.classes import CLASS_NAMES, INPUT_NAMES, MODEL_TYPES
from conjoin.tokens.loading import Files, find_folder, open_tokenizer, read_files
from conjoin.tokens.tokenizer import Tokenizer

__all__ = ["AutoTokenizer", "open_auto"]


class AutoTokenizer:
    """Opens a folder's or hub id's tokenizer as the class that the folder names."""

    def __init__(self) -> None:
        raise TypeError("AutoTokenizer is opened, not made: call AutoTokenizer.from_pretrained(folder or hub id).")

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        local_files_only: bool = False,
        cache_dir: str | Path | None = None,
        subfolder: str = "",
        **overrides: Any,
    ) -> Tokenizer:
        """Opens a tokenizer; arguments and errors are those of `Tokenizer.from_pretrained`.

        The class is tokenizer_config.json's or config.json's tokenizer_class, or that of config.json's model_type (of
        an encoder-decoder, its encoder's); any other is read from tokenizer.json as it is.
        """
        folder = find_folder(pretrained_model_name_or_path, revision, token, local_files_only, cache_dir, subfolder)
        return open_auto(folder, overrides, name_or_path=str(pretrained_model_name_or_path))


def open_auto(folder: Path, overrides: Mapping[str, Any], *, name_or_path: str) -> Tokenizer:
    """`AutoTokenizer.from_pretrained` for a folder that is there."""
    files = read_files(folder)
    class_name = _class_name(files)
    tokenizer_class = CLASS_NAMES.get(class_name or "", Tokenizer)
    if files.tokenizer_json is not None and tokenizer_class.kind not in (None, model_kind(files.tokenizer_json)):
        class_name, tokenizer_class = None, Tokenizer  # the name is wrong; the file cannot be
    if tokenizer_class is Tokenizer and files.tokenizer_json is None:
        raise CheckpointError(_nothing_there(files, class_name))
    return open_tokenizer(
        tokenizer_class,
        files,
        overrides,
        name_or_path=name_or_path,
        class_name=class_name or "PreTrainedTokenizerFast",
        input_names=INPUT_NAMES.get(class_name or ""),
    )


def _class_name(files: Files) -> str | None:
    """The tokenizer's class as transformers names it, without "Fast"; None where the folder does not say."""
    for found in (files.settings.get("tokenizer_class"), files.model.get("tokenizer_class")):
        if isinstance(found, str) and found:
            return None if found in ("PreTrainedTokenizerFast", "TokenizersBackend") else found.removesuffix("Fast")
    model = files.model
    if model.get("model_type") == "encoder-decoder" and isinstance(model.get("encoder"), dict):
        model = model["encoder"]
    model_type = model.get("model_type")
    if isinstance(model_type, str) and model_type in MODEL_TYPES:
        return MODEL_TYPES[model_type]
    # Only BERT and its kin come with a vocab.txt; vocab.json and merges.txt do not say whose they are.
    alone = (files.folder / "vocab.txt").is_file() and files.tokenizer_json is None and model_type is None
    return "BertTokenizer" if alone else None


def _nothing_there(files: Files, class_name: str | None) -> str:
    folder = files.folder
    if (folder / "vocab.json").is_file() and class_name is None:
        return (
            f'"{folder}" has vocab.json, and nothing that says whose it is: open it with GPT2Tokenizer, '
            "RobertaTokenizer or BartTokenizer."
        )
    whose = "" if class_name is None else f", and a {class_name} is read from nothing else"
    return (
        f'"{folder}" has no tokenizer.json{whose}: '
        "save the tokenizer there with save_pretrained (a fast one, in transformers)."
    )
