"""The site in headless Chromium: sorting, filters, themes, figures, keyboard, narrow windows, contrast, stillness."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchbench.leaderboard import site
from benchbench.leaderboard.submission import Submission
from tests.helpers.synthetic_submissions import stored, submission

webdriver = pytest.importorskip("selenium.webdriver")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import Select, WebDriverWait  # noqa: E402

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")

pytestmark = [
    pytest.mark.xdist_group("browser"),
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs Debian's packages chromium and chromium-driver"),
]

HOSTILE = "<img src=x onerror=document.title='broken'>"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site with an order, ties, a lost seed, two categories and a name that is HTML."""
    made = submission({"Zeta": 0.6, "Alpha": 0.9, HOSTILE: 0.9, "Lost": 0.8}, workloads=("one", "two"))
    categories = ("Plain", "Fancy", "Plain", "Fancy")
    methods = tuple(
        method.model_copy(update={"category": category})
        for method, category in zip(made.suite.methods, categories, strict=True)
    )
    runs = dict(made.runs)
    spec = next(spec for spec in made.suite.specs if spec.method == "Lost")
    runs[spec.key] = stored(spec, 0.1, outcome="diverged")
    out = tmp_path_factory.mktemp("browser") / "site"
    site.build([Submission("made", made.suite.model_copy(update={"methods": methods}), runs)], out, "Board")
    return out


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    driver.execute_cdp_cmd(
        "Page.addScriptToEvaluateOnNewDocument",
        {
            "source": "window.shift = 0; new PerformanceObserver((list) => {"
            "for (const each of list.getEntries()) window.shift += each.value; })"
            ".observe({type: 'layout-shift', buffered: true});"
        },
    )
    yield driver
    driver.quit()


@pytest.fixture(autouse=True)
def no_error_in_the_console(browser: Any) -> Iterator[None]:
    browser.get_log("browser")
    yield
    assert browser.get_log("browser") == []


def show(browser: Any, path: Path, *, width: int = 1280, dark: bool = False) -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    browser.get(path.as_uri())


def methods(browser: Any, board: int = 0) -> list[str]:
    table = browser.find_elements(By.CSS_SELECTOR, ".board table")[board]
    return [cell.text for cell in table.find_elements(By.CSS_SELECTOR, "tbody th.method") if cell.is_displayed()]


def header(browser: Any, name: str) -> Any:
    return browser.find_element(By.XPATH, f"(//section[contains(@class, 'board')])[1]//thead//button[.='{name}']")


def draw_all(browser: Any) -> None:
    for figure in browser.find_elements(By.CSS_SELECTOR, "figure.plot"):
        browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", figure)
        WebDriverWait(browser, 30).until(lambda _, figure=figure: figure.get_attribute("data-drawn") is not None)


def test_tables_are_sorted_by_click_and_by_keyboard(browser: Any, pages: Path) -> None:
    show(browser, pages / "index.html")
    ranked = methods(browser)
    assert set(ranked[:2]) == {"Alpha", HOSTILE}
    assert ranked[2:] == ["Zeta", "Lost"]
    mean = header(browser, "Mean ± std")
    mean.click()
    assert methods(browser)[0] == "Zeta"
    assert methods(browser)[-1] == "Lost"  # without a mean
    mean.send_keys(Keys.ENTER)
    assert methods(browser)[-2:] == ["Zeta", "Lost"]
    assert mean.find_element(By.XPATH, "..").get_attribute("aria-sort") == "descending"
    place = header(browser, "Place")
    browser.execute_script("arguments[0].focus()", place)
    place.send_keys(Keys.SPACE)
    assert methods(browser) == ranked
    assert mean.find_element(By.XPATH, "..").get_attribute("aria-sort") is None


def test_filters_narrow_down_what_is_shown(browser: Any, pages: Path) -> None:
    show(browser, pages / "index.html")
    Select(browser.find_element(By.ID, "category")).select_by_visible_text("Fancy")
    assert set(methods(browser)) == {"Alpha", "Lost"}
    browser.find_element(By.ID, "search").send_keys("alp")
    assert methods(browser) == ["Alpha"]
    assert browser.find_element(By.ID, "shown").text == "1 method shown"
    Select(browser.find_element(By.ID, "workload")).select_by_index(2)
    shown = [each.text for each in browser.find_elements(By.CSS_SELECTOR, ".board h2") if each.is_displayed()]
    assert shown == ["two"]


def test_the_currency_changes_columns_and_figures(browser: Any, pages: Path) -> None:
    show(browser, pages / "index.html")
    draw_all(browser)
    axis = "return document.querySelector('[data-plot=pareto] .xtitle').textContent"
    assert browser.execute_script(axis) == "GC (paper) per run"
    Select(browser.find_element(By.ID, "currency")).select_by_visible_text("steps")
    WebDriverWait(browser, 30).until(lambda _: browser.execute_script(axis) == "steps per run")
    first = browser.find_element(By.CSS_SELECTOR, ".board table")
    shown = [each.text for each in first.find_elements(By.CSS_SELECTOR, "thead th") if each.is_displayed()]
    assert "Steps" in " ".join(shown)
    assert "Gradient" not in " ".join(shown)


def test_the_theme_follows_the_system_until_it_is_chosen(browser: Any, pages: Path) -> None:
    back = "return getComputedStyle(document.body).backgroundColor"
    show(browser, pages / "index.html")
    light = browser.execute_script(back)
    show(browser, pages / "index.html", dark=True)
    dark = browser.execute_script(back)
    assert light != dark
    browser.find_element(By.ID, "theme").click()
    assert browser.execute_script(back) == light
    browser.execute_script("localStorage.clear()")


@pytest.mark.parametrize("page", ["index", "methods", "runs"])
def test_nothing_moves_and_nothing_runs_out_of_a_narrow_window(page: str, browser: Any, pages: Path) -> None:
    path = pages / "index.html" if page == "index" else sorted((pages / page).iterdir())[0]
    for width in (360, 1280):
        show(browser, path, width=width)
        draw_all(browser)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        assert browser.execute_script("return window.shift") == 0


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("page", ["index", "methods", "runs"])
def test_no_rule_of_accessibility_is_broken(page: str, dark: bool, browser: Any, pages: Path) -> None:
    axe = pytest.importorskip("axe_selenium_python")
    path = pages / "index.html" if page == "index" else sorted((pages / page).iterdir())[0]
    show(browser, path, dark=dark)
    draw_all(browser)
    checker = axe.Axe(browser)
    checker.inject()
    found = checker.run()["violations"]
    assert [(rule["id"], [node["html"] for node in rule["nodes"]][:3]) for rule in found] == []


def test_names_are_text_in_tables_and_figures(browser: Any, pages: Path) -> None:
    show(browser, pages / "index.html")
    draw_all(browser)
    assert HOSTILE in methods(browser)
    assert browser.title == "Board"
    assert browser.execute_script("return document.querySelectorAll('img').length") == 0
    legend = browser.execute_script("return document.querySelector('[data-plot=pareto] .legend').textContent")
    assert HOSTILE in legend


def test_the_policy_keeps_what_gets_into_a_page_from_running(browser: Any, pages: Path) -> None:
    injected = """
    const run = (word) => `window.ran = (window.ran ?? '') + ' ${word}'`;
    const script = document.createElement('script');
    script.textContent = run('inline');
    document.body.append(script);
    const elsewhere = document.createElement('script');
    elsewhere.src = 'data:text/javascript,' + run('elsewhere');
    document.body.append(elsewhere);
    const link = document.createElement('a');
    link.href = 'javascript:' + run('link');
    document.body.append(link);
    document.body.insertAdjacentHTML('beforeend', `<img src=nowhere onerror="${run('handler')}">`);
    link.click();
    """
    for page in (pages / "index.html", *(sorted((pages / each).iterdir())[0] for each in ("methods", "runs"))):
        show(browser, page)
        draw_all(browser)
        browser.execute_script(injected)
        messages: list[str] = []

        def refused(_: Any, messages: list[str] = messages) -> bool:
            messages += [entry["message"] for entry in browser.get_log("browser")]
            return sum("Content Security Policy" in each for each in messages) >= 4

        WebDriverWait(browser, 30).until(refused)
        assert browser.execute_script("return window.ran") is None


def test_everything_can_be_read_without_scripts(browser: Any, pages: Path) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        show(browser, pages / "index.html")
        assert len(browser.find_elements(By.CSS_SELECTOR, ".board tbody tr")) == 8
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
