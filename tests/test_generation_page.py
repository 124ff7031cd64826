"""docs/generation.md names every setting with its default, and its Python runs from top to bottom."""

import re
from pathlib import Path

import pytest
import tiny

from conjoin.decoding.asked import STEPWISE
from conjoin.decoding.call import ARGUMENTS, INPUTS
from conjoin.decoding.settings import resolve
from conjoin.generation import GENERATION_FIELDS, MEANINGLESS, GenerationConfig
from conjoin.outputs import GenerateOutput

PAGE = Path(__file__).parent.parent / "docs" / "generation.md"
TEXT = PAGE.read_text(encoding="utf-8")
ROW = re.compile(r"^\| (`[^|]+`) \| ([^|]*) \| ", re.MULTILINE)


def test_the_page_names_every_setting_argument_and_output() -> None:
    named = set(re.findall(r"`(\w+)`", TEXT)) | set(re.findall(r"(\w+)=", TEXT))
    assert set(GENERATION_FIELDS) <= named, set(GENERATION_FIELDS) - named
    assert set(ARGUMENTS) - set(INPUTS) <= named | {"stop_strings"}
    assert set(GenerateOutput.fields) <= named
    refused = TEXT[TEXT.index("Refused, since") : TEXT.index("## Rules")]
    assert set(re.findall(r"`(\w+)`", refused)) == set(MEANINGLESS)


def test_every_default_is_the_codes() -> None:
    settings = resolve(GenerationConfig(), prompt=1, positions=99, vocab=60)
    checked = 0
    for names, default in ROW.findall(TEXT):
        for name in re.findall(r"`(\w+)`", names):
            if default.strip() and name in settings.__dataclass_fields__:
                assert repr(getattr(settings, name)) == default.strip(), name
                checked += 1
    assert checked > 15


def test_the_frameworks_page_names_what_works_in_pytorch_alone() -> None:
    page = (PAGE.parent / "frameworks.md").read_text(encoding="utf-8")
    row = next(line for line in page.splitlines() if "output_attentions" in line)
    assert set(re.findall(r"`(\w+)`", row)) == {*STEPWISE}


def test_the_code_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny.join(tmp_path / "my-model", "bert")
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL):
        exec(compile(block, str(PAGE), "exec"), names)
    assert len(capsys.readouterr().out.splitlines()) > 3
    assert names["chosen"].shape[0] == 2
