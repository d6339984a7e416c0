"""Take the pictures of the pages from a report: `python docs/pictures.py results/report.html`.

Needs playwright and a Chromium; looks at the first data set of the report.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
# section, first and last pixel below its top
SECTIONS = {"leaderboard": ("#d1-leaderboard", 0, 825), "zeros": ("#d1-zeros", 510, 1110)}


def main(report: str) -> None:
    """Write docs/report.png, the first screen, and docs/pictures/<section>.png."""
    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1300, "height": 1000})
        page.set_default_timeout(600_000)
        page.goto(Path(report).resolve().as_uri())
        page.wait_for_function("document.documentElement.dataset.ready === 'true'")
        page.screenshot(path=HERE / "report.png")
        for name, (place, first, last) in SECTIONS.items():
            section = page.locator(place)
            section.scroll_into_view_if_needed()
            page.wait_for_timeout(2000)
            box = section.bounding_box()
            clip = {"x": box["x"], "y": box["y"] + first, "width": box["width"]}
            clip["y"] += page.evaluate("window.scrollY")
            page.screenshot(
                path=HERE / "pictures" / f"{name}.png",
                clip=clip | {"height": last - first},
                full_page=True,
            )
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1])
