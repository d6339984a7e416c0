"""Pages of the report in Debian's Chromium, without a network."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from report_results import MORE, Results

from countae.report import write_report

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
READY = "document.documentElement.dataset.ready === 'true'"
PATIENCE = 120_000  # milliseconds; a machine may be busy
# left to right, right to left, an element, quotes, a formula
HOSTILE = "<script>alert(1)</script>\"'\u202e\u05d0\u05d1"
FORMULA = "=1+1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser():
    """Chromium of the system; a machine without one fails here, and does not pass."""
    from playwright.sync_api import sync_playwright

    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    assert path, "no chromium: install it (Debian: apt-get install chromium) or set CHROMIUM"
    with sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def one(tmp_path_factory) -> Path:
    """Report of one data set, all of whose names are hostile."""
    made = Results(tmp_path_factory.mktemp("one"))
    made.dataset, made.labels, made.notes = HOSTILE, [HOSTILE, "T"], [HOSTILE]
    made.genes[-1], made.genes[-2] = HOSTILE, FORMULA
    made.referee, made.oracle = made.confusion(), True
    made.protocols = {"thinning": made.other_protocol(False, f"Under thinning {HOSTILE} wins.")}
    output = made.root / "report.html"
    write_report([made.write()], output, title=HOSTILE)
    return output


@pytest.fixture(scope="session")
def two(tmp_path_factory) -> Path:
    """Report of two data sets, with everything compressed that can be."""
    from countae.report import embed

    root = tmp_path_factory.mktemp("two")
    folders = []
    for name in ("first", "second"):
        made = Results(root)
        made.dataset = made.folder = name
        made.losses += MORE
        made.stress, made.downstream = made.stressed(), made.later()
        folders.append(made.write())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embed, "MANY_GENES", 10)
        patch.setattr(embed, "LONG_FIGURES", 10)
        write_report(folders, root / "report.html", title="Two")
    return root / "report.html"


class Opened:
    """A page that is ready, with everything that the browser complained of or asked for."""

    def __init__(self, browser, path: Path, **options) -> None:
        self.context = browser.new_context(offline=True, accept_downloads=True, **options)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda said: self.complaints.append(f"{said.type}: {said.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append("dialog") or dialog.dismiss())
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())
        self.page.wait_for_function(READY, timeout=PATIENCE)

    def genes(self, key: str = "d1"):
        """The table of genes, once it is filled, which it is when it comes near."""
        self.page.locator(f"#{key}-genes").scroll_into_view_if_needed()
        table = self.page.locator(f"#{key}-genes .gene-table[data-ready=true]")
        table.wait_for(timeout=PATIENCE)
        return table

    def saved(self, button) -> bytes:
        """Content of the file that a button saves."""
        with self.page.expect_download(timeout=PATIENCE) as download:
            button.click()
        return Path(download.value.path()).read_bytes()


@pytest.fixture
def opened(browser) -> Iterator:
    """Function that opens a page."""
    pages: list[Opened] = []

    def open_(path: Path, **options) -> Opened:
        pages.append(Opened(browser, path, **options))
        return pages[-1]

    yield open_
    for each in pages:
        each.context.close()


@pytest.fixture(scope="module")
def report(browser, one) -> Iterator[Opened]:
    """The page of one data set; tests leave it as it was."""
    made = Opened(browser, one)
    yield made
    made.context.close()
