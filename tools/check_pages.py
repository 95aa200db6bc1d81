"""Check that the built pages load scripts, styles, fonts and images from the book itself."""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

BOOK = Path(__file__).parents[1] / "_build/html"
LOADING = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}


class Loads(HTMLParser):
    """Collects the addresses that a page loads by itself, not those that a reader may follow."""

    def __init__(self):
        super().__init__()
        self.addresses = []

    def handle_starttag(self, tag, attributes):
        """Note what this tag loads."""
        attributes = dict(attributes)
        if tag in LOADING and attributes.get("rel") not in ("canonical", "search", "next", "prev"):
            self.addresses.append(attributes.get(LOADING[tag]) or "")


def foreign(path):
    """Return the addresses on other hosts that one file of the book loads."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".css":
        addresses = re.findall(r"(?:url\(|@import )[\"']?([^\"')]+)", text)
    else:
        parser = Loads()
        parser.feed(text)
        addresses = parser.addresses
    return [address for address in addresses if re.match(r"(https?:)?//", address)]


if __name__ == "__main__":
    files = [path for path in BOOK.rglob("*") if path.suffix in (".html", ".css")]
    faults = [f"{path}: {address}" for path in files for address in foreign(path)]
    print("\n".join(faults) or f"[book] {len(files)} pages and styles load nothing from elsewhere.")
    sys.exit(bool(faults or not files))
