"""The check of the built pages: it finds what a browser would load from elsewhere, and no more."""

import pytest

from tools.check_pages import faults, missing

FOREIGN = {
    "a script": '<script src="https://cdn.example/a.js"></script>',
    "a script without its protocol": '<script src="//cdn.example/a.js"></script>',
    "an image": '<img alt="A seven." src="https://example.org/7.png">',
    "a font": '<link rel="preload" href="https://fonts.example/a.woff2">',
    "a style of another host": '<link rel="stylesheet" href="https://cdn.example/a.css">',
    "a frame": '<iframe src="https://example.org/video"></iframe>',
    "a film": '<video src="https://example.org/a.mp4"></video>',
    "a drawing": '<object data="https://example.org/a.svg"></object>',
    "a larger image": '<img alt="A seven." src="7.png" srcset="7.png 1x, http://example.org/7 2x">',
    "a source": '<picture><source srcset="//example.org/7.webp"></picture>',
    "a style attribute": "<p style=\"background: url('https://example.org/a.png')\">text</p>",
    "a style element": "<style>@import 'https://cdn.example/a.css';</style>",
    "a style in brackets": "<style>b { src: url( https://cdn.example/a.woff ) }</style>",
    "a fetch": "<script>if (1 < 2) fetch('https://example.org/data.json')</script>",
    "a module": '<script type="module">import a from "https://cdn.example/a.js"</script>',
    "a template": "<script>const host = `//cdn.example/${name}`</script>",
    "a script behind a comment": "<script>/* here */ load('https://example.org/a')</script>",
}
OWN = {
    "a link": '<a href="https://example.org">elsewhere</a>',
    "where the page belongs": '<link rel="canonical" href="https://example.org/page">',
    "a script of its own": '<script src="_static/a.js"></script><script>load("a//b.js")</script>',
    "an image of its own": '<img alt="A seven." src="_images/7.svg" srcset="7.png 1x, 14.png 2x">',
    "a style of its own": "<style>b { src: url(a.woff) }</style><p style='color: red'>text</p>",
    "text": "<p>fetch('https://example.org')</p>",
    "a comment": '<!-- <script src="https://cdn.example/a.js"></script> -->',
    "comments in a script": "<script>// 'https://a.example'\n/* '//b.example' */ f()</script>",
    "a name space": "<script>createElementNS('http://www.w3.org/2000/svg', 'g')</script>",
    "what a search engine reads": (
        '<script type="application/ld+json">{"url": "https://example.org"}</script>'
    ),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_what_comes_from_another_host_is_named(tmp_path, what):
    page = tmp_path / "page.html"
    page.write_text(f"<html><body>{FOREIGN[what]}<p>text</p></body></html>", encoding="utf-8")
    (fault,) = faults(page)
    assert fault.startswith(f"{page} loads ") and fault.endswith(" from another host.")
    assert "example" in fault


@pytest.mark.parametrize("what", OWN)
def test_links_and_what_the_book_holds_are_let_pass(tmp_path, what):
    page = tmp_path / "page.html"
    page.write_text(f"<html><body>{OWN[what]}<p>text</p></body></html>", encoding="utf-8")
    assert faults(page) == []


def test_a_style_sheet_is_searched(tmp_path):
    sheet = tmp_path / "a.css"
    rules = "a { background: url(a.png) } b { background: url('//example.org/b.png') }"
    sheet.write_text(rules, encoding="utf-8")
    assert faults(sheet) == [f"{sheet} loads //example.org/b.png from another host."]


@pytest.mark.parametrize("alt", ["", "alt=''", "alt=' '", "alt=_images/7", "alt=../_images/7"])
def test_a_figure_without_alternative_text_is_named(tmp_path, alt):
    page = tmp_path / "page.html"
    page.write_text(f'<img {alt} src="_images/7.svg">', encoding="utf-8")
    (fault,) = faults(page)
    assert fault.endswith("without alternative text.")


def test_a_file_that_is_not_there_is_named(tmp_path):
    page, sheet = tmp_path / "page.html", tmp_path / "a.css"
    page.write_text('<link rel="stylesheet" href="a.css?v=1"><img alt="A 7." src="#"><script src>')
    sheet.write_text("a { background: url(data:image/png;base64,AA) } b { src: url(b%20c.woff) }")
    assert missing(page) == []
    assert missing(sheet) == [f"{sheet} loads {tmp_path / 'b c.woff'}, which is not there."]
    (tmp_path / "b c.woff").touch()
    assert missing(sheet) == []
    sheet.unlink()
    assert missing(page) == [f"{page} loads {sheet}, which is not there."]
