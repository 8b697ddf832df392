"""A browser without a window, for tests that click; they skip where there is none."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
# Drawing in software; and nothing that a browser does of its own accord.
OPTIONS = [
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
]


FRAMES = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


def picture(page: Any, what: str) -> bytes:
    """An element as it looks when the browser has drawn all that was asked for."""
    page.evaluate(FRAMES)
    found: bytes = page.locator(what).screenshot()
    return found


@contextmanager
def browser_page(**settings: Any) -> Iterator[Any]:
    """A page that fails the test on errors in its console, and on what it asks of other hosts."""
    playwright = pytest.importorskip("playwright.sync_api")
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("no Chromium on this machine")
    wrong: list[str] = []

    def asked(request: Any) -> None:
        if not request.url.startswith(("file:", "data:", "blob:", "http://localhost")):
            wrong.append(request.url)

    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=OPTIONS)
        page = browser.new_context(**settings).new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        page.on("request", asked)
        yield page
        browser.close()
    assert wrong == []
