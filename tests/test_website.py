"""What the site has beside its pages, once its address is known: built from the same functions."""

import html
import importlib.util
import re
from types import SimpleNamespace

import pytest
from docutils import nodes
from docutils.utils import new_document

from tests.test_house import ROOT

spec = importlib.util.spec_from_file_location("website", ROOT / "book/_ext/website.py")
website = importlib.util.module_from_spec(spec)
spec.loader.exec_module(website)
ADDRESS = "https://somebody.github.io/a-book/"
WORDS = (
    'A first paragraph of the page, with "quotation marks" in it, and long enough to stand for it.'
)


@pytest.fixture
def app(tmp_path):
    doctree = new_document("index")
    doctree += nodes.paragraph(
        text="Needs: nothing but this long list of what a chapter needs, which says no more."
    )
    doctree += nodes.paragraph(text=WORDS)
    return SimpleNamespace(
        config=SimpleNamespace(
            html_baseurl=ADDRESS, html_title="", project="A book", root_doc="book/index"
        ),
        builder=SimpleNamespace(format="html", get_target_uri=lambda page: f"{page}.html"),
        env=SimpleNamespace(
            found_docs={"book/index", "notebooks/01"}, get_doctree=lambda name: doctree
        ),
        outdir=tmp_path,
    )


def head_of(app, name, doctree=None):
    context = {"title": "A page", "body": "", "metatags": "<meta>"}
    website.head(app, name, "page.html", context, doctree)
    return context["metatags"]


def test_a_page_has_a_policy_and_a_preview(app):
    tags = head_of(app, "book/index", app.env.get_doctree("book/index"))
    assert "default-src 'self'" in tags and tags.endswith("<meta>")
    described = re.search(r'property="og:description" content="([^"]*)"', tags)[1]
    assert html.unescape(described) == WORDS
    image = re.search(r'property="og:image" content="([^"]*)"', tags)[1]
    assert (ROOT / "book" / image.removeprefix(ADDRESS)).exists()
    assert f'property="og:url" content="{ADDRESS}book/index.html"' in tags


def test_without_an_address_nothing_points_anywhere(app):
    app.config.html_baseurl = ""
    for name in ("book/index", "404"):
        assert "http" not in head_of(app, name).replace("http-equiv", "")
    website.site_map(app, None)
    assert not list(app.outdir.iterdir())


def test_the_page_for_no_page_finds_the_others_from_any_depth(app):
    tags = head_of(app, "404")
    assert tags.index(f'og:url" content="{ADDRESS}404.html"') < tags.index("<base href=")
    ((name, context, _),) = website.no_page(app)
    assert name == "404" and "<a href='index.html'>" in context["body"]
    assert "<base" not in head_of(app, "book/index")


def test_the_site_map_lists_every_page(app):
    website.site_map(app, None)
    text = (app.outdir / "sitemap.xml").read_text(encoding="utf-8")
    assert re.findall("<loc>(.*)</loc>", text) == [
        f"{ADDRESS}book/index.html",
        f"{ADDRESS}notebooks/01.html",
    ]


def test_the_root_leads_to_the_first_page_and_has_its_preview(app):
    website.first_page(app, None)
    page = (app.outdir / "index.html").read_text(encoding="utf-8")
    assert "Content-Security-Policy" in page and 'property="og:image"' in page
    assert 'content="0; url=book/index.html"' in page and html.escape(WORDS) in page
