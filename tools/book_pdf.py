"""Print the built book into one PDF, with the print style of its pages.

    .venv-browser/bin/python tools/book_pdf.py _build/book.pdf

Chromium prints each page in the order of the table of contents, and each gets an entry in the
outline. Links from page to page are left out: they would lead to files of this machine.
"""

import io
import re
import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright
from pypdf import PdfWriter

ROOT = Path(__file__).parents[1]
BOOK = ROOT / "_build/html"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
READY = "() => window.MathJax && MathJax.startup && MathJax.startup.promise"
# Pictures below the first screen would be loaded late.
UNLINK = """() => {
    for (const image of document.images) image.loading = "eager";
    for (const link of document.querySelectorAll("a[href]"))
        if (link.protocol === "file:" && link.pathname !== location.pathname)
            link.removeAttribute("href");
}"""


def pages() -> list[str]:
    """Return the pages of the book, in the order of its table of contents."""
    contents = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    return re.findall(r"(?:root|file): (\S+)", contents)


def printed(browser, names: list[str]) -> PdfWriter:
    """Return one document of the pages named."""
    book, page = PdfWriter(), browser.new_page()
    for name in names:
        page.goto(f"{(BOOK / name).as_uri()}.html")
        page.evaluate(UNLINK)
        page.wait_for_load_state("networkidle")
        page.evaluate(READY)
        margin = dict.fromkeys(("top", "bottom", "left", "right"), "18mm")
        sheet = page.pdf(format="A4", margin=margin, print_background=True)
        title = page.locator("h1").first.inner_text().removesuffix("#").strip()
        book.append(io.BytesIO(sheet), outline_item=title)
    page.close()
    return book


def main() -> None:
    """Print the book."""
    found = next(filter(None, map(shutil.which, CHROMIUM)))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found)
        book = printed(browser, pages())
        browser.close()
    target = Path(sys.argv[1])
    book.write(target)
    print(f"{target}: {len(book.pages)} pages, {target.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
