"""docs/families.md and `conjoin inspect` say what the code says; `UPDATE_DOCS=1 pytest tests/test_families_page.py` writes it."""

import json
import os
import re
from pathlib import Path

import pytest

import conjoin
from conjoin.cli import main
from conjoin.cli.inspect_families import families_page, listed
from conjoin.families import FAMILIES

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "families.md"
FILES = ROOT / "src" / "conjoin" / "families"
TABLE = re.compile(r"(?<=<!-- families -->\n).*?(?=<!-- /families -->)", re.DOTALL)


def test_the_page_has_the_table_of_the_code() -> None:
    text = PAGE.read_text(encoding="utf-8")
    if os.environ.get("UPDATE_DOCS"):
        PAGE.write_text(TABLE.sub(lambda _: f"\n{families_page()}\n", text), encoding="utf-8")
        text = PAGE.read_text(encoding="utf-8")
    found = TABLE.search(text)
    assert found is not None
    assert found[0].strip() == families_page().strip()


def test_the_readme_counts_them_right() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"| encoders | {sum(f.encoder is not None for f in FAMILIES.values())} families" in text
    assert f"| decoders | {sum(f.decoder is not None for f in FAMILIES.values())} families" in text


def test_inspect_lists_every_family(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["model_type"] for one in found] == sorted(FAMILIES)
    assert main(["inspect"]) == 0
    out = capsys.readouterr().out
    for one in listed():
        assert one.model_type in out


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_every_family_can_be_a_side_and_has_a_config_that_conjoin_exports(name: str) -> None:
    family = FAMILIES[name]
    assert family.encoder or family.decoder
    assert getattr(conjoin, family.config.__name__) is family.config
    assert family.config.__name__ in conjoin.__all__


@pytest.mark.parametrize("path", sorted(FILES.rglob("*.py")), ids=lambda p: p.stem)
def test_a_family_is_a_short_file_that_names_no_framework(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 70
    assert not re.search(r"^\s*(import|from) (torch|jax|flax|tensorflow|keras)\b", text, re.MULTILINE)


def test_a_file_of_a_family_is_called_as_its_model_type() -> None:
    assert {path.stem for path in FILES.glob("[a-z]*.py")} - {"custom"} == {name.replace("-", "_") for name in FAMILIES}
