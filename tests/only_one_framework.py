"""Run with one framework alone: load, compute, generate, save, load again, and the pipeline and command line on top.

    python tests/only_one_framework.py FRAMEWORK FOLDER [--hide MODULE ...]

FRAMEWORK is torch, jax or tensorflow, FOLDER a stored fixture with its expected.npz. Hidden modules cannot be imported, as
if they were not installed. Prints what it did as JSON; raises where something is not as it should be.
"""

import argparse
import importlib.util
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

MODULES = {
    "torch": ("torch",),
    "jax": ("jax", "jaxlib", "flax", "optax"),
    "tensorflow": ("tensorflow", "keras"),
}
CLASSES = {
    "torch": "EncoderDecoderModel",
    "jax": "FlaxEncoderDecoderModel",
    "tensorflow": "TFEncoderDecoderModel",
}


class Hidden:
    """A finder that says of some modules that they are not there."""

    def __init__(self, names: list[str]) -> None:
        self.names = frozenset(names)

    def find_spec(self, name: str, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def is_there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def why_not(module, name: str) -> str:
    """What importing a name says."""
    try:
        getattr(module, name)
    except ImportError as error:
        return str(error)
    return f"{name} is there"


def array(framework: str, x):
    if framework == "torch":
        import torch

        return torch.tensor(x)
    if framework == "jax":
        import jax.numpy as jnp

        return jnp.asarray(x)
    import tensorflow as tf

    return tf.constant(x)


def check(framework: str, folder: Path, work: Path) -> dict[str, object]:
    """Everything that needs a framework."""
    import conjoin

    assert not sys.modules.keys() & {name for names in MODULES.values() for name in names}, "conjoin imported one"
    others = {name: names for name, names in MODULES.items() if name != framework}
    strangers = ["transformers", *(name for names in others.values() for name in names)]
    assert not [name for name in strangers if is_there(name)]
    for other in others:
        refusal = why_not(conjoin, CLASSES[other])
        assert refusal.startswith(f"{CLASSES[other]} needs ")
        assert refusal.endswith(f'is not installed; run: pip install "conjoin[{other}]".')

    import numpy as np

    stored = np.load(folder / "expected.npz")
    cls = getattr(conjoin, CLASSES[framework])
    given = {name: array(framework, stored[name]) for name in ("input_ids", "attention_mask")}
    target = array(framework, stored["decoder_input_ids"])

    def logits(model) -> np.ndarray:
        found = model(**given, decoder_input_ids=target).logits
        return np.asarray(found.detach() if framework == "torch" else found)

    def tokens(model, **settings) -> list[list[int]]:
        found = model.generate(**given, max_new_tokens=12, **settings)
        return np.asarray(found.sequences if framework == "jax" else found).tolist()

    model = cls.from_pretrained(folder)
    assert np.abs(logits(model) - stored["logits"]).max() < 2e-5
    assert tokens(model) == stored["greedy_tokens"].tolist()
    assert tokens(model, num_beams=4) == stored["beam4_tokens"].tolist()
    os.environ["CONJOIN_ENGINE"] = "native"  # however small: the engine's kernels need no other framework
    assert tokens(model) == stored["greedy_tokens"].tolist()
    del os.environ["CONJOIN_ENGINE"]
    model.encoder.save_pretrained(work / "encoder")
    model.decoder.save_pretrained(work / "decoder")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(56))]
    for name in ("encoder", "decoder"):
        (work / name / "vocab.txt").write_text("\n".join(words) + "\n")
    joined = cls.from_encoder_decoder_pretrained(work / "encoder", work / "decoder")
    assert np.array_equal(logits(joined), logits(model))
    joined.save_pretrained(work / "joined")
    again = cls.from_pretrained(work / "joined")
    assert np.array_equal(logits(again), logits(model))

    texts = ["w3 w14 w15 w9 w2 w6", "w5 w3"]
    write = conjoin.pipeline(work / "joined", backend=framework)
    assert type(write.model) is cls
    made = write(texts, max_new_tokens=6)
    assert len(made) == 2
    assert all(made)
    (work / "in.txt").write_text("\n".join(texts) + "\n")
    from conjoin.cli import main

    argv = ["generate", str(work / "joined"), str(work / "in.txt"), "-o", str(work / "out.txt")]
    assert main([*argv, "--backend", framework, "--max-new-tokens", "6"]) == 0
    assert (work / "out.txt").read_text().splitlines() == made
    assert not [name for name in strangers if name in sys.modules]
    return {"framework": framework, "class": cls.__name__, "made": made}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("framework", choices=MODULES)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--hide", nargs="*", default=[])
    args = parser.parse_args()
    sys.meta_path.insert(0, Hidden(args.hide))
    work = Path(tempfile.mkdtemp())
    try:
        print(json.dumps(check(args.framework, args.folder, work)))
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
