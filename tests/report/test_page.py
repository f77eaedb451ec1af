"""The HTML page: what is in the file, and what a browser makes of it."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import gailbench.report.page
from gailbench.report import findings_of
from gailbench.report.page import page

WriteRun = Callable[..., Path]
EVIL = "</script><img src=x onerror=alert(1)>\"'&"
CHROMIUM = next((path for name in ("chromium", "chromium-browser") if (path := shutil.which(name))), None)
KINDS = ("dot", "mean", "theirs")  # a trajectory, a run of ours, a run of the paper's
DRIVER = shutil.which("chromedriver")


@pytest.fixture
def html(results: Path, write_run: WriteRun, tmp_path: Path, baselines: pd.DataFrame) -> str:
    """A page with a cell that matches, one that is worse and three that are open, and a method with a wild name."""
    spread = np.resize([-1.0, 0.0, 1.0], 50)
    write_run(trajectories=11, returns=[101.0] * 25 + [103.0] * 25)
    write_run(algorithm="fem", trajectories=11, returns=list(30 + spread))
    write_run(algorithm="bc", trajectories=4, returns=list(60 * spread))
    write_run(algorithm="bc", trajectories=11, returns=list(88 + 60 * spread))
    write_run(task="reacher", settings="entropy_weight-0.001", trajectories=4, returns=[-20.0])
    write_run(settings="iterations-100", iterations=100)
    other = tmp_path / "other.csv"
    rows = pd.DataFrame({"task": "walker", "algorithm": EVIL, "trajectories": 18, "seed": [0, 1], "episode": 0})
    rows.assign(**{"return": [90.0, 95.0]}).to_csv(other, index=False)
    (results / "experts").mkdir()
    (results / "experts" / "walker.csv").write_text("iteration,steps,return_mean\n1,50000,1\n2,100000,50\n")
    return page(findings_of(results, [other], baselines))


def test_the_page_needs_nothing_else(html: str) -> None:
    assert len(html.encode()) < 15_000_000
    assert not re.search(r"""(src|href)\s*=\s*["'](?!#|data:)""", html)
    assert "@import" not in html
    assert "url(" not in html
    assert "default-src 'none'" in html


def test_labels_of_a_user_stay_text(html: str) -> None:
    assert "<img" not in html
    assert EVIL not in html
    assert "&lt;/script&gt;&lt;img src=x" in html
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert EVIL in {cell["method"] for cell in json.loads(data)["cells"]}


def test_the_page_has_every_cell_with_its_verdict(html: str) -> None:
    assert html.count('class="open-cell"') == 137
    assert len(re.findall(r'<td class="cell v-matches"', html)) == 1
    assert len(re.findall(r'<td class="cell v-worse"', html)) == 1
    assert len(re.findall(r'<td class="cell v-open"', html)) == 3
    assert "iterations-100" in html


def test_the_script_can_be_read() -> None:
    folder = Path(gailbench.report.page.__file__).parent / "templates"
    assert {path.name for path in folder.glob("*.js")} == set(gailbench.report.page.SCRIPTS)
    for path in folder.glob("*.js"):
        assert max(len(line) for line in path.read_text().splitlines()) < 100, path.name


def test_a_cell_has_the_papers_runs_and_failures(results: Path, write_run: WriteRun, baselines: pd.DataFrame) -> None:
    baselines.loc["acrobot"] = [-200.0, -75.25]
    for seed in range(7):
        write_run(task="acrobot", algorithm="fem", trajectories=4, seed=seed, returns=[-76.0] * 50)
    (data,) = re.findall(
        r'<script type="application/json" id="data">(.*?)</script>',
        page(findings_of(results, baselines=baselines)),
        re.DOTALL,
    )
    (cell,) = [cell for cell in json.loads(data)["cells"] if cell["runs"]]
    assert len(cell["paper_runs"]) == 7
    assert min(cell["paper_runs"]) == -200
    assert cell["failures"] == "failed 0/7, the paper's 1/7, p = 1"


def test_an_empty_folder_makes_a_page(results: Path, baselines: pd.DataFrame) -> None:
    html = page(findings_of(results, baselines=baselines))
    assert "None of the paper&#39;s 136 cells has runs yet." in html
    assert "No statistics yet" in html


def test_long_curves_are_averaged_to_what_the_page_shows(
    results: Path, write_run: WriteRun, baselines: pd.DataFrame
) -> None:
    write_run(iterations_of_curve=500)
    html = page(findings_of(results, baselines=baselines))
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    (run,) = [run for cell in json.loads(data)["cells"] for run in cell["runs"]]
    assert len(run["curve"]["steps"]) <= 60
    assert run["curve"]["return_mean"][0] == 500  # of iterations 1 to 9


# In a browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A headless Chromium that logs its console and every request."""
    if CHROMIUM is None or DRIVER is None:
        if os.environ.get("GAILBENCH_BROWSER") == "required":
            pytest.fail("chromium and chromedriver are not on the PATH")
        pytest.skip("chromium and chromedriver are not on the PATH (Debian: apt-get install chromium chromium-driver)")
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for switch in (
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        f"--user-data-dir={tmp_path_factory.mktemp('profile')}",
    ):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser: Any, html: str, tmp_path: Path) -> Iterator[Any]:
    """The page in the browser; afterwards there is no console message, and the file was all that was asked for."""
    path = tmp_path / "report.html"
    path.write_text(html)
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    _show(browser, 1400, "light")
    browser.get(path.as_uri())
    yield browser
    assert browser.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = {m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"}
    browsers_own = ("data:", "chrome:", "chrome-untrusted:")  # its new tab
    assert {url.partition("#")[0] for url in asked if not url.startswith(browsers_own)} == {path.as_uri()}


def _show(browser: Any, width: int, scheme: str) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def _all(browser: Any, selector: str) -> list[Any]:
    return [found for found in browser.find_elements("css selector", selector) if found.is_displayed()]


def _rows(browser: Any) -> list[tuple[str, str]]:
    rows = _all(browser, ".cells tbody tr")
    return [(row.get_attribute("data-task"), row.get_attribute("data-trajectories")) for row in rows]


def _unfold(browser: Any) -> None:
    _press(browser, "#fold")


def _press(browser: Any, selector: str) -> None:
    browser.find_element("css selector", selector).click()


def test_rows_without_runs_are_folded_into_one_line(opened: Any) -> None:
    shown = [("walker", "4"), ("walker", "11"), ("walker", "18"), ("reacher", "4")]
    assert _rows(opened) == shown
    (fold,) = _all(opened, "#fold")
    assert "30 rows without runs of ours (cartpole, acrobot, mountaincar, halfcheetah, hopper, walker, ant" in fold.text
    assert fold.get_attribute("aria-expanded") == "false"
    fold.click()
    assert len(_rows(opened)) == 34
    assert fold.get_attribute("aria-expanded") == "true"
    fold.click()
    assert _rows(opened) == shown
    _press(opened, ".filter[data-value='hopper']")  # who asks for a task sees its rows
    assert {task for task, _ in _rows(opened)} == {"hopper"}


def test_lines_have_a_legend_and_profiles_are_steps(opened: Any) -> None:
    _press(opened, "#task-choice option[value='walker']")
    for name in ("methods", "strips-legend", "curves-legend", "experts-legend", "seeds-legend"):
        (legend,) = _all(opened, f"#{name}")
        assert legend.text, name
    paths = [path.get_attribute("d") for path in opened.find_elements("css selector", "#profiles path")]
    assert paths
    assert all(re.fullmatch(r"M[\d. ]+(H[\d.]+V[\d.]+)+", path) for path in paths)


def test_a_phone_gets_tables_that_scroll_with_a_cue(opened: Any) -> None:
    _show(opened, 390, "light")
    opened.refresh()
    assert opened.execute_script("return document.documentElement.scrollHeight") < 8000
    tables = _all(opened, ".scroll.wide-only")
    assert tables
    for table in tables:
        assert table.get_property("scrollWidth") > table.get_property("clientWidth")
        assert "more" in table.get_attribute("class").split()
        cue = opened.execute_script("return arguments[0].previousElementSibling", table)
        assert cue.text == "more to the right →"
        opened.execute_script("arguments[0].scrollLeft = 10000; arguments[0].dispatchEvent(new Event('scroll'))", table)
        assert not cue.is_displayed()
    _unfold(opened)
    assert opened.execute_script("return document.documentElement.scrollHeight") < 8000
    assert opened.execute_script("return document.documentElement.scrollWidth") <= 390


def test_rows_are_sorted_by_a_column(opened: Any) -> None:
    _unfold(opened)
    before = _rows(opened)
    assert before[0] == ("cartpole", "1")
    _press(opened, "th[data-sort='BC'] button")
    assert _rows(opened)[:2] == [("walker", "11"), ("walker", "4")]  # the only ones with a score
    assert opened.find_element("css selector", "th[data-sort='BC']").get_attribute("aria-sort") == "descending"
    _press(opened, "#sort option[value='gail']")
    assert _rows(opened)[0] == ("walker", "11")
    _press(opened, "#sort option[value='']")
    assert _rows(opened) == before


def test_tasks_and_algorithms_are_filtered(opened: Any) -> None:
    _press(opened, ".filter[data-value='walker']")
    assert {task for task, _ in _rows(opened)} == {"walker"}
    assert len(_all(opened, "table.cells")) == 1  # reacher's is empty now
    _press(opened, ".filter[data-value='gail']")
    methods = {cell.get_attribute("data-method") for cell in _all(opened, ".cells td.cell")}
    assert methods == {"GAIL"}
    assert opened.find_element("css selector", ".filter[data-value='bc']").get_attribute("aria-pressed") == "false"
    _press(opened, "#all")
    assert len(_rows(opened)) == 34  # and stays unfolded


def test_a_cell_shows_its_runs_curve_trajectories_and_command(opened: Any) -> None:
    _press(opened, ".v-matches .open-cell")
    dialog = opened.find_element("id", "details")
    assert dialog.is_displayed()
    assert opened.find_element("id", "details-title").text == "walker, GAIL, 11 trajectories"
    assert "matches the paper" in dialog.text
    titles = [caption.text for caption in _all(opened, "#details figcaption")]
    assert titles[:2] == ["Evaluation trajectories", "True return while learning, a line per seed"]
    assert "Jensen-Shannon divergence, lower bound (nats)" in titles
    circles = {kind: len(opened.find_elements("css selector", f"#details circle.{kind}")) for kind in KINDS}
    assert circles == {"dot": 50, "mean": 1, "theirs": 1}
    command = "gailbench run --task walker --sizes 11 --algorithms gail --seeds 0"
    assert opened.find_element("id", "command").text == command
    row = [cell.text for cell in _all(opened, "#details tbody td")]
    assert row[:6] == ["0", "102.0", "1.02", "101.0", "102.0", "103.0"]  # the median of two returns lies between them
    _press(opened, "#close")
    assert not dialog.is_displayed()


def test_the_keyboard_reaches_everything(opened: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    _unfold(opened)
    first = opened.find_element("css selector", ".cells .open-cell")
    opened.execute_script("arguments[0].focus()", first)
    first.send_keys(Keys.ARROW_DOWN)
    opened.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    opened.switch_to.active_element.send_keys(Keys.ENTER)
    assert opened.find_element("id", "details-title").text == "cartpole, FEM, 4 trajectories"
    assert "gailbench run --task cartpole --sizes 4 --algorithms fem --seeds 0,1,2,3,4,5,6" in (
        opened.find_element("id", "command").text
    )
    opened.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert opened.find_element("id", "details-title").text == "cartpole, GTAL, 4 trajectories"
    opened.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not opened.find_element("id", "details").is_displayed()
    assert "cartpole, GTAL, 4" in opened.switch_to.active_element.get_attribute("aria-label")


def test_hovering_a_cell_shows_what_it_holds(opened: Any) -> None:
    from selenium.webdriver import ActionChains

    cell = opened.find_element("css selector", ".v-worse .open-cell")
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", cell)
    ActionChains(opened).move_to_element(cell).perform()
    tip = opened.find_element("id", "tip")
    assert tip.is_displayed()
    assert "walker, FEM, 11: worse than the paper" in tip.text
    assert "gailbench run --task walker --sizes 11 --algorithms fem --seeds 0" in tip.text


def test_task_and_quantity_choose_the_charts(opened: Any) -> None:
    _press(opened, "#task-choice option[value='walker']")
    strips = [caption.text for caption in _all(opened, "#strips figcaption")]
    drawn = ["11 trajectories", "11 trajectories, other runs"]
    assert strips == ["4 trajectories", *drawn, "18 trajectories", "25 trajectories"]
    for name in ("jensen_shannon", "return_mean"):
        _press(opened, f"#quantity option[value='{name}']")
        assert [caption.text for caption in _all(opened, "#curves figcaption")] == drawn
    assert len(_all(opened, "#figure1 figure")) == 9
    assert len(_all(opened, "#expert-curves figure")) == 1


def test_other_runs_are_drawn_beside_the_tables_and_open_like_cells(opened: Any) -> None:
    assert [caption.text for caption in _all(opened, "#other-scores figcaption")] == ["walker"]
    legend = opened.find_element("id", "others-legend").text
    assert "GAIL, iterations-100" in legend
    assert "FEM" not in legend
    _press(opened, "#others .open-cell")
    assert opened.find_element("id", "details-title").text == "walker, GAIL, iterations-100, 11 trajectories"
    assert "no verdict" in opened.find_element("id", "details-body").text
    assert "True return while learning, a line per seed" in [
        caption.text for caption in _all(opened, "#details figcaption")
    ]
    _press(opened, "#close")


@pytest.mark.parametrize("width", [1400, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_its_window_in_both_color_schemes(opened: Any, width: int, scheme: str) -> None:
    _show(opened, width, scheme)
    assert opened.execute_script("return document.documentElement.scrollWidth") <= width
    color = opened.execute_script("return getComputedStyle(document.body).backgroundColor")
    dark = sum(map(int, re.findall(r"\d+", color)[:3])) < 300
    assert dark == (scheme == "dark")
    _press(opened, "#theme")
    assert opened.execute_script("return getComputedStyle(document.body).backgroundColor") != color
    _press(opened, ".v-matches .open-cell")
    box = opened.find_element("id", "details").rect
    assert 0 <= box["x"]
    assert box["x"] + box["width"] <= width
