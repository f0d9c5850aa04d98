"""The static site: values to pages. The same submissions give the same bytes; nothing of them is run or imported."""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchbench.distribution import own_version
from benchbench.leaderboard import bundle, plots
from benchbench.leaderboard.boards import CURRENCIES, Board, Results, board_scores, boards, left_out
from benchbench.leaderboard.merge import Entry, merge
from benchbench.leaderboard.submission import Submission
from benchbench.problems import BadInputError, Problem, printable
from benchbench.processes.memory import without_garbage_collection
from benchbench.reporting.currencies import spent
from benchbench.reporting.html import templates
from benchbench.reporting.metrics import describe, shown
from benchbench.reporting.table import NOTHING, amount_text
from benchbench.reporting.targets import Scores
from benchbench.stats import MINIMUM_N
from benchbench.values import EpochRecord, RunSpec, Suite

if TYPE_CHECKING:
    from markupsafe import Markup

LOG_LINES = 40
"""Lines of a run's log on its page: the last ones."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'"
)
"""The Content-Security-Policy of every page: no script but the site's files. The plotting library makes styles."""

_MARK = '<meta name="generator" content="benchbench leaderboard">'
"""Is in every page, and says of a folder that it may be built again."""


@without_garbage_collection()
def build(submissions: Sequence[Submission], out: Path, title: str) -> int:
    """Write the site of submissions.

    Args:
        submissions: The submissions, at least one.
        out: The folder to write: a new or empty one, or a site, which is replaced.
        title: Headline of the site.

    Returns:
        Number of runs that have a page.

    Raises:
        BadInputError: The folder has something else in it.
    """
    suite, entries = merge(submissions)
    results = Results(suite, entries)
    found = boards(results)
    index = out / "index.html"
    if index.is_file() and _MARK in index.read_text("utf-8", errors="replace"):
        shutil.rmtree(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadInputError([Problem("is neither empty nor a site that can be replaced", file=str(out))])
    pages = _Pages(out, title, suite)
    pages.assets()
    pages.bundles(submissions)
    colours = {method.label: number for number, method in enumerate(suite.methods)}
    scored = board_scores(results, found)
    anchored = [(f"board-{number + 1}-{slug(board.label)}", board) for number, board in enumerate(found)]
    for anchor, board in anchored:
        pages.data(anchor, plots.board_data(board, colours))
    pages.data("profile", plots.profile_data(scored, colours))
    pages.index(results, submissions, anchored, scored)
    for method in suite.methods:
        pages.method(method.label, method.category, anchored)
    with_page = {entry.key: entry for entry in reversed(entries) if entry.stored}
    tuning = {each.name: each.manifest.declaration.tuning for each in submissions if each.manifest}
    for entry in with_page.values():
        pages.run(entry, tuning.get(entry.submission, ""))
    return len(with_page)


def slug(label: str) -> str:
    """Return a name for files and anchors: of letters, digits and hyphens only, and different for different labels."""
    readable = re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")[:40]
    return f"{readable}-{hashlib.sha256(label.encode('utf-8', 'backslashreplace')).hexdigest()[:8]}".lstrip("-")


class _Pages:
    """Writes the files of a site.

    Args:
        out: The folder.
        title: Headline of the site.
        suite: Everything that is shown.
    """

    def __init__(self, out: Path, title: str, suite: Suite) -> None:
        first = {(spec.method, spec.workload_label): spec for spec in reversed(suite.specs)}
        self._out = out
        self._settings = {place: _block(_settings(spec)) for place, spec in first.items()}
        self._environment = templates("benchbench.leaderboard")
        self._environment.filters.update(
            amount=_amount,
            first_upper=lambda text: text[:1].upper() + text[1:],
            number=lambda value: f"{value:.6g}",
            in_words=lambda metric: describe(metric).full_title,
            # In the unit in which the same metric of the test data is shown.
            metric_value=lambda value, metric: shown(f"test/{metric.partition('/')[2]}", value),
            ranges=lambda board: dict(_ranges(board)),
            block=_block,
        )
        self._environment.globals.update(
            site_title=title,
            policy=POLICY,
            software=f"benchbench {own_version()}",
            currencies=CURRENCIES,
            spent=spent,
            slug=slug,
        )
        for folder in ("assets", "data", "methods", "runs", "bundles"):
            (out / folder).mkdir(parents=True)
        # The folder may be replaced, should writing the pages be cut short.
        self._write("index.html", _MARK)

    def assets(self) -> None:
        """Write styles, script and the plotting library."""
        from plotly.offline import get_plotlyjs

        for name in ("site.css", "theme.js", "site.js"):
            self._write(f"assets/{name}", files("benchbench.leaderboard").joinpath("assets", name).read_text("utf-8"))
        self._write("assets/plotly.min.js", get_plotlyjs())

    def bundles(self, submissions: Iterable[Submission]) -> None:
        """Write the bundles, from which everything on the site can be made again."""
        for each in submissions:
            if each.manifest:
                path = self._out / "bundles" / f"{slug(each.name)}.zip"
                if each.archive:
                    shutil.copyfile(each.archive, path)
                else:
                    bundle.write(each, each.manifest.declaration, each.manifest.date, path)

    def data(self, name: str, content: Any) -> None:
        """Write the data of figures as a script: pages that are opened from disk can load no JSON."""
        text = json.dumps(content, separators=(",", ":"), sort_keys=True, allow_nan=False)
        self._write(f"data/{name}.js", f'benchbench.add("{name}",{text});\n')

    def index(
        self,
        results: Results,
        submissions: Sequence[Submission],
        found: Sequence[tuple[str, Board]],
        scored: Scores,
    ) -> None:
        """Write the first page; boards come with their anchors."""
        methods = {line.method: line.category for _, board in found for line in board.lines}
        self._page(
            "index.html",
            "index.html.j2",
            root="",
            boards=found,
            methods=sorted(methods.items()),
            categories=sorted(set(methods.values()) - {""}),
            left_out=[*left_out(results), *results.notes],
            scores={name: {each.submission: each.score for each in of_all} for name, of_all in scored.of.items()},
            scored=max((len(each.times) for of_all in scored.of.values() for each in of_all), default=0),
            score_notes=scored.notes,
            unscored=sorted(scored.unscored.items()),
            submissions=submissions,
            commits={
                each.name: sorted({run.result.environment.get("commit", "") for run in each.runs.values()} - {""})
                for each in submissions
            },
            runs=sum(entry.stored is not None for entry in results.entries),
            workloads=len(results.suite.workloads),
            minimum_n=MINIMUM_N,
        )

    def method(self, label: str, category: str, found: Sequence[tuple[str, Board]]) -> None:
        """Write the page of a method."""
        here = [
            (anchor, board, line, self._settings[label, line.entries[0].spec.workload_label])
            for anchor, board in found
            for line in board.lines
            if line.method == label
        ]
        self._page(
            f"methods/{slug(label)}.html", "method.html.j2", root="../", label=label, category=category, here=here
        )

    def run(self, entry: Entry, tuning: str) -> None:
        """Write the page of a run."""
        assert entry.stored
        names = sorted({name for record in entry.stored.records for name in record.metrics})
        self._page(
            f"runs/{entry.key}.html",
            "run.html.j2",
            root="../",
            entry=entry,
            result=entry.stored.result,
            names=names,
            epochs=[(record.epoch, _epoch_cells(record, names)) for record in entry.stored.records],
            tuning=tuning,
            settings=self._settings[entry.spec.method, entry.spec.workload_label],
            log="\n".join(entry.stored.log.splitlines()[-LOG_LINES:]),
        )

    def _page(self, path: str, template: str, **values: Any) -> None:
        self._write(path, self._environment.get_template(template).render(mark=_MARK, **values))

    def _write(self, path: str, text: str) -> None:
        (self._out / path).write_bytes(text.encode("utf-8", "backslashreplace"))


def _settings(spec: RunSpec) -> str:
    labels = {"suite", "method", "workload_label", "seed", "measure", "timeout", "memory", "checkpoint_minutes"}
    return json.dumps(spec.model_dump(mode="json", exclude=labels), indent=2, ensure_ascii=False)


def _epoch_cells(record: EpochRecord, names: Sequence[str]) -> Markup:
    from markupsafe import Markup

    metrics = [f"{record.metrics[name]:.6g}" if name in record.metrics else NOTHING for name in names]
    cost = record.cost
    return Markup("</td><td>").join([*metrics, str(cost.gradients), str(cost.hvps), _amount(cost.train_seconds)])


def _block(text: str) -> Markup:
    """Return a text of several lines, escaped as a whole."""
    from markupsafe import escape

    return escape("\n".join(map(printable, text.splitlines())))


def _amount(value: float) -> str:
    """Return a cost as text, a dash for one that was not measured."""
    return NOTHING if math.isnan(value) else amount_text(value)


def _ranges(board: Board) -> Iterator[tuple[str, tuple[float, float, float]]]:
    """Yield for each ranked method where its interval begins, its mean lies and its interval ends, from 0 to 100."""
    ranked = [(line.method, line.value, line.interval) for line in board.lines if line.value is not None]
    ends = {method: interval or (value, value) for method, value, interval in ranked}
    low = min((first for first, _ in ends.values()), default=0.0)
    width = max((last for _, last in ends.values()), default=0.0) - low or 1.0
    for method, value, _ in ranked:
        first, last = ends[method]
        from_, mean, to = (round(2 + 96 * (each - low) / width, 1) for each in (first, value, last))
        yield method, (from_, mean, to)
