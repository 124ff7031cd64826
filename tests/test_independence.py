"""conjoin imports no framework by itself, and each class works where only its own framework can be imported."""

import functools
import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from only_one_framework import CLASSES, MODULES

ROOT = Path(__file__).parents[1]
SCRIPT = Path(__file__).parent / "only_one_framework.py"
FOLDER = Path(__file__).parent / "fixtures" / "transformers4" / "bert_bert"
every_framework = pytest.mark.parametrize("framework", MODULES)


def python(*arguments: object, executable: object = sys.executable, **more: str) -> subprocess.CompletedProcess[str]:
    """Runs Python in a process of its own."""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "PYTHONWARNINGS": "", **more}
    environment.pop("KERAS_BACKEND", None)
    return subprocess.run(
        [str(executable), *map(str, arguments)], capture_output=True, text=True, timeout=280, env=environment
    )


def others(framework: str) -> list[str]:
    return ["transformers", *(module for name, names in MODULES.items() if name != framework for module in names)]


def test_importing_conjoin_imports_no_framework():
    code = f"""
import sys, conjoin, conjoin.cli, conjoin.model, conjoin.composite, conjoin.generation, conjoin.tokens, conjoin.hub
import conjoin.frameworks, conjoin.pipelines, conjoin.seq2seq, conjoin.blocks, conjoin.decoding.generate
dir(conjoin)
print(sorted(set({[*(m for names in MODULES.values() for m in names), "transformers"]}) & set(sys.modules)))
"""
    done = python("-c", code)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


@functools.cache
def alone(framework: str) -> dict[str, object]:
    """What the script did where only this framework can be imported."""
    done = python(SCRIPT, framework, FOLDER, "--hide", *others(framework))
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


@every_framework
def test_a_class_works_where_only_its_framework_is_and_writes_what_the_others_write(framework):
    found = alone(framework)
    assert found["class"] == CLASSES[framework]
    assert found["made"] == alone("torch")["made"]


@every_framework
def test_a_missing_framework_is_named_with_what_to_install(framework):
    code = f"""
import sys
sys.path.insert(0, {str(SCRIPT.parent)!r})
from only_one_framework import Hidden
sys.meta_path.insert(0, Hidden({list(MODULES[framework])}))
import conjoin
from conjoin.frameworks import model_class
for get in (lambda: getattr(conjoin, "{CLASSES[framework]}"), lambda: model_class("{framework}"),
            lambda: conjoin.pipeline({str(FOLDER)!r}, backend="{framework}")):
    try:
        get()
    except ImportError as error:
        print(error)
from conjoin.cli import main
print(main(["generate", {str(FOLDER)!r}, "--backend", "{framework}"]))
"""
    done = python("-c", code)
    assert done.returncode == 0, done.stderr
    *sentences, code = done.stdout.splitlines()
    advice = f'which is not installed; run: pip install "conjoin[{framework}]".'
    expected = [f"{CLASSES[framework]} needs {module}, {advice}" for module in MODULES[framework]]
    assert sentences[0] in expected
    assert sentences == sentences[:1] * 3
    assert code == "2"
    assert done.stderr.strip().splitlines()[-1].endswith(sentences[0])


OTHERS = [pytest.param(name, marks=pytest.mark.extensive) for name in ("jax", "tensorflow")]  # a minute each


@pytest.mark.slow
@pytest.mark.parametrize("framework", ["torch", *OTHERS])
def test_a_class_works_in_an_environment_with_only_its_extra(tmp_path, framework):
    venv.create(tmp_path / "env", with_pip=True)
    executable = tmp_path / "env" / "bin" / "python"
    extra = f".[{framework}]"
    command = [executable, "-m", "pip", "install", "--quiet", "-c", "constraints.txt", extra]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    done = python(SCRIPT, framework, FOLDER, executable=executable)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1])["class"] == CLASSES[framework]
