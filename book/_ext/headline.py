"""Shows on a page what `make results` has computed, and says so if it is out of date."""

import sys
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

sys.path.append(str(Path(__file__).parents[2]))  # jupyter-book leaves out the folder it is run in

from results import page


class Headline(SphinxDirective):
    """The directive `headline`, without arguments."""

    def run(self):
        """Return the table, where it comes from, and whether it is out of date."""
        try:
            text = page.markdown(page.load())
        except FileNotFoundError as missing:
            text = str(missing)
        content = nodes.container()
        self.state.nested_parse(text.splitlines(), self.content_offset, content)
        return content.children


def setup(app):
    """Tell Sphinx about it."""
    app.add_directive("headline", Headline)
    return {"parallel_read_safe": True}
