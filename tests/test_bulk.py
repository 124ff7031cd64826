"""Files of any size: windows, forms, what a killed run leaves and how it goes on, parts for many machines."""

import gzip
import json
import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny

from conjoin import pipeline
from conjoin.bulk import windows as bulk_windows
from conjoin.bulk.cluster import Worker, expect_answer
from conjoin.bulk.shards import shards_of
from conjoin.bulk.sources import Item, Reading, Source
from conjoin.bulk.windows import windows
from conjoin.cli import main
from conjoin.cli.bars import Pace
from conjoin.errors import DataError, InputError

TEXTS = [f"the {a} {b} ran on the {c} mat ." for a in ("big", "small", "red") for b in ("cat", "dog") for c in "abcdef"]
SHORT = ["--max-new-tokens", "4", "--batch-size", "1"]  # windows of eight


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.join(tmp_path_factory.mktemp("bulk") / "model", "bert")


@pytest.fixture(scope="module")
def expected(model: Path) -> list[str]:
    return pipeline(model)(TEXTS, max_new_tokens=4)


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.txt"
    path.write_text("".join(f"{text}\n" for text in TEXTS))
    return path


def generate(*argv: object) -> int:
    return main(["generate", *map(str, argv)])


def said(capfd: pytest.CaptureFixture[str], *argv: object) -> str:
    assert generate(*argv) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err


def dies_after(monkeypatch: pytest.MonkeyPatch, calls: int) -> list[int]:
    """Lets the pipeline die as by a kill at a later call; gives how many texts each call was given."""
    from conjoin.pipelines import Writer

    given: list[int] = []
    real = Writer.__call__

    def call(self: Writer, sources: list[str], **settings: object) -> list[str]:
        if len(given) == calls:
            raise SystemExit(137)
        given.append(len(sources))
        return real(self, sources, **settings)

    monkeypatch.setattr(Writer, "__call__", call)
    return given


def killed(monkeypatch: pytest.MonkeyPatch, model: Path, texts: Path, out: Path, *more: object, calls: int = 2) -> None:
    with monkeypatch.context() as patch:
        dies_after(patch, calls)
        with pytest.raises(SystemExit):
            generate(model, texts, "-o", out, *SHORT, *more)
    assert not out.exists()


# Forms.


@pytest.mark.parametrize("name", ["rows.parquet", "rows.jsonl", "rows.jsonl.gz"])
@pytest.mark.parametrize("out", ["out.parquet", "out.jsonl", "out.jsonl.gz"])
def test_each_form_of_rows_is_read_and_written(model, tmp_path, expected, name, out):
    rows = [{"id": i, "document": text, "tags": ["x", None]} for i, text in enumerate(TEXTS)]
    source, output = tmp_path / name, tmp_path / out
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(rows), source, row_group_size=10)
    else:
        packed = "".join(json.dumps(row) + "\n" for row in rows).encode()
        source.write_bytes(gzip.compress(packed) if name.endswith(".gz") else packed)
    assert generate(model, source, "-o", output, *SHORT) == 0
    assert read_rows(output) == [{**row, "generated": text} for row, text in zip(rows, expected, strict=True)]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, out])


def read_rows(path: Path) -> list[dict[str, object]]:
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    packed = path.read_bytes()
    return [json.loads(line) for line in (gzip.decompress(packed) if path.suffix == ".gz" else packed).splitlines()]


def test_lines_of_text_become_rows_where_the_output_is_of_rows(model, tmp_path, texts, expected):
    for name in ("out.jsonl", "out.parquet"):
        assert generate(model, texts, "-o", tmp_path / name, *SHORT) == 0
        assert read_rows(tmp_path / name) == [
            {"document": text, "generated": answer} for text, answer in zip(TEXTS, expected, strict=True)
        ]


def test_parquet_keeps_its_columns_types_and_json_has_dates_as_text(model, tmp_path):
    schema = pa.schema([("document", pa.large_string()), ("day", pa.date32()), ("n", pa.int8())])
    rows = [{"document": "the cat", "day": date(2020, 1, 2), "n": 3}]
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), tmp_path / "in.parquet")
    assert generate(model, tmp_path / "in.parquet", "-o", tmp_path / "out.parquet", *SHORT) == 0
    assert pq.read_schema(tmp_path / "out.parquet") == schema.append(pa.field("generated", pa.string()))
    assert generate(model, tmp_path / "in.parquet", "-o", tmp_path / "out.jsonl", *SHORT) == 0
    assert read_rows(tmp_path / "out.jsonl")[0]["day"] == "2020-01-02"


def test_what_is_wrong_with_rows_is_said(model, tmp_path, capfd):
    (tmp_path / "no.parquet").write_bytes(b"PAR1 but no more PAR1")
    assert "cannot be read as Parquet" in said(capfd, model, tmp_path / "no.parquet")
    pq.write_table(pa.table({"documents": ["x"]}), tmp_path / "in.parquet")
    assert 'row 1 of "' in said(capfd, model, tmp_path / "in.parquet")
    pq.write_table(pa.table({"document": ["the cat"], "raw": [b"\xff"]}), tmp_path / "in.parquet")
    assert "bytes cannot be written as JSON" in said(capfd, model, tmp_path / "in.parquet", *SHORT)
    (tmp_path / "in.jsonl").write_text('{"document": "the cat"}\n{"document": "a dog", "more": 1}\n')
    assert 'has no field "more"' in said(capfd, model, tmp_path / "in.jsonl", "-o", tmp_path / "o.parquet", *SHORT)


def test_a_row_that_the_output_cannot_hold_is_found_before_it_is_answered(model, tmp_path, capfd, monkeypatch):
    source, out = tmp_path / "in.jsonl", tmp_path / "out.parquet"
    rows = [{"document": text} for text in TEXTS[:24]]
    odd = [*rows[:16], {**rows[16], "more": 1}, *rows[17:]]
    source.write_text("".join(json.dumps(row) + "\n" for row in odd))
    monkeypatch.setattr("conjoin.bulk.sinks.ROWS_IN_A_GROUP", 4)
    given = dies_after(monkeypatch, 9)
    assert 'has no field "more"' in said(capfd, model, source, "-o", out, *SHORT)
    assert given == [8, 8]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert generate(model, source, "-o", out, *SHORT) == 0
    assert given == [8, 8, 8]
    assert pq.read_table(out).num_rows == 24


def test_what_a_parquet_file_never_holds_is_one_sentence(model, tmp_path, capfd):
    column = pa.array(["the cat"])
    twins = pa.Table.from_arrays([column, column, column], names=["document", "x", "x"])
    pq.write_table(twins, tmp_path / "in.parquet")
    assert 'two columns "x"' in said(capfd, model, tmp_path / "in.parquet", "-o", tmp_path / "o.parquet", *SHORT)
    (tmp_path / "in.jsonl").write_text('{"document": "the cat", "x": {}}\n')
    assert "do not make a Parquet file" in said(
        capfd, model, tmp_path / "in.jsonl", "-o", tmp_path / "o.parquet", *SHORT
    )


def test_half_of_a_surrogate_pair_is_refused_as_a_text_and_kept_in_other_fields(model, tmp_path, capfd):
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"document": "the cat"}\n{"document": "the \\ud800 cat"}\n')
    assert "line 2 of" in said(capfd, model, source, "-o", out, *SHORT)
    source.write_text('{"document": "the cat", "x\\udfff": "\\ud800"}\n{"document": "a dog", "x": "\u00e9"}\n')
    assert generate(model, source, "-o", out, *SHORT) == 0
    first, second = read_rows(out)
    assert first["x\udfff"] == "\ud800"
    assert second["x"] == "\u00e9"
    assert "\u00e9".encode() in out.read_bytes()


def test_null_is_as_empty_as_an_empty_text(model, tmp_path, capfd):
    rows = [{"document": None, "id": 1}, {"document": "the cat", "id": 2}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in.parquet")
    assert "row 1 of" in said(capfd, model, tmp_path / "in.parquet", "-o", tmp_path / "out.jsonl", *SHORT)
    assert generate(model, tmp_path / "in.parquet", "-o", tmp_path / "out.jsonl", "--skip-empty", *SHORT) == 0
    assert read_rows(tmp_path / "out.jsonl")[0] == {**rows[0], "generated": ""}
    (tmp_path / "in.jsonl").write_text('{"document": 5}\n')
    assert '"document" is a number; a text' in said(capfd, model, tmp_path / "in.jsonl", "-o", tmp_path / "x.jsonl")


def test_the_name_of_the_output_says_what_is_written_in_any_case(model, tmp_path, capfd, expected):
    source = tmp_path / "in.JSONL"
    source.write_text(json.dumps({"document": TEXTS[0]}) + "\n")
    assert generate(model, source, "-o", tmp_path / "out.txt", *SHORT) == 0
    assert (tmp_path / "out.txt").read_text() == expected[0] + "\n"
    assert generate(model, source, "-o", tmp_path / "out.jsonl.gz", *SHORT) == 0
    packed = (tmp_path / "out.jsonl.gz").read_bytes()
    assert b"out.jsonl" not in packed  # as gzip would name what it packs
    assert "is a table" in said(capfd, model, source, "-o", tmp_path / "out.csv")
    assert "packed twice" in said(capfd, model, source, "-o", tmp_path / "out.parquet.gz")
    same = ("--source-column", "a", "--output-column", "a")
    assert "not read from standard input" in said(capfd, model, "-", "--format", "parquet")
    assert 'are both "a"' in said(capfd, model, source, "-o", tmp_path / "out.txt", *same)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full")
def test_a_full_disk_is_one_sentence(model, texts, capfd):
    assert "does not fit: No space left" in said(capfd, model, texts, "-o", "/dev/full", *SHORT)


def test_a_line_without_an_end_does_not_fill_the_memory(model, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("conjoin.bulk.lines.LONGEST", 1 << 20)
    (tmp_path / "bomb.txt.gz").write_bytes(gzip.compress(b"x" * (1 << 22)))
    assert "line 1 of" in said(capfd, model, tmp_path / "bomb.txt.gz")


def test_windows_end_by_count_and_by_characters(monkeypatch):
    items = [Item(i, "x" * 10) for i in range(7)]
    assert [len(window) for window in windows(items, 3)] == [3, 3, 1]
    monkeypatch.setattr(bulk_windows, "MOST_CHARACTERS", 15)
    assert [len(window) for window in windows(items, 3)] == [2, 2, 2, 1]


# Going on.


def test_a_run_goes_on_where_it_was_killed(model, tmp_path, texts, expected, monkeypatch):
    out = tmp_path / "out.txt"
    killed(monkeypatch, model, texts, out)
    with (tmp_path / "out.txt.part").open("ab") as spool:
        spool.write(b'["half a line that was written when')
    given = dies_after(monkeypatch, 100)
    assert generate(model, texts, "-o", out, *SHORT) == 0
    assert sum(given) == len(TEXTS) - 16  # two windows of eight were not answered again
    assert out.read_text().splitlines() == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.txt", "texts.txt"]


@pytest.mark.parametrize("end", [1, 20, 60])
def test_a_run_that_was_killed_at_its_first_byte_begins_anew(model, tmp_path, texts, expected, monkeypatch, end):
    out, spool = tmp_path / "out.txt", tmp_path / "out.txt.part"
    killed(monkeypatch, model, texts, out)
    spool.write_bytes(spool.read_bytes()[:end])
    assert generate(model, texts, "-o", out, *SHORT) == 0
    assert out.read_text().splitlines() == expected


def test_a_source_that_grew_is_gone_on_with(model, tmp_path, texts, expected, monkeypatch):
    out = tmp_path / "out.txt"
    texts.write_text("".join(f"{text}\n" for text in TEXTS[:20]))
    killed(monkeypatch, model, texts, out)
    texts.write_text("".join(f"{text}\n" for text in TEXTS))
    assert generate(model, texts, "-o", out, *SHORT) == 0
    assert out.read_text().splitlines() == expected


def test_another_run_is_refused(model, tmp_path, texts, monkeypatch, capfd):
    out = tmp_path / "out.txt"
    killed(monkeypatch, model, texts, out)
    assert "was begun with num_beams null, and now it is num_beams 2" in said(
        capfd, model, texts, "-o", out, *SHORT, "--num-beams", "2"
    )
    other = tiny.join(tmp_path / "other", "gpt2")
    assert "was begun with another model" in said(capfd, other, texts, "-o", out, *SHORT)
    texts.write_text("".join(f"{text}\n" for text in reversed(TEXTS)))
    assert "up to line 8 of" in said(capfd, model, texts, "-o", out, *SHORT)
    texts.write_text("".join(f"{text}\n" for text in TEXTS[:9]))
    assert "the sources are no longer those" in said(capfd, model, texts, "-o", out, *SHORT)
    assert (tmp_path / "out.txt.part").exists()
    assert not out.exists()


def test_a_model_that_was_trained_on_is_another(model, tmp_path, texts, monkeypatch, capfd):
    import shutil

    folder, out = tmp_path / "model", tmp_path / "out.txt"
    shutil.copytree(model, folder)
    killed(monkeypatch, folder, texts, out)
    weights = folder / "model.safetensors"
    changed = bytearray(weights.read_bytes())
    changed[-1] ^= 1
    weights.write_bytes(changed)
    assert "was begun with another model" in said(capfd, folder, texts, "-o", out, *SHORT)


def test_what_is_not_ours_stays_as_it_is(model, tmp_path, texts, capfd):
    for content in ("mine", "[" * 100_000, '{"a": 1}\n', "\n"):
        (tmp_path / "out.txt.part").write_text(content)
        assert "is in the way" in said(capfd, model, texts, "-o", tmp_path / "out.txt", *SHORT)
        assert (tmp_path / "out.txt.part").read_text() == content


def test_one_output_has_one_run_at_a_time(model, tmp_path, texts, capfd):
    from conjoin.bulk.spool import opened_spool

    with opened_spool(tmp_path / "out.txt.part"):
        assert "another run is writing" in said(capfd, model, texts, "-o", tmp_path / "out.txt", *SHORT)


def test_a_mistake_keeps_what_was_written_and_says_so(model, tmp_path, texts, expected, capfd):
    out = tmp_path / "out.txt"
    with texts.open("a") as more:
        more.write("\n")
    error = said(capfd, model, texts, "-o", out, *SHORT)
    assert "line 37 of" in error
    assert "the same command goes on from there" in error
    assert generate(model, texts, "-o", out, "--skip-empty", *SHORT) == 0
    assert out.read_text().splitlines() == [*expected, ""]


def test_sampling_goes_on_with_the_draws_of_a_whole_run(model, tmp_path, texts, monkeypatch):
    drawn = ["--do-sample", "--seed", "3", "--temperature", "3"]
    assert generate(model, texts, "-o", tmp_path / "whole.txt", *SHORT, *drawn) == 0
    killed(monkeypatch, model, texts, tmp_path / "out.txt", *drawn)
    assert generate(model, texts, "-o", tmp_path / "out.txt", *SHORT, *drawn) == 0
    assert (tmp_path / "out.txt").read_text() == (tmp_path / "whole.txt").read_text()


def test_a_process_that_is_killed_loses_and_doubles_nothing(model, tmp_path, expected):
    texts, out, spool = tmp_path / "texts.txt", tmp_path / "out.txt", tmp_path / "out.txt.part"
    many = 6
    texts.write_text("".join(f"{text}\n" for text in TEXTS * many))
    command = [sys.executable, "-m", "conjoin", "generate", str(model), str(texts), "-o", str(out), *SHORT]
    started = subprocess.Popen(command)
    deadline = time.monotonic() + 120
    while not (spool.exists() and spool.read_bytes().count(b"\n") > 2):
        assert started.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    started.send_signal(signal.SIGKILL)
    started.wait()
    assert spool.exists()
    assert not out.exists()
    assert main(command[3:]) == 0
    assert out.read_text().splitlines() == expected * many


# Progress.


def test_progress_says_how_much_is_left(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    pace = Pace(1000)
    pace.step(200, 0)  # an earlier run's
    now[0] = 10.0
    pace.step(400, 50)
    assert pace.text() == "50 texts, 5.0 a second, 40% of the source, 0:00:30 left"
    assert Pace(None).text().startswith("0 texts")


def test_a_log_gets_a_line_a_minute(monkeypatch, capfd):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    pace = Pace(100)
    for now[0] in (10.0, 61.0, 62.0, 130.0):
        pace.log(int(now[0] / 2), 1)
    assert capfd.readouterr().err.count("Generating: ") == 2


# Parts.


@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
def test_parts_of_lines_have_each_line_once(tmp_path, size, monkeypatch):
    monkeypatch.setattr("conjoin.bulk.shards.BYTES", size)
    lines = ["é" * (i % 9) + "x" for i in range(40)]
    (tmp_path / "texts.txt").write_text("\n".join(lines))
    shards = shards_of(Source(file=str(tmp_path / "texts.txt")), tmp_path / "out")
    assert [item.source for shard in shards for item in Reading(shard.source)] == lines


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_parts_of_parquet_have_each_row_once(tmp_path, size, monkeypatch):
    monkeypatch.setattr("conjoin.bulk.shards.ROWS", size)
    folder = tmp_path / "rows"
    folder.mkdir()
    for name in "ba":
        table = pa.table({"document": [f"{name}{i}" for i in range(40)]})
        pq.write_table(table, folder / f"{name}.parquet", row_group_size=11)
    shards = shards_of(Source(file=str(folder)), tmp_path / "out")
    assert [item.source for shard in shards for item in Reading(shard.source)] == [
        f"{n}{i}" for n in "ab" for i in range(40)
    ]
    assert {shard.output.suffix for shard in shards} == {".parquet"}


def answers_here(job, shards, cluster):
    """What the workers of a cluster say, without one."""
    worker = Worker(job, shards)
    for number in range(len(shards)):
        yield {name: values[0] for name, values in worker({"item": [number]}).items()}


def test_a_folder_of_parts_has_one_column_of_answers(model, tmp_path, texts, expected, monkeypatch, capfd):
    monkeypatch.setattr("conjoin.bulk.cluster.answers", answers_here)
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"document": text}) + "\n" for text in TEXTS))
    out = tmp_path / "out"
    assert generate(model, rows, "-o", out, "--ray", "local", *SHORT) == 0
    assert [row["generated"] for row in read_rows(out / "part-000000.jsonl")] == expected
    assert generate(model, rows, "-o", out, "--ray", "local", *SHORT) == 0
    (out / "part-000000.jsonl").unlink()
    other = ("--ray", "local", "--output-column", "x", *SHORT)
    assert "another output_column" in said(capfd, model, rows, "-o", out, *other)


def test_where_no_cluster_listens_is_said_at_once(model, texts, tmp_path, capfd):
    asked = ("-o", tmp_path / "out", "--ray", "127.0.0.1:1", *SHORT)
    assert "no Ray cluster answers" in said(capfd, model, texts, *asked)
    assert not (tmp_path / "out").exists()
    for address in ("127.0.0.1:1", "ray://127.0.0.1:99999"):
        with pytest.raises(InputError, match="no Ray cluster answers"):
            expect_answer(address)
    expect_answer("auto")


def test_a_folder_without_files_has_no_parts(tmp_path):
    with pytest.raises(DataError, match="has no files"):
        shards_of(Source(file=str(tmp_path)), tmp_path / "out")
