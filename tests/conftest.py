"""What every test starts from: one thread, one seed, silent peers, and a cache of tiny models for the whole session."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Tests compile many programs and run each once: what a program computes is tested, not how fast.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true")

import gc
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import torch

LEAST = 1 << 30  # bytes
GROWN = [LEAST]  # how large the process was when compiled programs were last given back
FIXTURES = Path(__file__).parent / "fixtures" / "transformers4"


def pytest_configure(config: pytest.Config) -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same random numbers for every test, whichever ran before."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True, scope="module")
def compiled_programs_given_back() -> Iterator[None]:
    """Frees what JAX and TensorFlow compiled for a module's tests, which are gigabytes over the whole run."""
    yield
    if "test_frameworks" in sys.modules:
        sys.modules["test_frameworks"].models.clear()
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()
    gc.collect()


@pytest.fixture(autouse=True)
def programs_given_back_in_time() -> Iterator[None]:
    """The same within a module, wherever the process has grown by more than LEAST since it was last done."""
    yield
    if "jax" in sys.modules and psutil.Process().memory_info().rss > GROWN[0] + LEAST:
        sys.modules["jax"].clear_caches()
        gc.collect()
        GROWN[0] = psutil.Process().memory_info().rss


@pytest.fixture(scope="session")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., object]:
    """`peer(encoder, decoder, **options)`: a transformers model, its folder, and conjoin's model of that folder; cached."""
    import peers

    made: dict[str, peers.Peer] = {}

    def of(encoder: str, decoder: str, **options: object) -> peers.Peer:
        key = repr((encoder, decoder, sorted(options.items())))
        if key not in made:
            made[key] = peers.make(tmp_path_factory.mktemp("peer") / "model", encoder, decoder, **options)
        return made[key]

    return of


@pytest.fixture(scope="session")
def stored() -> Callable[[str], Path]:
    """`stored(case)`: the folder that transformers 4.57.6 wrote for a case."""

    def of(case: str) -> Path:
        folder = FIXTURES / case
        if not (folder / "expected.npz").exists():
            pytest.skip(f"{case} is not stored yet")
        return folder

    return of


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Generation on the engine's kernels, however small the model: in JAX and TensorFlow nothing is then compiled for it."""
    monkeypatch.setenv("CONJOIN_ENGINE", "native")


@pytest.fixture(params=["compiled", "engine"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way of generating in JAX and TensorFlow: as a program of the framework's, and on the engine's kernels."""
    monkeypatch.setenv("CONJOIN_ENGINE", {"compiled": "framework", "engine": "native"}[request.param])
    return str(request.param)
