"""What a reader does with a page: copy, unfold, search, switch the theme, go by keyboard."""

import json
import re

import pytest
from conftest import BOOK, PAGES, ROOT

CHAPTERS = [name for name in PAGES if name.startswith("notebooks/")]
NOTATION = (BOOK / "book/notation.html").read_text(encoding="utf-8")
GLOSSARY = re.findall(r'<dt id="term-[^>]*>([^<]+)<', NOTATION)


def test_a_cell_is_copied(visit):
    page, faults = visit(CHAPTERS[0], permissions=["clipboard-read", "clipboard-write"])
    cell = page.locator(".cell_input .highlight").nth(1)
    cell.hover()
    cell.locator("button.copybtn").click()
    copied = page.evaluate("() => navigator.clipboard.readText()")
    assert copied.strip() == cell.locator("pre").inner_text().strip() and not faults


@pytest.mark.parametrize("name", CHAPTERS)
def test_hints_and_solutions_unfold(visit, name):
    page, _ = visit(name)
    folds = page.locator("details:has(> summary:text-matches('^(Hint|Solution)$'))")
    assert folds.count() >= 4
    last = folds.last
    assert not last.locator("xpath=*[2]").is_visible()
    last.locator("summary").focus()
    page.keyboard.press("Enter")
    assert last.locator("xpath=*[2]").is_visible()


def test_the_theme_is_switched_and_kept(visit):
    page, faults = visit("book/index.html")
    theme = "() => document.documentElement.dataset.theme"
    for _ in range(3):  # auto, light, dark in turn
        page.locator("button.theme-switch-button:visible").first.click()
        if page.evaluate(theme) == "dark":
            break
    assert page.evaluate(theme) == "dark"
    page.reload()
    assert page.evaluate(theme) == "dark" and not faults


@pytest.mark.parametrize("term", GLOSSARY)
def test_the_search_finds_a_term_of_the_glossary(visit, term):
    page, faults = visit(f"search.html?q={term}")
    page.wait_for_selector("#search-results li a", timeout=20_000)
    found = [link.get_attribute("href") for link in page.locator("#search-results li a").all()]
    assert any("notation" in link for link in found) and not faults


LOOK = """node => { const style = getComputedStyle(node);
    return style.outline + style.boxShadow + style.backgroundColor + style.textDecoration; }"""


def test_the_whole_of_a_page_is_reached_by_keyboard(visit):
    """Tab goes through every link and button of the text, and each shows where the focus is."""
    page, _ = visit("book/index.html")
    nodes = [
        node
        for node in page.locator("article a[href], article button").element_handles()
        if node.evaluate("node => node.checkVisibility({visibilityProperty: true})")
    ]
    before = [node.evaluate(LOOK) for node in nodes]
    reached = set()
    for _ in range(400):
        page.keyboard.press("Tab")
        focused = page.evaluate_handle("() => document.activeElement")
        for i, node in enumerate(nodes):
            if i not in reached and node.evaluate("(node, other) => node === other", focused):
                reached.add(i)
                assert node.evaluate(LOOK) != before[i], node.inner_text()
        if len(reached) == len(nodes):
            break
    assert len(reached) == len(nodes)


def sources(kind):
    """Return {chapter: the text of its cells of a kind}."""
    texts = {}
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        texts[path.stem] = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == kind)
    return texts


def test_every_exercise_is_listed():
    page = (BOOK / "book/exercises.html").read_text(encoding="utf-8")
    listed = re.findall(r'<a class="reference internal" href="\.\./notebooks/(\w+)\.html#', page)
    for chapter, text in sources("code").items():
        assert listed.count(chapter) == len(re.findall(r"^exercises\.check_", text, flags=re.M))


def test_each_chapter_says_how_long_it_ran():
    page = (BOOK / "book/running_times.html").read_text(encoding="utf-8")
    for chapter in sources("code"):
        assert re.search(
            rf'notebooks/{chapter}\.html".*?</td>\s*<td><p>[\d,]+ s<', page, flags=re.S
        )


@pytest.mark.parametrize("chapter", sources("markdown"))
def test_equations_and_figures_are_numbered_and_their_mentions_lead_there(chapter):
    page = (BOOK / f"notebooks/{chapter}.html").read_text(encoding="utf-8")
    assert "caption-number" not in page  # Sphinx counts nothing by itself
    number = int(chapter[:2])
    tags = re.findall(r"\\tag\{(\d+\.\d+)\}", sources("markdown")[chapter])
    assert tags == [f"{number}.{i}" for i in range(1, len(tags) + 1)]
    anchors = re.findall(rf'id="(equation|figure)-{number}-(\d+)"', page)
    for kind, expected in (("equation", len(tags)), ("figure", page.count("<figcaption>"))):
        assert sorted(int(n) for k, n in anchors if k == kind) == list(range(1, expected + 1))
    mentions = re.findall(
        r"\b(?:figure \d+\.\d+|equation \(\d+\.\d+\))", sources("markdown")[chapter]
    )
    links = re.findall(r'href="[^"]*#(?:equation|figure)-\d+-\d+"', page)
    assert len(links) >= len(mentions)
