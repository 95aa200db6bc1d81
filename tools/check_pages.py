"""Check the built pages: they load nothing from another host, and each figure has its text."""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

BOOK = Path(__file__).parents[1] / "_build/html"
# Tags that make the browser load something, and where they say what.
LOADING = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}


class Loads(HTMLParser):
    """Collects what a page loads by itself, not where its links lead, and what its figures say."""

    def __init__(self):
        super().__init__()
        self.addresses = []
        self.silent = []

    def handle_starttag(self, tag, attributes):
        """Note what this tag loads, and an image whose alternative text is none."""
        attributes = dict(attributes)
        if tag == "img" and attributes.get("alt", "_images/").startswith(
            ("../_images/", "_images/")
        ):
            self.silent.append(attributes.get("src"))
        if tag in LOADING and attributes.get("rel") not in ("canonical", "search", "next", "prev"):
            self.addresses.append(attributes.get(LOADING[tag]) or "")


def faults(path):
    """Return one sentence for each fault of one file of the book."""
    text = path.read_text(encoding="utf-8")
    page = Loads()
    if path.suffix == ".css":
        page.addresses = re.findall(r"(?:url\(|@import )[\"']?([^\"')]+)", text)
    else:
        page.feed(text)
    foreign = [address for address in page.addresses if re.match(r"(https?:)?//", address)]
    return [f"{path} loads {address} from another host." for address in foreign] + [
        f"{path} shows {image} without alternative text." for image in page.silent
    ]


if __name__ == "__main__":
    files = [path for path in BOOK.rglob("*") if path.suffix in (".html", ".css")]
    found = [fault for path in files for fault in faults(path)]
    print("\n".join(found) or f"[book] {len(files)} pages and styles were checked.")
    sys.exit(bool(found or not files))
