"""Checkpoint folders on disk: reading tensors one at a time from safetensors or a .bin, and writing a folder atomically.

A checkpoint is data, never code: safetensors first, a .bin only where there is no safetensors file and then only through
torch's `weights_only` loader; shards must lie inside the folder. Nothing here knows what a tensor means.
"""

import contextlib
import os
import re
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, Self

from conjoin.config import CONFIG_FILE, read_json
from conjoin.errors import CheckpointError
from conjoin.gguf import is_gguf

__all__ = [
    "BIN_FILES",
    "NARROW",
    "SAFE_FILES",
    "SCALES",
    "TARGET_FOLDER",
    "TensorFolder",
    "Tensors",
    "atomic_folder",
    "narrow_type",
    "open_tensors",
    "require_space",
]

# Files of models in whole numbers, by type: our names (engine/narrow.py).
NARROW = {kind: f"model.{kind}.safetensors" for kind in ("int8", "int8_weight_only", "int4_weight_only")}
SCALES = "_scales"  # after the name of the weight there that they are of
SAFE, SAFE_INDEX = "model.safetensors", "model.safetensors.index.json"
BIN, BIN_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
SAFE_FILES = (SAFE, SAFE_INDEX, "model-*.safetensors")
BIN_FILES = (BIN, BIN_INDEX, "pytorch_model-*.bin")
STALE = re.compile(r"^(model(-\d+-of-\d+|\.int\w+)?\.safetensors|pytorch_model(-\d+-of-\d+)?\.bin|.*\.index\.json)$")

# Where a folder keeps its target tokenizer, where that differs from the source's, which lies at the root.
TARGET_FOLDER = "target_tokenizer"

Array = Any
Framework = Literal["pt", "np"]


class Tensors(Protocol):
    """Named tensors that are read one at a time: a TensorFolder, or a GGUF file's."""

    shapes: dict[str, tuple[int, ...]]

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...
    def read(self, name: str) -> Array:
        """One tensor; copy what is to stay."""


def narrow_type(folder: Path) -> str | None:
    """The type of whole numbers that a folder holds a model in, if it does."""
    return next((kind for kind, name in NARROW.items() if (folder / name).is_file()), None)


def open_tensors(path: Path, framework: Framework = "pt") -> Tensors:
    """The tensors of a checkpoint folder or a GGUF file. Raises CheckpointError where they cannot be read."""
    if not is_gguf(path):
        return TensorFolder(path, framework)
    from conjoin.gguf.tensors import GGUFTensors

    return GGUFTensors(path, framework)


class TensorFolder:
    """The tensors of a checkpoint folder, read one at a time, so that memory stays near one copy of the weights.

    Raises CheckpointError where the folder has no weights, or broken or unsafe ones.
    """

    def __init__(self, folder: Path, framework: Framework = "pt") -> None:
        self.folder = folder
        self.framework = framework
        self.file_of: dict[str, str] = {}  # tensor -> file
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._loaded: dict[str, Array] = {}  # of .bin files, which cannot be read in parts
        self.bytes = 0
        for file in self._files():
            self._open(file)

    def __enter__(self) -> "TensorFolder":
        return self

    def __exit__(self, *_: object) -> None:
        self._loaded.clear()

    def _files(self) -> list[str]:
        for single, index in ((SAFE, SAFE_INDEX), (BIN, BIN_INDEX)):
            if (self.folder / single).is_file():
                return [single]
            if (self.folder / index).is_file():
                return self._shards(index)
        raise CheckpointError(f'"{self.folder}" has no weights; {SAFE}, {SAFE_INDEX} or {BIN} was expected.')

    def _shards(self, index: str) -> list[str]:
        weight_map = read_json(self.folder / index).get("weight_map")
        if not isinstance(weight_map, dict) or not all(isinstance(f, str) for f in weight_map.values()):
            raise CheckpointError(f'"{self.folder / index}" has no "weight_map" of tensor names to file names.')
        files = sorted(set(weight_map.values()))
        for file in files:
            if Path(file).name != file or "\\" in file or file in ("", ".", ".."):
                raise CheckpointError(
                    f'"{self.folder / index}" points to {file!r:.200}; shards must lie in the folder itself.'
                )
            if not os.path.isfile(self.folder / file):  # a Path's own is_file raises for a name that is too long
                raise CheckpointError(f'"{self.folder / index}" names the shard {file!r:.200}, which is not there.')
        return files

    def _open(self, file: str) -> None:
        if file.endswith(".bin"):
            self._open_bin(file)
            return
        with self._safe(file) as opened:
            for name in opened.keys():  # noqa: SIM118 - a safetensors handle is no mapping
                self.file_of[name] = file
                self.shapes[name] = tuple(opened.get_slice(name).get_shape())
        self.bytes += (self.folder / file).stat().st_size

    def _open_bin(self, file: str) -> None:
        import pickle
        import struct

        import torch

        path = self.folder / file
        try:
            with warnings.catch_warnings():  # of pickles that torch did not write: they are read, or refused below
                warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
                # Files of before PyTorch 1.6, as many on the hub are, are no zip and cannot be mapped.
                found = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
        except (
            pickle.UnpicklingError,
            AssertionError,
            AttributeError,
            EOFError,
            LookupError,
            OverflowError,
            RuntimeError,
            TypeError,
            ValueError,
            struct.error,
        ) as error:
            first = str(error).strip().split("\n")[0]
            raise CheckpointError(f'"{path}" is not a plain file of tensors and was not loaded: {first}') from None
        if not isinstance(found, dict) or not all(isinstance(t, torch.Tensor) for t in found.values()):
            raise CheckpointError(f'"{path}" holds something other than named tensors; it was not loaded.')
        self._loaded |= found
        for name, tensor in found.items():
            self.file_of[name], self.shapes[name] = file, tuple(tensor.shape)
        self.bytes += path.stat().st_size

    @contextlib.contextmanager
    def _safe(self, file: str) -> Iterator[Any]:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.folder / file, framework=self.framework) as opened:
                yield opened
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f'"{self.folder / file}" is not a whole safetensors file ({error}); fetch or save it again.'
            ) from None

    def read(self, name: str) -> Array:
        """One tensor, as a view of the file: copy what is to stay. The mapping goes with its last view."""
        if name in self._loaded:
            tensor = self._loaded[name]
            return tensor if self.framework == "pt" else tensor.float().numpy()
        with self._safe(self.file_of[name]) as opened:
            return opened.get_tensor(name)


def require_space(folder: Path, needed: int) -> None:
    """Raises CheckpointError where the disk of `folder` has less room than `needed` bytes."""
    there = folder
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    if free < needed:
        raise CheckpointError(
            f'"{folder}" needs {needed / 1e6:.0f} MB and its disk has {free / 1e6:.0f} MB free; nothing was written.'
        )


@contextlib.contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """A fresh folder to write into, which becomes `target` when the block ends and is gone when it raises.

    A new target appears by one rename. In one that exists, each file is replaced by a rename, weights of an earlier save
    that were not written again are removed, and all other files stay.
    """
    from safetensors import SafetensorError  # what its writer tells of a full disk by

    if target.exists() and not target.is_dir():
        raise CheckpointError(f'"{target}" is a file; a folder to save in was expected.')
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
    except OSError as error:
        raise CheckpointError(f'"{target}" cannot be written: {error.strerror}.') from None
    try:
        yield made
        open_to_others(made)
        sync(made)
        if target.exists():
            merge(made, target)
        else:
            os.rename(made, target)
    except (OSError, SafetensorError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise CheckpointError(f'"{target}" could not be written ({why}); what was there is unchanged.') from None
    finally:
        shutil.rmtree(made, ignore_errors=True)


def merge(made: Path, target: Path) -> None:
    """Moves what was made into a folder that exists, each file by one rename, and removes what it makes stale.

    Where a config.json is among it, the folder is at every moment no model, having none, or all of one.
    """
    files = sorted(path.relative_to(made) for path in made.rglob("*") if path.is_file())
    new = {str(file) for file in files}
    config = Path(CONFIG_FILE)
    if config in files:
        (target / config).unlink(missing_ok=True)
        if not (made / TARGET_FOLDER).exists():  # an earlier model's, which would be read as this one's
            shutil.rmtree(target / TARGET_FOLDER, ignore_errors=True)
    if any(STALE.match(name) for name in new):
        for old in target.iterdir():
            if STALE.match(old.name) and old.name not in new:
                old.unlink()
    for file in sorted(files, key=lambda file: file == config):
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        os.replace(made / file, target / file)


def sync(folder: Path) -> None:
    """Waits until every file of a folder is on the disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as opened:
                os.fsync(opened.fileno())


def open_to_others(folder: Path) -> None:
    """Gives a folder and its files the modes that the process's umask asks for, as any other file has."""
    mask = os.umask(0)  # it can only be read by setting it
    os.umask(mask)
    for path in (folder, *folder.rglob("*")):
        path.chmod((0o777 if path.is_dir() else 0o666) & ~mask)


def write_tensors(
    folder: Path,
    tensors: Mapping[str, Array],
    save_file: Callable[..., None],
    size_of: Callable[[Array], int],
    shard: int | str,
) -> None:
    """Writes model.safetensors, or shards of at most `shard` bytes (or "5GB") and their index."""
    import json

    from huggingface_hub import split_state_dict_into_shards_factory

    split = split_state_dict_into_shards_factory(
        dict(tensors), get_storage_size=size_of, filename_pattern="model{suffix}.safetensors", max_shard_size=shard
    )
    for file, names in split.filename_to_tensors.items():
        save_file({name: tensors[name] for name in names}, folder / file, metadata={"format": "pt"})
    if split.is_sharded:
        index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
        (folder / SAFE_INDEX).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", encoding="utf-8")
