"""Shows on a page what `make results` or `make bench` has computed: `{stored-result} headline`.

It says so if what is kept was made by other code, or nothing is kept yet.
"""

import sys
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

sys.path.append(str(Path(__file__).parents[2]))  # jupyter-book leaves out the folder it is run in

from benchmarks import report
from results import page, page_of_ensembles

RESULTS = {
    "headline": lambda: page.markdown(page.load()),
    "means": lambda: page.in_words(page.load()),
    "overview": lambda: page_of_ensembles.overview(page.load("ensembles")),
    "ensembles": lambda: page_of_ensembles.markdown(page.load("ensembles")),
    "agreement": report.agreement,
}


class StoredResult(SphinxDirective):
    """The directive: the name of what is shown."""

    required_arguments = 1

    def run(self):
        """Return the table, where it comes from, and whether it is out of date."""
        try:
            text = RESULTS[self.arguments[0]]()
        except FileNotFoundError as missing:
            text = str(missing)
        content = nodes.container()
        self.state.nested_parse(text.splitlines(), self.content_offset, content)
        return content.children


def setup(app):
    """Tell Sphinx about it."""
    app.add_directive("stored-result", StoredResult)
    return {"parallel_read_safe": True}
