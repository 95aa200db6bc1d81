"""Write the repository's address wherever the book needs it.

    make publish REPOSITORY=https://github.com/OWNER/NAME [PAGES=https://where.it/is/read/]

`_config.yml` is the source; the set-up cell of each chapter, `CITATION.cff` and the README
follow it. Publishing again, to another address, replaces the first one. PAGES is where the built
pages are read, by default on GitHub Pages. The Colab button opens the chapters as the version's tag
has them, since their set-up cells install that tag.
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
UNKNOWN = "ADDRESS-OF-THIS-REPOSITORY"
COLAB = "https://colab.research.google.com"


def replace(path, pattern, new):
    """Put `new` in place of each match of `pattern`, and require that there is one."""
    text, count = re.subn(pattern, lambda match: new, path.read_text(encoding="utf-8"))
    if count == 0:
        sys.exit(f"{path} has no place for the address (no match for {pattern!r}).")
    path.write_text(text, encoding="utf-8", newline="\n")


def publish(root, address, pages=""):
    """Fill in the addresses in the book that lies in `root`, and return the repository's."""
    address = address.removesuffix("/").removesuffix(".git")
    if not re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", address):  # Colab opens no others
        sys.exit("Say where the book is published: REPOSITORY=https://github.com/OWNER/NAME")
    config = root / "_config.yml"
    written = config.read_text(encoding="utf-8")
    before = re.search(r'^  url: "(.*)"', written, flags=re.MULTILINE)[1] or UNKNOWN
    if not pages:
        owner, name = address.split("/")[-2:]
        host = f"{owner.lower()}.github.io"
        pages = f"https://{host}" if name.lower() == host else f"https://{host}/{name}"
    if not re.fullmatch(r"https?://[\w.-]+(:\d+)?(/[\w.-]+)*/?", pages):
        sys.exit("Say where the pages are read: PAGES=https://OWNER.github.io/NAME")
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    replace(config, r'(?<=\n  url: ")[^"]*', address)
    replace(config, r"(?<=\n  branch: ).*", f"v{project['version']}")
    replace(config, r'(?<=\n  colab_url: ")[^"]*', COLAB)
    replace(config, r'(?<=\n  baseurl: ")[^"]*', f"{pages.removesuffix('/')}/")
    for notebook in sorted((root / "notebooks").glob("*.ipynb")):
        replace(notebook, r'(?<=REPOSITORY = \\")[^"\\]*', address)
    replace(root / "CITATION.cff", r"(?m)^#? ?repository-code:.*", f"repository-code: {address}")
    replace(root / "README.md", re.escape(before), address)
    return address


if __name__ == "__main__":
    print(f"Published at {publish(ROOT, *sys.argv[1:])}: build the book, commit, tag the release.")
