"""What is compiled of the engine's kernels, when, and what is kept."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conjoin.engine.machine import has_kernels

pytestmark = pytest.mark.skipif(not has_kernels(), reason="the kernels need AVX-512 with VNNI")

WANTED = """
from conjoin.engine.kernels.layout import Code
from conjoin.engine.kernels.operations import KERNELS
kernel = KERNELS[Code.SCALE]
print(kernel.address > 0, kernel.code.cache_hits)
"""


def test_a_kernel_is_compiled_when_it_is_wanted_and_kept_on_disk(tmp_path: Path) -> None:
    def run() -> str:
        own = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
        return subprocess.check_output([sys.executable, "-c", WANTED], env=own, text=True).strip()

    assert [run(), run()] == ["True 0", "True 1"]
    kept = list(tmp_path.rglob("*.nb?"))
    assert {path.name.split("-")[0] for path in kept} == {"rows.scale"}
    for path in kept:  # as if a file of kernels had changed since
        os.utime(path, (0, 0))
    assert run() == "True 0"
