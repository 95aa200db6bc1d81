"""The house: who imports whom, how a notebook looks, and what has to agree with what."""

import ast
import json
import re
import statistics
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import robustlib

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "robustlib").glob("*.py"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PAGES = sorted((ROOT / "book").glob("*.md"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))

# Each room of the library, and the rooms that it may call.
ARROWS = {
    "checks": "",
    "losses": "checks",
    "logits": "checks",
    "threat": "checks",
    "convolution": "checks",
    "models": "checks convolution",
    "tfds_source": "checks",
    "data": "checks tfds_source",
    "style": "",
    "plotting": "checks style",
    "attacks": "checks losses logits threat",
    "training": "checks losses logits threat attacks",
    "fitting": "checks losses logits threat attacks training",
    "recipes": "checks losses logits threat attacks training fitting models data",
    "auto_pgd": "checks losses logits threat attacks",
    "square_attack": "checks losses logits threat attacks",
    "batches": "checks logits",
    "report": "checks losses logits threat attacks",
    "sanity": "checks losses logits threat attacks report",
    "search": "checks auto_pgd batches",
    "ensemble": "losses auto_pgd square_attack search report",
    "comparisons": "checks losses attacks auto_pgd square_attack batches sanity",
    "evaluation": "checks losses logits threat attacks report sanity batches auto_pgd ensemble "
    "comparisons",
    "verdicts": "",
    "exercises_basics": "verdicts losses",
    "exercises_training": "verdicts checks losses logits threat attacks training fitting models "
    "data",
    "exercises_evaluation": "verdicts losses",
    "exercises_masking": "verdicts losses report",
    "exercises_threats": "verdicts",
    "exercises_museum": "verdicts",
    "exercises_museum_evaluation": "verdicts",
    "exercises_browser": "verdicts",
    "exercises": "exercises_basics exercises_training exercises_evaluation exercises_masking "
    "exercises_threats exercises_museum exercises_museum_evaluation exercises_browser",
}
# Libraries that stay in their rooms; those in LAZY are imported only inside functions.
HOMES = {
    "flax": "models training fitting recipes",
    "optax": "losses fitting recipes",
    "tensorflow_datasets": "tfds_source",
    "matplotlib": "plotting style",
}
LAZY = ("tensorflow_datasets", "matplotlib")
# Most code cells of a chapter, where they are more than 35: ten exhibits take three or four each.
MOST_CELLS = {"09_bug_museum": 45}


def imported(node):
    """Return the dotted names that an import statement brings in."""
    if isinstance(node, ast.Import):
        return [name.name for name in node.names]
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module}.{name.name}" for name in node.names]
    return []


@pytest.mark.parametrize(
    "path", [m for m in MODULES if not m.stem.startswith("__")], ids=lambda p: p.stem
)
def test_imports_point_down(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        for name in imported(node):
            library, _, rest = name.partition(".")
            if library == "robustlib":
                assert rest.split(".")[0] in ARROWS[path.stem].split(), name
            if library in HOMES:
                assert path.stem in HOMES[library].split(), name
            assert not (library in LAZY and node in tree.body), f"{name} outside a function"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.stem)
def test_a_module_is_one_idea(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


def notebook(path):
    return json.loads(path.read_text(encoding="utf-8"))


def cells(path, kind):
    return ["".join(c["source"]) for c in notebook(path)["cells"] if c["cell_type"] == kind]


def prose(path):
    """Return a notebook's Markdown without code and mathematics."""
    text = "\n\n".join(cells(path, "markdown"))
    return re.sub(r"```.*?```|`[^`\n]*`|\$\$.*?\$\$|\$[^$]*\$", " ", text, flags=re.DOTALL)


each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)


@each_notebook
def test_a_notebook_is_stored_without_outputs_and_with_ids(path):
    every = notebook(path)["cells"]
    assert all(not cell.get("outputs") and not cell.get("execution_count") for cell in every)
    assert len({cell["id"] for cell in every}) == len(every)


@each_notebook
def test_a_notebook_has_small_cells_and_more_words_than_code(path):
    code = cells(path, "code")
    lines = [sum(bool(line.strip()) for line in cell.splitlines()) for cell in code]
    assert 15 <= len(code) <= MOST_CELLS.get(path.stem, 35)
    assert statistics.median(lines) <= 6
    assert max(lines) <= 25
    assert len(prose(path).split()) > len(" ".join(code).split())


@each_notebook
def test_a_notebook_is_plain_markdown(path):
    text = "\n\n".join(cells(path, "markdown"))
    assert not re.findall(r"\{[a-z:-]+\}`|^\s*(?:```|:::)\s*\{.*", text, flags=re.MULTILINE)
    assert set(re.findall(r"</?([a-zA-Z]+)", prose(path))) <= {"details", "summary"}


@each_notebook
def test_a_notebook_opens_with_what_it_needs(path):
    title, needs = (cell for cell in notebook(path)["cells"][:2])
    assert "".join(title["source"]).startswith("# ")
    text = "".join(needs["source"]).lower()
    assert needs["cell_type"] == "markdown"
    assert all(word in text for word in ("needs", "time", "difficulty"))


@each_notebook
def test_the_set_up_cell_is_the_same_everywhere(path):
    (set_up,) = [cell for cell in cells(path, "code") if "REPOSITORY = " in cell]
    (first,) = [cell for cell in cells(NOTEBOOKS[0], "code") if "REPOSITORY = " in cell]
    assert set_up == first
    assert f'REPOSITORY = "{CONFIG["repository"]["url"]}"' in set_up
    assert f'VERSION = "{PROJECT["version"]}"' in set_up


@each_notebook
def test_a_notebook_uses_public_names_only(path):
    trees = [ast.parse(re.sub(r"^[%!].*", "", cell, flags=re.M)) for cell in cells(path, "code")]
    names = [name for tree in trees for node in ast.walk(tree) for name in imported(node)]
    ours = [name.removeprefix("robustlib.") for name in names if name.startswith("robustlib.")]
    assert set(ours) <= set(robustlib.__all__)


@each_notebook
def test_a_notebook_stands_in_the_table_of_contents(path):
    chapters = [
        c["file"]
        for p in yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))["parts"]
        for c in p["chapters"]
    ]
    assert f"notebooks/{path.stem}" in chapters


def test_the_version_is_one():
    version = PROJECT["version"]
    assert robustlib.__version__ == version
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"] == version
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_chapters_are_executed_at_each_build_and_an_error_stops_it():
    assert CONFIG["execute"]["execute_notebooks"] == "force"
    assert CONFIG["sphinx"]["config"]["nb_execution_raise_on_error"] is True


def test_there_is_a_colab_button_where_there_is_an_address():
    repository = CONFIG["repository"]
    assert bool(CONFIG["launch_buttons"]["colab_url"]) == bool(repository["url"])
    assert not repository["url"] or repository["branch"] == f"v{PROJECT['version']}"


def test_the_api_page_lists_every_public_name():
    page = (ROOT / "book/api.md").read_text(encoding="utf-8")
    listed = re.findall(r"(?:auto\w+|py:data):: robustlib\.(\w+)", page)
    assert set(robustlib.__all__) <= set(listed)


def test_the_bibliography_lists_what_the_chapters_cite():
    bibliography = (ROOT / "book/references.bib").read_text(encoding="utf-8")
    listed = re.findall(r"arXiv:([\d.]+)", bibliography)
    text = "".join(path.read_text(encoding="utf-8") for path in NOTEBOOKS)
    assert set(listed) == set(re.findall(r"arxiv\.org/abs/([\d.]+\d)", text))


def test_the_build_tools_are_locked_alike_in_both_lists():
    locked = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    tools = (ROOT / "build-requirements.txt").read_text(encoding="utf-8")
    blocks = re.findall(r"^(?:setuptools|wheel)==.*?[^\\]$", locked, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2 and tools.splitlines() == "\n".join(blocks).splitlines()


@pytest.mark.parametrize("folder", [".", "benchmarks", "tests/colab", "tests/browser"])
def test_each_locked_list_holds_what_its_source_asks_for(folder):
    source = re.sub(r"#.*", "", (ROOT / folder / "requirements.in").read_text(encoding="utf-8"))
    asked = [Requirement(line) for line in source.splitlines() if line.strip() and line[0] != "-"]
    locked = (ROOT / folder / "requirements.txt").read_text(encoding="utf-8")
    pins = re.findall(r"^([\w.-]+)==([^\s;]+)", locked, flags=re.MULTILINE)
    blocks = re.findall(r"^[\w.-]+==.*?[^\\]$", locked, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == len(pins) and all("--hash=sha256:" in block for block in blocks)
    for requirement in asked:
        versions = [v for name, v in pins if name == requirement.name.replace("_", "-").lower()]
        assert versions and all(v in requirement.specifier for v in versions), requirement


def test_the_environment_has_what_robustlib_needs():
    locked = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    for requirement in map(Requirement, PROJECT["dependencies"]):
        (version, *_) = re.findall(rf"^{requirement.name}==([^\s;]+)", locked, flags=re.MULTILINE)
        assert version in requirement.specifier


@pytest.mark.parametrize("path", [*PAGES, *NOTEBOOKS, ROOT / "README.md"], ids=lambda p: p.name)
def test_nobody_is_told_to_install_robustlib_by_its_bare_name(path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"(pip|uv|conda) (add|install) (-\S+ )*[\"']?robustlib(?!\s*@)", text)
