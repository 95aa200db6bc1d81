"""The set-up cell of the chapters: silent where robustlib is, one sentence where it cannot help."""

import importlib.util
import json
import sys

import pytest

from tests.test_house import NOTEBOOKS

(CELL,) = [
    "".join(cell["source"])
    for cell in json.loads(NOTEBOOKS[0].read_text(encoding="utf-8"))["cells"]
    if "REPOSITORY = " in "".join(cell["source"])
]


def without_robustlib(monkeypatch, repository):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("ROBUSTLIB_REPOSITORY", repository)


def test_it_does_nothing_where_robustlib_is_installed(capfd):
    exec(CELL, {})
    assert capfd.readouterr() == ("", "")


def test_it_says_what_to_do_without_an_address(monkeypatch):
    without_robustlib(monkeypatch, "")
    with pytest.raises(RuntimeError, match="robustlib is missing from.*`make env`"):
        exec(CELL, {})


def test_it_names_a_python_that_is_too_old(monkeypatch):
    without_robustlib(monkeypatch, "https://example.org/a/b")
    monkeypatch.setattr(sys, "version_info", (3, 10, 12))
    with pytest.raises(RuntimeError, match="needs Python 3.11 or newer"):
        exec(CELL, {})


def test_it_stops_when_the_address_does_not_answer(monkeypatch, tmp_path):
    without_robustlib(monkeypatch, (tmp_path / "nowhere").as_uri())
    with pytest.raises(RuntimeError, match="no robustlib at .*nowhere: is this machine online"):
        exec(CELL, {})
