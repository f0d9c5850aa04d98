"""What the README shows is what a newcomer can do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchbench import api
from tests.conftest import REPOSITORY

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    """Return the first code block in a language."""
    found = re.search(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.mark.usefixtures("workplace")
def test_the_optimizer_and_the_suite_beside_it_run(workplace: Path) -> None:
    (workplace / "my_optimizer.py").write_text(block("python"), encoding="utf-8")
    (workplace / "mine.yaml").write_text(block("yaml"), encoding="utf-8")
    suite = api.load_suite("mine.yaml", overrides=["workloads.digits-resnet8.epochs=1", "seeds=[0]"])
    rows = api.run(suite, engine="inline")
    assert [row.result.outcome if row.result else "" for row in rows] == ["finished"] * 3


def test_every_page_and_picture_that_the_readme_names_exists() -> None:
    names = re.findall(r"\]\((?!https?:)([^)#]+)", README) + re.findall(r'src="([^"]+)"', README)
    assert names
    assert [name for name in names if not (REPOSITORY / name).exists()] == []


@pytest.mark.parametrize("page", sorted((REPOSITORY / "docs").glob("*.md")), ids=lambda page: page.stem)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)", text)
    for name, anchor in links:
        target = (page.parent / name) if name else page
        assert target.exists(), name
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in anchors, f"{name}#{anchor}"
