"""Bundles: what is written can be read, and nothing else is taken for one."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchbench.leaderboard import bundle, collect, sources
from benchbench.leaderboard.submission import Declaration, StoredRun, Submission
from benchbench.problems import BadInputError
from benchbench.runs.folder import RunFolder
from benchbench.values import Row
from tests.helpers.synthetic_submissions import submission

DECLARED = Declaration(tuning="three learning rates, on the validation split", by="<b>me</b>")


def write(path: Path, made: Submission | None = None) -> Path:
    bundle.write(made or submission({"A": 0.9, "B": 0.8}, seeds=2), DECLARED, "2026-01-31", path)
    return path


def rewritten(path: Path, change: Callable[[dict[str, bytes]], None], *, sums: bool = True) -> Path:
    """A copy of a bundle with other files; by default its sums are right."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    if sums:
        manifest = json.loads(files[bundle.MANIFEST])
        manifest["files"] = {
            name: hashlib.sha256(content).hexdigest() for name, content in files.items() if name != bundle.MANIFEST
        }
        files[bundle.MANIFEST] = json.dumps(manifest).encode()
    copy = path.with_name("changed.zip")
    with zipfile.ZipFile(copy, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return copy


def problems(path: Path) -> str:
    with pytest.raises(BadInputError) as caught:
        bundle.read(path)
    return str(caught.value)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    made = submission({"A": 0.9, "B": 0.8})
    read = bundle.read(write(tmp_path / "one.zip", made))
    assert (read.name, read.suite, read.runs) == ("one", made.suite, made.runs)
    assert read.manifest
    assert read.manifest.declaration == DECLARED


def test_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    made = submission({"A": 0.9, "B": 0.8})
    shuffled = Submission(made.name, made.suite, dict(reversed(made.runs.items())))
    assert write(tmp_path / "one.zip", made).read_bytes() == write(tmp_path / "two.zip", shuffled).read_bytes()


def test_a_folder_of_the_same_files_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "one.zip")
    zipfile.ZipFile(path).extractall(tmp_path / "one")
    assert bundle.read(tmp_path / "one").runs == bundle.read(path).runs


@pytest.mark.parametrize(
    "name", ["../evil.txt", "/etc/evil", "runs/../../evil", "runs/0123456789abcdef/code.py", "a\\b"]
)
def test_no_name_reaches_out_of_a_bundle(name: str, tmp_path: Path) -> None:
    changed = rewritten(write(tmp_path / "one.zip"), lambda files: files.update({name: b"x"}))
    assert "a bundle has no such file" in problems(changed)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["changed.zip", "one.zip"]


def test_links_are_not_followed(tmp_path: Path) -> None:
    zipfile.ZipFile(write(tmp_path / "one.zip")).extractall(tmp_path / "one")
    (tmp_path / "secret").write_text("secret")
    log = next((tmp_path / "one").rglob("log.txt"))
    log.unlink()
    log.symlink_to(tmp_path / "secret")
    assert "is a link" in problems(tmp_path / "one")


def test_a_bundle_that_unpacks_to_too_much_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "one.zip")
    monkeypatch.setattr(bundle, "LARGEST_BUNDLE", 1000)
    assert "is larger than 1,000 bytes" in problems(path)


@pytest.mark.parametrize(
    ("limit", "value", "words"),
    [
        ("LARGEST_FILE", 100, "a file in it is larger than 100 bytes"),
        ("LARGEST_ARCHIVE", 1000, "is larger than 1,000 bytes"),
    ],
)
def test_no_part_of_a_bundle_may_be_too_large(
    limit: str, value: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "one.zip")
    monkeypatch.setattr(bundle, limit, value)
    [line] = problems(path).splitlines()
    assert words in line


def test_a_bundle_that_is_packed_too_densely_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_: pytest.fail("it was unpacked"))
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(3):
            archive.writestr(f"runs/{number:016x}/log.txt", bytes(bundle.LARGEST_FILE))
    [line] = problems(tmp_path / "bomb.zip").splitlines()
    assert " to 201,326,592 bytes, which is larger than 67,108,864 bytes" in line


def test_many_names_are_one_line(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as archive:
        for number in range(20_000):
            archive.writestr(f"x{number}", b"")
    [line] = problems(tmp_path / "many.zip").splitlines()
    assert "a bundle has no such file, nor 19,999 others that are in it (got x0)" in line


def test_a_name_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "one.zip")
    name = next(name for name in zipfile.ZipFile(path).namelist() if name.endswith("log.txt"))
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(name, b"another")
    [line] = problems(path).splitlines()
    assert f"a name occurs twice (got {name})" in line


def test_a_file_that_the_manifest_does_not_name_is_refused(tmp_path: Path) -> None:
    made = submission({"A": 0.9}, seeds=1)
    [key] = made.runs
    path = write(tmp_path / "one.zip", made)

    def forget(files: dict[str, bytes]) -> None:
        manifest = json.loads(files["manifest.json"])
        del manifest["files"][f"runs/{key}/log.txt"]
        files["manifest.json"] = json.dumps(manifest).encode()

    assert f"runs/{key}/log.txt: is not in the manifest" in problems(rewritten(path, forget, sums=False))


def test_epochs_come_from_elsewhere_where_the_folder_has_lost_some(tmp_path: Path) -> None:
    made = submission({"A": 0.9}, seeds=1)
    [(key, run)] = made.runs.items()
    rows = [Row(spec=made.suite.specs[0], result=run.result)]
    for left, known, expected in (
        (run.records[:1], {key: run.records}, run.records),
        (run.records[:1], {}, ()),
        (run.records, {}, run.records),
    ):
        folder = RunFolder(tmp_path / key)
        folder.prepare(made.suite.specs[0])
        for record in left:
            folder.append(record)
        folder.finish(run.result)
        assert collect.submission(made.suite, rows, tmp_path, {}, known).runs[key].records == expected


def test_every_changed_file_is_named(tmp_path: Path) -> None:
    def change(files: dict[str, bytes]) -> None:
        for name in files:
            if name.endswith("log.txt"):
                files[name] += b"!"

    text = problems(rewritten(write(tmp_path / "one.zip"), change, sums=False))
    assert text.count("SHA-256") == 4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda files: files.pop("suite.json"), "has no suite.json"),
        (lambda files: files.pop(first(files, "result.json")), "has no runs/"),
        (lambda files: edit(files, "result.json", epochs=1), "finished after 1 of 2 epochs"),
        (lambda files: edit(files, "result.json", key="0" * 16), "the result is that of another run"),
        (lambda files: edit(files, "result.json", outcome="failed"), "did not come to a result: failed"),
        (lambda files: edit(files, "result.json", surprise=1), "surprise"),
        (lambda files: edit(files, "result.json", cost={"train_seconds": "NaN"}), "a cost is negative or not finite"),
        (lambda files: edit(files, "suite.json", seeds=[0]), "not those of each method on each workload"),
        (lambda files: edit(files, "suite.json", workloads=["a\nb"]), "control characters"),
        (lambda files: remove(files, first(files, "result.json").rpartition("/")[0]), "has no result"),
    ],
)  # fmt: skip
def test_what_is_not_whole_is_refused(change: Callable[[dict[str, bytes]], None], words: str, tmp_path: Path) -> None:
    assert words in problems(rewritten(write(tmp_path / "one.zip"), change))


def test_a_result_that_its_epochs_speak_against_is_refused(tmp_path: Path) -> None:
    def change(files: dict[str, bytes]) -> None:
        name = first(files, "result.json")
        result = json.loads(files[name])
        result["final"]["validation/accuracy"] = 0.999
        files[name] = json.dumps(result).encode()

    assert "differ in validation/accuracy" in problems(rewritten(write(tmp_path / "one.zip"), change))


@pytest.mark.parametrize("content", [b"", b"PK", b"not a zip file"])
def test_other_files_are_no_bundles(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "one.zip"
    path.write_bytes(content)
    assert "is no bundle" in problems(path)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_damaged_bundle_is_refused_or_says_the_same(damaged: Path, data: st.DataObject) -> None:
    whole = damaged.with_name("whole.zip").read_bytes()
    position = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255))
    damaged.write_bytes(whole[:position] + bytes([byte]) + whole[position + 1 :])
    try:
        read = bundle.read(damaged)
    except BadInputError:
        return
    assert read.runs == bundle.read(damaged.with_name("whole.zip")).runs


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("damaged")
    write(folder / "whole.zip", submission({"A": 0.9}, seeds=1))
    return folder / "damaged.zip"


@pytest.mark.parametrize("date", ["tomorrow", "2026-02-30", "2026-13-01", "2026-01-31\n", "٢٠٢٦-01-31"])
def test_a_date_that_is_none_is_refused(date: str, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="date"):
        bundle.write(submission({"A": 0.9}, seeds=1), DECLARED, date, tmp_path / "one.zip")
    changed = rewritten(write(tmp_path / "one.zip"), lambda files: edit(files, "manifest.json", date=date))
    assert "date" in problems(changed)


def test_what_contradicts_itself_makes_no_bundle_and_is_added_to_no_leaderboard(tmp_path: Path) -> None:
    made = submission({"A": 0.9}, seeds=1)
    [(key, run)] = made.runs.items()
    better = {**run.result.best, "test/accuracy": 0.99}
    forged = StoredRun(run.result.model_copy(update={"best": better}), run.records, run.log)
    with pytest.raises(BadInputError, match="A on digits, seed 0: the last epoch was the best, and the two results"):
        write(tmp_path / "forged.zip", Submission("made", made.suite, {key: forged}))
    assert not list(tmp_path.iterdir())
    changed = rewritten(write(tmp_path / "one.zip", made), lambda files: edit(files, "result.json", best=better))
    with pytest.raises(BadInputError, match="the two results differ in test/accuracy"):
        sources.add(changed, tmp_path / "board")
    assert not (tmp_path / "board").exists()


def test_incomplete_results_make_no_bundle(tmp_path: Path) -> None:
    made = submission({"A": 0.9}, seeds=2)
    first_key, *_ = made.runs
    rest = {key: run for key, run in made.runs.items() if key != first_key}
    with pytest.raises(BadInputError, match="A on digits, seed 0: has no result"):
        write(tmp_path / "one.zip", Submission("made", made.suite, rest))
    assert not list(tmp_path.iterdir())


def test_divergence_is_a_result_and_survives(tmp_path: Path) -> None:
    made = submission({"A": 0.9}, seeds=1)
    [(key, run)] = made.runs.items()
    last = run.records[-1].model_copy(update={"metrics": {"train/loss": math.nan, "validation/accuracy": math.nan}})
    best = run.records[0].metrics
    changes = {"outcome": "diverged", "final": last.metrics, "best": best, "best_epoch": 1}
    lost = StoredRun(run.result.model_copy(update=changes), (run.records[0], last))
    path = write(tmp_path / "one.zip", Submission("made", made.suite, {key: lost}))
    read = bundle.read(path).runs[key].result
    assert read.outcome == "diverged"
    assert read.final["train/loss"] != read.final["train/loss"]


def test_a_leaderboard_keeps_each_bundle_once(tmp_path: Path) -> None:
    path = write(tmp_path / "one.zip")
    kept = sources.add(path, tmp_path / "board")
    assert kept.read_bytes() == path.read_bytes()
    with pytest.raises(BadInputError, match="has a bundle of this name"):
        sources.add(path, tmp_path / "board")
    shutil.copy(path, tmp_path / "two.zip")
    sources.add(tmp_path / "two.zip", tmp_path / "board")
    assert [each.name for each in sources.read_all([str(tmp_path / "board")], pytest.fail)] == ["one", "two"]


def first(files: dict[str, bytes], ending: str) -> str:
    return next(name for name in sorted(files) if name.endswith(ending))


def edit(files: dict[str, bytes], ending: str, **values: object) -> None:
    name = first(files, ending)
    files[name] = json.dumps(json.loads(files[name]) | values).encode()


def remove(files: dict[str, bytes], folder: str) -> None:
    for name in [name for name in files if name.startswith(folder)]:
        del files[name]
