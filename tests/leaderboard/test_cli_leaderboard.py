"""From a suite to a site on the command line: run, export, add, build, verify."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchbench.leaderboard.submission import StoredRun
from tests.conftest import STUBS
from tests.helpers.command_line import call
from tests.helpers.suites import SGD, line, suite

SUITE = suite(
    title="Lines",
    seeds=[0, 1],
    workloads={"line": line(workload=f"{STUBS.name}:line")},
    methods={
        "<i>SGD</i>": {"category": "First-order", **SGD},
        "AdamW": {"category": "First-order", "optimizer": "adamw", "lr": 0.01},
    },
    tables=["accuracy"],
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, migrated_store: Path) -> Iterator[Path]:
    """A current folder in which a suite has been run and exported as `lines.zip`."""
    folder = tmp_path_factory.mktemp("leaderboard")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        (folder / "mlflow.db").write_bytes(migrated_store.read_bytes())
        (folder / STUBS.name).write_bytes(STUBS.read_bytes())
        (folder / "lines.yaml").write_text(SUITE, encoding="utf-8")
        assert call("run", "lines.yaml", "--engine", "inline").exit_code == 0
        result = call("export", "lines.yaml", "--bundle", "lines.zip", "--tuning", "none", "--date", "2026-01-31")
        assert result.exit_code == 0, result.output
        yield folder


def test_a_bundle_holds_every_run_and_nothing_private(exported: Path) -> None:
    with zipfile.ZipFile(exported / "lines.zip") as archive:
        texts = {name: archive.read(name).decode() for name in archive.namelist()}
    assert len([name for name in texts if name.endswith("metrics.jsonl")]) == 4
    whole = "".join(texts.values())
    assert str(exported) not in whole
    assert str(Path.home()) not in whole
    result = json.loads(next(text for name, text in texts.items() if name.endswith("result.json")))
    assert result["environment"]["torch"]
    assert "host" not in result["environment"]


def test_a_bundle_without_a_word_on_tuning_is_not_made(exported: Path) -> None:
    result = call("export", "lines.yaml", "--bundle", exported / "silent.zip")
    assert result.exit_code == 2
    assert "tuning" in result.stderr
    assert not (exported / "silent.zip").exists()


def test_histories_come_from_the_store_where_the_folders_are_gone(exported: Path, tmp_path: Path) -> None:
    words = ("--tuning", "none", "--date", "2026-01-31", "--runs-dir", tmp_path / "elsewhere")
    result = call("export", "lines.yaml", "--bundle", tmp_path / "stored.zip", *words)
    assert result.exit_code == 0, result.output
    with zipfile.ZipFile(tmp_path / "stored.zip") as stored, zipfile.ZipFile(exported / "lines.zip") as known:
        for name in known.namelist():
            if name.endswith("metrics.jsonl"):
                assert stored.read(name) == known.read(name) != b""


def test_bundles_are_added_and_shown(exported: Path, tmp_path: Path) -> None:
    added = call("leaderboard", "add", exported / "lines.zip", "--to", tmp_path / "board")
    assert added.exit_code == 0, added.output
    built = call("leaderboard", "build", tmp_path / "board", "--out", tmp_path / "site", "--title", "Fast & slow")
    assert built.exit_code == 0, built.output
    assert "4 runs" in built.stdout
    index = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert "<h1>Fast &amp; slow</h1>" in index
    assert "&lt;i&gt;SGD&lt;/i&gt;" in index
    assert "<i>SGD</i>" not in index
    assert len(list((tmp_path / "site" / "runs").iterdir())) == 4


def test_what_was_run_here_is_shown_without_a_bundle(exported: Path, tmp_path: Path) -> None:
    built = call("leaderboard", "build", "lines.yaml", "--out", tmp_path / "site")
    assert built.exit_code == 0, built.output
    assert "not declared" in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")


def test_runs_made_again_have_the_same_bits(exported: Path) -> None:
    result = call("leaderboard", "verify", exported / "lines.zip", "--runs", 2, "--draw", 1, "--code-from", exported)
    assert result.exit_code == 0, result.output
    assert "equal bits" in result.stdout
    assert "DIFFERS" not in result.stdout


def with_test_loss(run: StoredRun, value: float) -> StoredRun:
    """Another claim, told alike in both places where a run whose last epoch was its best says it."""
    assert run.result.best_epoch == run.result.epochs
    parts = {part: {**getattr(run.result, part), "test/loss": value} for part in ("final", "best")}
    return StoredRun(run.result.model_copy(update=parts), run.records, run.log)


def test_a_claim_that_is_too_good_is_found(exported: Path, tmp_path: Path) -> None:
    from benchbench.leaderboard import bundle
    from benchbench.leaderboard.submission import Submission

    honest = bundle.read(exported / "lines.zip")
    better = {}
    for key, run in honest.runs.items():
        better[key] = with_test_loss(run, run.result.final["test/loss"] - 1e-9)
    assert honest.manifest
    changed = Submission(honest.name, honest.suite, better)
    bundle.write(changed, honest.manifest.declaration, "2026-01-31", tmp_path / "better.zip")
    result = call("leaderboard", "verify", tmp_path / "better.zip", "--runs", 1, "--code-from", exported)
    assert result.exit_code == 1, result.output
    lines = [line for line in result.stdout.splitlines() if "DIFFERS" in line]
    assert ["final test/loss" in line for line in lines] == [True, False]
    assert "best test/loss" in lines[1]


@pytest.mark.parametrize(("scattered", "shift", "holds"), [(0.1, 0.3, True), (0.1, 0.6, False), (0.0, 0.3, False)])
def test_elsewhere_a_claim_may_lie_off_as_far_as_its_seeds_scatter(
    scattered: float, shift: float, holds: bool, exported: Path, tmp_path: Path
) -> None:
    from benchbench.leaderboard import bundle
    from benchbench.leaderboard.submission import Submission

    honest = bundle.read(exported / "lines.zip")
    assert honest.manifest
    claimed = {}
    first = {spec.method: honest.runs[spec.key].result for spec in honest.suite.specs if spec.seed == 0}
    for spec in honest.suite.specs:
        run = honest.runs[spec.key]
        apart = scattered * 2**0.5  # of two seeds with that standard deviation
        changed = with_test_loss(run, first[spec.method].final["test/loss"] + shift + apart * spec.seed)
        elsewhere = {"environment": {**run.result.environment, "platform": "elsewhere"}}
        claimed[spec.key] = StoredRun(changed.result.model_copy(update=elsewhere), run.records, run.log)
    bundle.write(Submission("c", honest.suite, claimed), honest.manifest.declaration, "2026-01-31", tmp_path / "c.zip")
    result = call("leaderboard", "verify", tmp_path / "c.zip", "--runs", 4, "--tolerance", 0.01, "--trust-any-code")
    lines = [line for line in result.stdout.splitlines() if "final test/loss" in line and line.split()[2] == "0"]
    assert len(lines) == len(first)
    assert all(("as claimed" in line) == holds for line in lines), result.stdout
    assert "± " in result.stdout


@pytest.mark.usefixtures("exported")
def test_reading_a_bundle_imports_nothing_that_it_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / STUBS.name).write_text("raise SystemExit('imported')")
    path = Path("lines.zip").absolute()
    monkeypatch.chdir(tmp_path)
    built = call("leaderboard", "build", path, "--out", "site")
    assert built.exit_code == 0, built.output
    assert call("leaderboard", "add", path, "--to", "board").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("build", "nowhere.zip", "--out", "site"), "cannot be read"),
        (("build", "nowhere", "--out", "site"), "nowhere"),
        (("add", "lines.yaml", "--to", "board"), "is no bundle"),
        (("verify", "lines.yaml"), "is no bundle"),
    ],
)
@pytest.mark.usefixtures("exported")
def test_bad_input_is_a_line(arguments: tuple[str, ...], words: str) -> None:
    result = call("leaderboard", *arguments)
    assert result.exit_code == 2, result.output
    assert words in result.stderr


def test_other_code_than_the_caller_allows_is_refused_before_anything_is_imported(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchbench.leaderboard import bundle
    from benchbench.leaderboard.submission import Submission

    marker = tmp_path / "imported"
    (tmp_path / "planted.py").write_text(f"open({str(marker)!r}, 'w')\n")
    monkeypatch.syspath_prepend(tmp_path)
    honest = bundle.read(exported / "lines.zip")
    assert honest.manifest
    touch = {"name": "subprocess:run", "args": f"touch {marker}", "shell": True}
    for hostile in (
        {"workload": {"target": "image-classification", "parameters": {"model": "mlp", "dataset": touch}}},
        {"optimizer": {"target": "planted:Opt"}},
        {"optimizer": {"target": f"{tmp_path}/planted.py:Opt", "digest": "0" * 16}},
        {"optimizer": {"target": "../planted.py:Opt", "digest": "0" * 16}},
        {"optimizer": {"target": "by_role", "parameters": {"matrices": "planted:Opt"}}},
    ):
        specs = [type(spec).model_validate(spec.model_dump() | hostile) for spec in honest.suite.specs]
        runs = {}
        for spec, before in zip(specs, honest.suite.specs, strict=True):
            run = honest.runs[before.key]
            runs[spec.key] = type(run)(run.result.model_copy(update={"key": spec.key}), run.records, run.log)
        suite = honest.suite.model_copy(update={"specs": tuple(specs)})
        path = tmp_path / "hostile.zip"
        bundle.write(Submission("hostile", suite, runs), honest.manifest.declaration, "2026-01-31", path)
        for allowed in ((), ("--code-from", exported)):
            result = call("leaderboard", "verify", path, "--runs", 1, *allowed)
            assert result.exit_code == 2, result.output
            assert f"error: {path}: " in result.stderr
            assert "DIFFERS" not in result.output
        assert call("leaderboard", "build", path, "--out", tmp_path / "site").exit_code == 0
        assert not marker.exists()
    # The flag lifts it: this bundle's code is imported now.
    (tmp_path / "planted.py").write_text(
        f"open({str(marker)!r}, 'w')\nimport torch\nclass Opt(torch.optim.SGD): pass\n"
    )
    specs = [each.model_copy(update={"optimizer": each.optimizer.model_copy(update={"target": "planted:Opt"})})
             for each in honest.suite.specs if each.method == "<i>SGD</i>"]  # fmt: skip
    runs = {
        spec.key: type(run)(run.result.model_copy(update={"key": spec.key}), run.records, run.log)
        for spec in specs
        for run in [next(iter(honest.runs.values()))]
    }
    suite = honest.suite.model_copy(update={"specs": tuple(specs), "methods": honest.suite.methods[:1]})
    bundle.write(Submission("hostile", suite, runs), honest.manifest.declaration, "2026-01-31", path)
    assert call("leaderboard", "verify", path, "--runs", 1, "--trust-any-code").exit_code in (0, 1)
    assert marker.exists()
