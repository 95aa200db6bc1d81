"""Publishing: one command fills in the address, on a copy of the files that hold it."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.test_house import PROJECT, ROOT
from tools import check_pages
from tools.publish import UNKNOWN, publish

FILES = ["_config.yml", "CITATION.cff", "README.md"]
FIRST = "https://github.com/somebody/a-book"
SECOND = "https://github.com/somebody-else/the-book"


@pytest.fixture
def copy(tmp_path):
    for name in [*FILES, "pyproject.toml"]:
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(
        ROOT / "notebooks", tmp_path / "notebooks", ignore=lambda *_: [".ipynb_checkpoints"]
    )
    return tmp_path


def texts(folder):
    paths = [folder / name for name in FILES] + sorted((folder / "notebooks").glob("*.ipynb"))
    return {path.name: path.read_text(encoding="utf-8") for path in paths}


def test_the_address_is_filled_in_everywhere(copy):
    publish(copy, FIRST + ".git")
    config = yaml.safe_load((copy / "_config.yml").read_text(encoding="utf-8"))
    assert config["repository"]["url"] == FIRST
    assert config["repository"]["branch"] == f"v{PROJECT['version']}"
    assert config["launch_buttons"]["colab_url"].startswith("https://colab.")
    assert config["html"]["baseurl"] == "https://somebody.github.io/a-book/"
    citation = yaml.safe_load((copy / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["repository-code"] == FIRST
    for name, text in texts(copy).items():
        assert FIRST in text and UNKNOWN not in text, name
    for path in (copy / "notebooks").glob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        code = ["".join(cell["source"]) for cell in cells]
        assert sum(f'REPOSITORY = "{FIRST}"' in cell for cell in code) == 1


def test_a_second_address_replaces_the_first(copy):
    publish(copy, SECOND)
    directly = texts(copy)
    publish(copy, FIRST)
    publish(copy, SECOND)
    assert texts(copy) == directly


def test_the_pages_may_be_read_elsewhere(copy):
    publish(copy, FIRST, "https://a-book.example/first")
    config = yaml.safe_load((copy / "_config.yml").read_text(encoding="utf-8"))
    assert config["html"]["baseurl"] == "https://a-book.example/first/"
    with pytest.raises(SystemExit, match="Say where the pages are read"):
        publish(copy, FIRST, "a book")


@pytest.mark.parametrize(
    "address",
    ["", "book", "http://github.com/a/b", "https://github.com/a", "https://gitlab.com/a/b"],
)
def test_what_is_no_address_is_refused(copy, address):
    before = texts(copy)
    with pytest.raises(SystemExit, match="REPOSITORY=https://github.com/OWNER/NAME"):
        publish(copy, address)
    assert texts(copy) == before


TOC = """format: jb-book
root: book/index
chapters: [{file: notebooks/01_standard_training}]
"""
PAGE_WITH_A_CELL = """---
file_format: mystnb
kernelspec: {name: python3}
---
# A page that is no notebook

```{code-cell}
1 + 1
```
"""


def test_the_pages_of_a_published_book(tmp_path):
    """Two of them, not executed: they load nothing from elsewhere, their buttons lead right."""
    folder = tmp_path / "book"
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".*", "_build", "__pycache__"))
    publish(folder, FIRST)
    config = (folder / "_config.yml").read_text(encoding="utf-8")
    config = config.replace("execute_notebooks: force", "execute_notebooks: 'off'")
    (folder / "_config.yml").write_text(config, encoding="utf-8")
    (folder / "_toc.yml").write_text(TOC, encoding="utf-8")
    (folder / "book/index.md").write_text(PAGE_WITH_A_CELL, encoding="utf-8")
    program = shutil.which("jupyter-book", path=Path(sys.executable).parent)
    subprocess.run([program, "build", folder, "--all", "-q"], capture_output=True, check=True)
    pages = {
        path.relative_to(folder / "_build/html").as_posix(): path.read_text(encoding="utf-8")
        for path in (folder / "_build/html").rglob("*.html")
    }
    assert {"index.html", "404.html", "book/index.html"} <= set(pages)
    for name, text in pages.items():
        path = folder / "_build/html" / name
        assert check_pages.faults(path) + check_pages.missing(path) == [], name
        opened = re.findall(r'href="https://colab[^"]*/blob/v[\d.]+/([^"]*)"', text)
        chapter = f"{name.removesuffix('.html')}.ipynb"
        assert set(opened) == ({chapter} if name.startswith("notebooks/") else set()), name
    address = "https://somebody.github.io/a-book/404.html"
    assert f'property="og:url" content="{address}"' in pages["404.html"]
