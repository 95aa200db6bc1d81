"""What a reader does with a page: copy, unfold, search, switch the theme, go by keyboard."""

import json
import re
import sys

import pytest
from conftest import BOOK, CHAPTERS, PAGES, ROOT, THEMES, UNFOLD, VIEWS, WIDTHS

sys.path.append(str(ROOT))

from tools import book_pdf

NOTATION = (BOOK / "book/notation.html").read_text(encoding="utf-8")
GLOSSARY = re.findall(r'<dt id="term-[^>]*>([^<]+)<', NOTATION)
assert len(GLOSSARY) > 40


@pytest.mark.parametrize("name", [*CHAPTERS, "book/evaluate_your_own.html", "book/setup.html"])
def test_code_is_copied(visit, name):
    page = visit(name, permissions=["clipboard-read", "clipboard-write"])
    cell = page.locator(".highlight:has(button.copybtn)").nth(1)
    cell.hover()
    cell.locator("button.copybtn").click()
    copied = page.evaluate("() => navigator.clipboard.readText()")
    assert copied.strip() == cell.locator("pre").inner_text().strip()


@pytest.mark.parametrize("name", ["book/index.html", *CHAPTERS])
def test_folds_open_by_keyboard(visit, name):
    """Hints and solutions, and what the first page says of each chapter."""
    page = visit(name)
    hints = "details:has(> summary:text-matches('^(Hint|Solution)$'))"
    folds = page.locator(f"{hints}, details.sd-dropdown")
    assert folds.count() >= 4
    last = folds.last
    assert not last.locator("xpath=*[2]").is_visible()
    last.locator("summary").focus()
    page.keyboard.press("Enter")
    assert last.locator("xpath=*[2]").is_visible()


@pytest.mark.parametrize("name", ["book/index.html", "book/playground.html", CHAPTERS[1]])
def test_the_theme_is_switched_and_kept(visit, name):
    page = visit(name)
    theme = "() => document.documentElement.dataset.theme"
    for _ in range(3):  # auto, light, dark in turn
        page.locator("button.theme-switch-button:visible").first.click()
        if page.evaluate(theme) == "dark":
            break
    assert page.evaluate(theme) == "dark"
    page.reload()
    assert page.evaluate(theme) == "dark"


@pytest.mark.parametrize("term", GLOSSARY)
def test_the_search_finds_a_term_of_the_glossary(visit, term):
    page = visit(f"search.html?q={term}")
    page.wait_for_selector("#search-results li a", timeout=20_000)
    found = [link.get_attribute("href") for link in page.locator("#search-results li a").all()]
    assert any("notation" in link for link in found)


@pytest.mark.parametrize("base", [None, f"{BOOK.as_uri()}/"])
def test_the_search_dialog_leads_to_a_term(visit, site, base):
    """From the folder too, where a page may not fetch another: titles alone, and no fault."""
    page = visit(CHAPTERS[1], base=base or site)
    page.locator("button.search-button__button:visible").first.click()
    page.keyboard.type("adversarial example")
    page.keyboard.press("Enter")
    page.locator("#search-results a[href$='notation.html#term-adversarial-example']").click()
    page.locator("#term-adversarial-example:target").wait_for()


# What Tab has to reach, folds opened; a step takes off it what has the focus and looks like it.
WALK = """() => {
    const look = node => { const style = getComputedStyle(node);
        return style.outline + style.boxShadow + style.backgroundColor + style.textDecoration; };
    const stops = ":is(a[href], button, summary, input, [tabindex='0'])"
        + ":not([tabindex='-1'], :disabled, [type=radio]:not(:checked))";
    const left = new Map([...document.querySelectorAll(stops)]
        .filter(node => node.closest(".dropdown-menu")
            || node.checkVisibility({visibilityProperty: true}))
        .map(node => [node, look(node)]));
    window.walk = { left, step() {
        const node = document.activeElement;
        if (left.has(node) && look(node) !== left.get(node)) left.delete(node);
        return [left.size, node.matches("[data-bs-toggle=dropdown][aria-expanded=false]")];
    } };
}"""


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", VIEWS)
def test_the_whole_of_a_page_is_reached_by_keyboard(visit, name, width):
    """Tab goes through links, buttons, folds and the menu, and each shows where the focus is."""
    page = visit(name, width=width)
    page.evaluate(UNFOLD)
    page.wait_for_timeout(400)  # the theme looks 300 ms later for what scrolls
    page.evaluate(WALK)
    for _ in range(600):
        page.keyboard.press("Tab")
        left, closed = page.evaluate("() => walk.step()")
        if closed:
            page.keyboard.press("Enter")
        if not left:
            break
    assert page.evaluate("() => [...walk.left.keys()].map(node => node.outerHTML)") == []


def test_on_a_phone_the_menu_opens_and_closes_by_keyboard(visit):
    page = visit(CHAPTERS[0], width=390)
    link = page.locator(".bd-sidebar-primary a[href*='02_fgsm']").first
    assert not link.is_visible()
    page.locator("button.primary-toggle").focus()
    page.keyboard.press("Enter")
    link.wait_for(state="visible")
    page.keyboard.press("Escape")
    link.wait_for(state="hidden")


@pytest.mark.parametrize("theme", THEMES)
def test_a_printed_page_is_black_on_white_and_hides_nothing(visit, theme):
    page = visit(CHAPTERS[0], theme)
    page.emulate_media(media="print")
    themed = "theme => document.documentElement.dataset.theme === theme"
    page.wait_for_function(themed, arg="light", timeout=5000)
    looks = page.evaluate(
        """() => ["article p", "article pre span", "article h2"].map(selector =>
            getComputedStyle(document.querySelector(selector)).color)"""
    )
    for colour in looks:
        assert sum(map(int, re.findall(r"\d+", colour)[:3])) < 330, colour
    assert page.locator("details", has_text="Solution").last.locator("pre").first.is_visible()
    assert not page.locator(".bd-sidebar-primary").is_visible()
    page.emulate_media(media="screen")
    page.wait_for_function(themed, arg=theme, timeout=5000)


def test_pages_are_printed_into_one_file(browser):
    chapters = [name.removesuffix(".html") for name in CHAPTERS[:2]]
    book = book_pdf.printed(browser, chapters)
    text = "".join(page.extract_text() for page in book.pages)
    assert len(book.pages) > 10
    assert book.outline[0]["/Title"].endswith("Standard training") and len(book.outline) == 2
    assert all(words in text for words in ("Standard training", "one step", "Solution"))
    assert "file:" not in str([page.get("/Annots", []) for page in book.pages])


def test_the_file_of_the_book_holds_every_chapter_and_no_page_that_is_lost():
    assert {f"{name}.html" for name in book_pdf.pages()} <= set(PAGES)
    assert set(CHAPTERS) <= {f"{name}.html" for name in book_pdf.pages()}


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
            rf'notebooks/{chapter}\.html".*?<p>(easy|medium|hard)</p></td>\s*<td><p>[^<]*to read'
            r"[^<]*</p></td>\s*<td><p>\d+\xa0s<",
            page,
            flags=re.S,
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
        r"\b([Ff]igure |[Ee]quation \()(\d+)\.(\d+)", sources("markdown")[chapter]
    )
    links = re.findall(r'<a class="reference internal" href="[^"]*#(\w+)-(\d+)-(\d+)"', page)
    for kind, chapter_number, i in mentions:
        target = (kind.lower().strip(" ("), chapter_number, i)
        asked = sum((k.lower().strip(" ("), c, n) == target for k, c, n in mentions)
        assert links.count(target) >= asked, target
