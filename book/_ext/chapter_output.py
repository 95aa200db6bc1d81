"""Shows on a page what a cell of a chapter put out in this build.

    ```{chapter-output} notebooks/05_pgd found
    ```

names the chapter and the id of the cell. The output is taken over as it stands in the chapter:
figures with their alternative text, tables, sentences. Links in outputs from one notebook to
another lead to its page.

    ```{in-short} notebooks/05_pgd found
    ```

takes over one sentence: what the cell printed after "In short: ".
"""

import json
import re
from pathlib import Path

from docutils import nodes
from sphinx.errors import ExtensionError
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective


class chapter_output(nodes.General, nodes.Element):
    """Stands in for the output until all chapters have been executed."""


class ChapterOutput(SphinxDirective):
    """The directive: the chapter's name, and the id of one of its code cells."""

    required_arguments = 2
    in_short = False

    def run(self):
        """Leave a mark in the page."""
        chapter, cell = self.arguments
        return [chapter_output(chapter=chapter, cell=cell, in_short=self.in_short)]


class InShort(ChapterOutput):
    """The directive for one sentence, with the same arguments."""

    in_short = True


class FillIn(SphinxPostTransform):
    """Puts the outputs in their places, before myst-nb chooses between their formats."""

    default_priority = 1

    def run(self):
        """Replace each mark of this page."""
        for mark in list(self.document.findall(chapter_output)):
            notebook = Path(self.env.doc2path(mark["chapter"]))
            ids = [cell["id"] for cell in json.loads(notebook.read_text("utf-8"))["cells"]]
            if mark["cell"] not in ids:
                raise ExtensionError(f"{notebook.name} has no cell {mark['cell']!r}")
            index = ids.index(mark["cell"])
            outputs = [
                output.deepcopy()
                for cell in self.env.get_doctree(mark["chapter"]).findall(nodes.container)
                if cell.get("nb_element") == "cell_code" and cell["cell_index"] == index
                for output in cell.children
                if output.get("nb_element") == "cell_code_output"
            ]
            mark.replace_self(self._sentence(mark, outputs) if mark["in_short"] else outputs)

    def _sentence(self, mark, outputs):
        """Return the one sentence that a cell printed after "In short: "."""
        printed = "\n".join(output.astext() for output in outputs)
        if not (found := re.search(r"^In short: (.)(.*)$", printed, re.MULTILINE)):
            raise ExtensionError(f"{mark['chapter']}, {mark['cell']!r} prints no 'In short: '")
        return [nodes.paragraph("", found[1].upper() + found[2])]


class LinkChapters(SphinxPostTransform):
    """Lets links in outputs, from one notebook to another, lead to the other's page.

    A report of robustlib links its flags to chapters that way. Where a chapter is not part of the
    book, its name stays as text.
    """

    default_priority = 2

    def run(self):
        """Rewrite the links of this page."""
        for output in self.document.findall(nodes.raw):
            html = re.sub(r'<a href="(\w+)\.ipynb">(.*?)</a>', self._link, output.astext())
            output.children, output.rawsource = [nodes.Text(html)], html

    def _link(self, link):
        name, text = link.groups()
        page = f"notebooks/{name}"
        if page not in self.env.found_docs or self.app.builder.format != "html":
            return text
        return f'<a href="{self.app.builder.get_relative_uri(self.env.docname, page)}">{text}</a>'


def setup(app):
    """Tell Sphinx about it."""
    app.add_node(chapter_output)
    app.add_directive("chapter-output", ChapterOutput)
    app.add_directive("in-short", InShort)
    app.add_post_transform(FillIn)
    app.add_post_transform(LinkChapters)
    return {"parallel_read_safe": True}
