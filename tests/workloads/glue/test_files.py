"""GLUE's TSV files as they are published, and what is said of damaged ones before the first run."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchbench.workloads.glue import data as glue_data
from benchbench.workloads.glue.tasks import TASKS
from tests.conftest import REPOSITORY
from tests.helpers.command_line import call
from tests.workloads.glue.files import write_glue

PUBLISHED = REPOSITORY.parent / "shared" / "data"
COUNTS = {"sst2": (67349, 872), "mrpc": (3667, 408), "stsb": (5749, 1500), "rte": (2490, 277)}
"""Examples of the files for training and for test there."""


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="needs the files that GLUE publishes")
def test_published_files_are_read_whole(name: str) -> None:
    assert glue_data.missing(PUBLISHED, name) is None
    contents = glue_data.load(PUBLISHED, name)
    assert tuple(len(contents[file].labels) for file in ("train", "dev")) == COUNTS[name]
    assert not any("\ufeff" in text for each in contents.values() for texts in each.texts for text in texts)


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_neither_marks_nor_line_ends_matter(mark: str, ends: str, tmp_path: Path) -> None:
    write_glue(tmp_path / "plain")
    write_glue(tmp_path / "saved")
    for path in (tmp_path / "saved").rglob("*.tsv"):
        text = path.read_text(encoding="utf-8-sig")
        path.write_bytes((mark + text.replace("\n", ends)).encode())
    for name in TASKS:
        assert glue_data.missing(tmp_path / "saved", name) is None
        assert glue_data.load(tmp_path / "saved", name) == glue_data.load(tmp_path / "plain", name)


RTE = "index\tsentence1\tsentence2\tlabel\n"
LINE = "0\ta cat\ta dog\tentailment\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("sentence\tlabel\na cat\t1\n", "train.tsv:1: RTE needs the column 'sentence1' (found sentence, label)"),
        (
            RTE.replace("\t", ",") + LINE.replace("\t", ","),
            "train.tsv:1: RTE needs the column 'sentence1' (found index,",
        ),
        (
            RTE + LINE + LINE.replace("entailment", "maybe"),
            "train.tsv:3: label must be entailment, not_entailment (got",
        ),
        (
            RTE + LINE + 3 * "0\ta cat a dog\n" + LINE,
            "train.tsv:3: 3 of 5 lines have not the 4 columns of the first one",
        ),
        (RTE + LINE + 2 * LINE.replace("a dog", "a\tdog"), "train.tsv:3: 2 of 3 lines have not the 4 columns"),
        (RTE, "train.tsv: no line has all of the columns sentence1, sentence2, label"),
        ("", "train.tsv:1: RTE needs the column 'sentence1' (found none)"),
        ((RTE + LINE).encode("utf-16"), "train.tsv: is UTF-16: save it as UTF-8"),
        ((RTE + LINE + LINE.replace("cat", "cät")).encode("latin-1"), "train.tsv:3: the byte 0xe4 is not UTF-8"),
    ],
)
def test_a_damaged_file_is_said_in_one_line(content: str | bytes, said: str, tmp_path: Path) -> None:
    write_glue(tmp_path)
    content = content.encode() if isinstance(content, str) else content
    (tmp_path / "glue" / "RTE" / "train.tsv").write_bytes(content)
    line = glue_data.missing(tmp_path, "rte")
    assert line is not None
    assert said in line
    assert "\n" not in line


def test_a_score_that_is_no_number_is_named(tmp_path: Path) -> None:
    write_glue(tmp_path)
    path = tmp_path / "glue" / "STS-B" / "dev.tsv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:4], lines[4].rpartition("\t")[0] + "\tnan"]))
    assert glue_data.missing(tmp_path, "stsb") == f"{path}:5: score must be a number (got 'nan')"


def test_a_file_that_is_mended_is_read_again(tmp_path: Path) -> None:
    write_glue(tmp_path)
    path = tmp_path / "glue" / "RTE" / "train.tsv"
    intact = path.read_bytes()
    path.write_bytes(b"index\tlabel\n")
    assert glue_data.missing(tmp_path, "rte") is not None
    path.write_bytes(intact)
    assert glue_data.missing(tmp_path, "rte") is None


def test_the_command_says_it_before_the_first_run(workplace: Path) -> None:
    pytest.importorskip("transformers", reason="needs the extra `language`")
    pytest.importorskip("datasets", reason="needs the extra `language`")
    write_glue(workplace / "data")
    (workplace / "data" / "glue" / "RTE" / "dev.tsv").write_text("sentence\tlabel\n")
    (workplace / "suite.yaml").write_text(
        "name: damaged\nseeds: [0]\nworkloads: {RTE: {workload: glue, task: rte, epochs: 1, batch_size: 4}}\n"
        "methods: {SGD: {optimizer: sgd, lr: 0.1}}\n"
    )
    result = call("run", "suite.yaml", "--engine", "inline")
    assert result.exit_code == 2
    assert "dev.tsv:1: RTE needs the column 'sentence1' (found sentence, label)" in " ".join(result.output.split())
