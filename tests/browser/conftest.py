"""A browser, the built book served on loopback, and what goes wrong on a page."""

import contextlib
import functools
import http.server
import shutil
import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[2]
BOOK = ROOT / "_build/html"
# The page at the root only leads on.
PAGES = sorted(
    path.relative_to(BOOK).as_posix()
    for path in BOOK.rglob("*.html")
    if path != BOOK / "index.html"
)
VIEWS = [*PAGES, "search.html?q=PGD"]
CHAPTERS = [name for name in PAGES if name.startswith("notebooks/")]
assert len(CHAPTERS) == 10 and len(PAGES) > 18, "A part of the book is missing: type make book."
THEMES, WIDTHS = ("light", "dark"), (1280, 390)
UNFOLD = "() => document.querySelectorAll('details').forEach(fold => { fold.open = true; })"

_measured = []


@pytest.fixture(scope="session")
def measured():
    """A function that keeps a sentence, to be shown when all tests have run."""
    return _measured.append


def pytest_sessionfinish(session):
    """Hand what a process has measured to the one that shows it."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["measured"] = _measured


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    """Take what a process has measured."""
    _measured.extend(getattr(node, "workeroutput", {}).get("measured", []))


def pytest_terminal_summary(terminalreporter):
    """Show it."""
    for sentence in _measured:
        terminalreporter.write_line(f"[browser] {sentence}")


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files and logs nothing."""

    def log_message(self, *_):
        """Say nothing."""


@contextlib.contextmanager
def served(handler):
    """The address at which a handler answers, on loopback."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="session")
def site():
    """The address of the book on loopback."""
    with served(functools.partial(Quiet, directory=BOOK)) as address:
        yield address


@pytest.fixture(scope="session")
def browser():
    """The system's Chromium, without a window."""
    found = filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=next(found))
        yield chromium
        chromium.close()


def watch(page, base, faults):
    """Keep in `faults` what goes wrong on a page, and what it loads from elsewhere."""
    host = urlsplit(base)[:2]

    def request(asked):
        if urlsplit(asked.url)[:2] != host and not asked.url.startswith(("data:", "blob:")):
            faults.append(f"foreign: {asked.url}")

    def response(got):
        if got.status >= 400:
            faults.append(f"{got.status}: {got.url}")

    def failed(asked):
        if asked.failure != "net::ERR_ABORTED":  # a page that is left gives up what has not come
            faults.append(f"{asked.failure}: {asked.url}")

    def console(line):
        if line.type in ("error", "warning"):
            faults.append(line.text)

    page.on("request", request)
    page.on("response", response)
    page.on("requestfailed", failed)
    page.on("pageerror", lambda error: faults.append(f"error: {error}"))
    page.on("console", console)


@pytest.fixture
def visit(browser, site):
    """A function that opens a page. What has gone wrong on any fails the test at its end."""
    contexts, faults = [], []

    def open_page(name, theme="light", width=1280, base=site, **how):
        context = browser.new_context(
            color_scheme=theme, viewport={"width": width, "height": 900}, **how
        )
        contexts.append(context)
        page = context.new_page()
        watch(page, base, faults)
        page.goto(base + name)
        page.wait_for_load_state("networkidle")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not faults


def grave(page):
    """Return what axe finds serious or critical; without `preload` it fetches nothing."""
    options = {"resultTypes": ["violations"], "preload": False}
    return [
        (rule["id"], [node["target"] for node in rule["nodes"]][:5])
        for rule in Axe().run(page, options=options).response["violations"]
        if rule["impact"] in ("serious", "critical")
    ]
