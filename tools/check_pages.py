"""Check the built pages: all that they load is there, on their own host; each figure has a text."""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

BOOK = Path(__file__).parents[1] / "_build/html"
# Tags that make the browser load something, and where they say what.
LOADING = dict.fromkeys(("script", "img", "iframe", "source", "video", "audio", "embed"), "src")
LOADING |= {"link": "href", "object": "data"}
LEADING = (
    "canonical",
    "index",
    "search",
    "next",
    "prev",
)  # of <link>: where it leads, nothing is loaded
NAMESPACE = "http://www.w3.org/"  # names a kind of element, and is never asked for


class Loads(HTMLParser):
    """Collects what a page loads by itself, not where its links lead, and what its figures say."""

    def __init__(self):
        super().__init__()
        self.addresses = []
        self.silent = []
        self.searched, self.text = None, ""

    def handle_starttag(self, tag, attributes):
        """Note what this tag loads, and an image whose alternative text is none."""
        attributes = {name: value or "" for name, value in attributes}
        if tag == "img" and re.match(r"\s*$|(\.\./)*_images/", attributes.get("alt", "")):
            self.silent.append(attributes.get("src"))
        if tag in LOADING and attributes.get("rel") not in LEADING:
            self.addresses.append(attributes.get(LOADING[tag], ""))
        for choice in attributes.get("srcset", "").split(","):
            self.addresses += choice.split()[:1]
        self.addresses += in_css(attributes.get("style", ""))
        if tag == "style":
            self.searched = in_css
        if tag == "script" and attributes.get("type", "") != "application/ld+json":
            self.searched = in_script

    def handle_data(self, data):
        """Keep the text of a script or style."""
        if self.searched:
            self.text += data

    def handle_endtag(self, tag):
        """Search that text once it is whole."""
        if self.searched and tag in ("script", "style"):
            self.addresses += self.searched(self.text)
            self.searched, self.text = None, ""


def in_css(text):
    """Return the addresses that a style loads."""
    return re.findall(r"(?:url\(|@import )\s*[\"']?([^\"')]+)", text)


def in_script(text):
    """Return the addresses of other hosts in the strings of a script, comments aside."""
    code = re.sub(r"/\*.*?\*/|^\s*//[^\n]*", "", text, flags=re.S | re.M)
    found = re.findall(r"[\"'`]((?:https?:)?//\w[^\"'`\s]*)", code)
    return [address for address in found if not address.startswith(NAMESPACE)]


def read(path):
    """Return what one file of the book loads, and its figures without text."""
    text, page = path.read_text(encoding="utf-8"), Loads()
    if path.suffix == ".css":
        page.addresses = in_css(text)
    else:
        page.feed(text)
    return page


def loaded(path):
    """Return the files of the book that one file loads."""
    own = [a for a in read(path).addresses if not re.match(r"\w+:|//|#", a)]
    return {path.parent / unquote(re.sub(r"[?#].*", "", address)) for address in own if address}


def missing(path):
    """Return one sentence for each file of the book that one file loads and that is not there."""
    return [
        f"{path} loads {file}, which is not there." for file in loaded(path) if not file.exists()
    ]


def faults(path):
    """Return one sentence for each fault of one file of the book."""
    page = read(path)
    foreign = [address for address in page.addresses if re.match(r"(https?:)?//", address)]
    return [f"{path} loads {address} from another host." for address in foreign] + [
        f"{path} shows {image} without alternative text." for image in page.silent
    ]


if __name__ == "__main__":
    pages = list(BOOK.rglob("*.html"))
    files = [*pages, *BOOK.rglob("*.css")]
    found = [fault for path in files for fault in (*faults(path), *missing(path))]
    print("\n".join(found) or f"[book] {len(files)} pages and styles were checked.")
    sys.exit(bool(found or not pages))
