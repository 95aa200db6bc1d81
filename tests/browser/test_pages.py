"""Every page, in both themes, on a wide screen and on a phone."""

import re
from html.parser import HTMLParser
from urllib.parse import unquote, urldefrag

import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import BOOK, PAGES, THEMES, WIDTHS

# Maths that MathJax has not set, in any element whose text is for reading.
UNSET = """() => [...document.querySelectorAll('.math')].filter(
    node => !node.querySelector('mjx-container') || node.querySelector('mjx-merror')
).map(node => node.textContent.slice(0, 80))"""
SIDEWAYS = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole(visit, name, theme):
    """Loaded once, then made narrow: to set the maths again would double the time."""
    page, faults = visit(name, theme)
    page.evaluate("() => window.MathJax && MathJax.startup && MathJax.startup.promise")
    assert page.evaluate(UNSET) == []
    assert page.evaluate("() => document.documentElement.dataset.theme") == theme
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate(SIDEWAYS) <= 0, width
        grave = [
            (width, rule["id"], [node["target"] for node in rule["nodes"]][:5])
            for rule in Axe().run(page).response["violations"]
            if rule["impact"] in ("serious", "critical")
        ]
        assert not grave
    assert not faults


@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_from_its_folder(visit, name):
    """Without a server, under the policy that the page itself sets."""
    page, faults = visit(name, base=f"{BOOK.as_uri()}/")
    page.evaluate("() => window.MathJax && MathJax.startup && MathJax.startup.promise")
    assert not faults
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
    for name in PAGES:
        text = (BOOK / name).read_text(encoding="utf-8")
        policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
        assert policy and policy[1].startswith("default-src 'self'; "), name
        assert policy.start() < text.index("<script"), name
