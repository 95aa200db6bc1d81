"""Every page, in both themes, on a wide screen and on a phone."""

import functools
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest
from conftest import (
    BOOK,
    CHAPTERS,
    PAGES,
    THEMES,
    UNFOLD,
    VIEWS,
    WIDTHS,
    Quiet,
    grave,
    served,
    watch,
)

BELOW = "/somebody/a-book/"
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self'"
)

# Maths that MathJax has not set, in any element whose text is for reading.
UNSET = """() => [...document.querySelectorAll('.math')].filter(
    node => !node.querySelector('mjx-container') || node.querySelector('mjx-merror')
).map(node => node.textContent.slice(0, 80))"""
SIDEWAYS = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
EAGER = "() => { for (const image of document.images) image.loading = 'eager'; }"
WEIGHT = """() => performance.getEntries()
    .reduce((sum, { encodedBodySize = 0 }) => sum + encodedBodySize, 0)"""


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", VIEWS)
def test_a_page_is_whole(visit, name, theme):
    """Loaded in both widths; in one of them all is unfolded, and then made the other width."""
    widths = WIDTHS if theme == "light" else WIDTHS[::-1]
    for width in widths[::-1]:
        page = visit(name, theme, width)
        page.evaluate("() => window.MathJax && MathJax.startup && MathJax.startup.promise")
        assert page.evaluate(UNSET) == []
        assert page.evaluate("() => document.documentElement.dataset.theme") == theme
    page.evaluate(UNFOLD)
    for width in widths:
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(400)  # the theme looks 300 ms later for what scrolls
        assert page.evaluate(SIDEWAYS) <= 0, width
        assert not grave(page), width


def test_what_goes_wrong_on_a_page_is_noticed(browser, site):
    """By `visit`, which all these tests rely on."""
    page, faults = browser.new_page(), []
    watch(page, site, faults)
    page.goto(f"{site}404.html")
    page.evaluate(
        """() => {
            document.body.append(Object.assign(new Image(), {src: "/none.png"}));
            document.body.append(Object.assign(new Image(), {src: "http://127.0.0.2:9/a.png"}));
            setTimeout(() => { throw new Error("thrown"); });
            console.warn("warned");
        }"""
    )
    page.wait_for_load_state("networkidle")
    page.close()
    for start in ("404: http", "foreign: http://127.0.0.2", "csp: http", "error: thrown", "warned"):
        assert any(fault.startswith(start) for fault in faults), start


@pytest.mark.parametrize("name", VIEWS)
def test_a_page_opens_from_its_folder(visit, name):
    """Without a server, under the policy that the page itself sets."""
    page = visit(name, base=f"{BOOK.as_uri()}/")
    page.evaluate("() => window.MathJax && MathJax.startup && MathJax.startup.promise")
    assert page.evaluate(UNSET) == []


class Links(HTMLParser):
    """Collects where a page leads, and the places in it that others may lead to."""

    def __init__(self, text):
        super().__init__()
        self.addresses, self.anchors = set(), {"", "top"}
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.anchors |= {attributes.get("id"), attributes.get("name")}
        if tag == "a" and attributes.get("href"):
            self.addresses.add(attributes["href"])


@pytest.fixture(scope="session")
def links():
    return {name: Links((BOOK / name).read_text(encoding="utf-8")) for name in PAGES}


@pytest.mark.parametrize("name", PAGES)
def test_each_link_inside_the_book_leads_somewhere(links, name):
    lost = []
    for address in links[name].addresses:
        if re.match(r"\w+:|//", address):
            continue
        path, anchor = urldefrag(unquote(address))
        target = (BOOK / name).parent / path if path else BOOK / name
        page = target.resolve().relative_to(BOOK).as_posix()
        if not target.exists() or (page in links and anchor not in links[page].anchors):
            lost.append(address)
    assert not lost


def test_each_page_says_what_it_may_load():
    """All that end in .html, those for reading and others."""
    for name in ["index.html", *PAGES]:
        text = (BOOK / name).read_text(encoding="utf-8")
        policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
        assert policy and policy[1] == POLICY, name
        assert policy.start() < (text + "<script").index("<script"), name


@pytest.mark.parametrize("base", [None, f"{BOOK.as_uri()}/"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("theme", THEMES)
def test_the_root_leads_to_the_first_page(visit, site, theme, width, base):
    page = visit("index.html", theme, width, base or site)
    page.wait_for_url("**/book/index.html")
    assert page.title().startswith("Adversarial training")


def test_pages_are_in_a_row_and_chapters_can_be_kept(visit):
    """From the first page by "next" through all chapters, each with its notebook to download."""
    page = visit("book/index.html")
    seen = []
    while (link := page.locator("a.right-next")).count():
        address = urlsplit(link.get_attribute("href")).path
        page.goto(page.url.rsplit("/", 1)[0] + "/" + address)
        assert page.locator("a.left-prev").count() == 1
        seen.append(urlsplit(page.url).path.lstrip("/"))
        if seen[-1] in CHAPTERS:
            kept = page.locator("a.btn-download-source-button").get_attribute("href")
            notebook = page.context.request.get(page.url.rsplit("/", 1)[0] + "/" + kept)
            assert notebook.json()["nbformat"] == 4
    assert [name for name in seen if name in CHAPTERS] == CHAPTERS


@pytest.mark.parametrize("name", PAGES)
def test_each_figure_has_words_and_a_caption(name):
    text = (BOOK / name).read_text(encoding="utf-8")
    figures = re.findall(r"<figure.*?</figure>", text, flags=re.S)
    pictures = [figure for figure in figures if "<img " in figure]
    outputs = re.findall(r'<img [^>]*src="[./]*_images/[^>]*>', text)
    assert len(outputs) == len(pictures) and (pictures or name not in CHAPTERS)
    for figure in pictures:
        assert len(re.search(r'alt="([^"]*)"', figure)[1]) > 60 and "<figcaption>" in figure


def test_pages_are_light(visit, site, measured):
    """With all that they load, fonts and the pictures further down included, not compressed."""
    page, weights = visit("index.html"), []
    for name in PAGES:
        page.goto(site + name)
        page.evaluate(EAGER)
        page.wait_for_load_state("networkidle")
        weights.append((page.evaluate(WEIGHT) / 1e6, name))
    (middle, _), (most, heaviest) = sorted(weights)[len(weights) // 2], max(weights)
    measured(f"half of the pages weigh at most {middle:.1f} MB, {heaviest} weighs {most:.1f} MB")
    assert most < 6


class Published(Quiet):
    """Serves the book below another address, and the page for no page where there is none."""

    def do_GET(self):
        inside, self.path = self.path.startswith(BELOW), "/" + self.path.removeprefix(BELOW)
        if inside and Path(self.translate_path(self.path)).is_file():
            super().do_GET()
            return
        # The page says where it belongs once the address is known: see book/_ext/website.py.
        address = f"http://127.0.0.1:{self.server.server_port}{BELOW}404.html"
        text = (BOOK / "404.html").read_text(encoding="utf-8")
        tag = f'<meta property="og:url" content="{address}">'
        text = text.replace("<head>", f"<head>{tag}", 1)
        self.send_response(404)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(text.encode())


def test_a_page_that_is_not_there_leads_to_those_that_are(browser):
    """As the book is published: below another address, and asked for at any depth."""
    page, failed = browser.new_page(), []
    page.on("response", lambda got: failed.append(got.url) if got.status >= 400 else None)
    with served(functools.partial(Published, directory=BOOK)) as root:
        lost = f"{root}{BELOW[1:]}x/y/z"
        page.goto(lost)
        page.wait_for_load_state("networkidle")
        assert failed == [lost]
        assert page.locator("article h1").inner_text() == "There is no such page"
        skip = page.locator("a[href$='#main-content']").first.get_attribute("href")
        assert skip.endswith("x/y/z#main-content")
        page.locator("article a", has_text="To the first page").click()
        page.wait_for_url(f"{root}{BELOW[1:]}book/index.html")
        assert failed == [lost]
    page.close()
