"""Lists made of all chapters: `{exercise-list}`, and the `{running-times}` of this build."""

import os
import re

from docutils import nodes
from myst_nb.sphinx_ import NbMetadataCollector
from sphinx.errors import ExtensionError
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "jupyter-book")
# A chapter says how hard it is and how long it takes, in its second cell.
LABELS = re.compile(r"Needs: .* Time: (?P<time>.*?)\. Difficulty: (?P<difficulty>\w+)\.", re.S)
# So does an exercise, in its title or in its first words.
HOW = re.compile(r"\((easy|medium|hard), (\d+) minutes\.?\)", re.IGNORECASE)


class listing(nodes.General, nodes.Element):
    """Stands in for a list until all chapters have been read."""


class ExerciseList(SphinxDirective):
    """The directive, without arguments."""

    kind = "exercises"

    def run(self):
        """Leave a mark in the page."""
        return [listing(kind=self.kind)]


class RunningTimes(ExerciseList):
    """The directive for running times."""

    kind = "times"


class FillIn(SphinxPostTransform):
    """Puts the lists in their places."""

    default_priority = 1

    def run(self):
        """Replace each mark of this page."""
        for mark in list(self.document.findall(listing)):
            rows = self._exercises() if mark["kind"] == "exercises" else self._times()
            mark.replace_self([_table(*rows), *self._where(mark["kind"])])

    def _chapters(self):
        names = (name for name in self.env.found_docs if name.startswith("notebooks/"))
        return sorted(names)

    def _link(self, page, text, anchor=""):
        uri = self.app.builder.get_relative_uri(self.env.docname, page) + anchor
        return nodes.reference("", text, refuri=uri, internal=True)

    def _exercises(self):
        rows = []
        for page in self._chapters():
            for section in self.env.get_doctree(page).findall(nodes.section):
                own = [child.astext() for child in section if not isinstance(child, nodes.section)]
                if how := HOW.search("\n".join(own)):
                    title = HOW.sub("", own[0]).strip()
                    exercise = self._link(page, title, f"#{section['ids'][0]}")
                    number = int(page.split("/")[1][:2])
                    rows.append((str(number), exercise, how[1].lower(), f"{how[2]} min"))
        return ("chapter", "exercise", "difficulty", "time"), rows

    def _times(self):
        rows, total = [], 0.0
        for page in self._chapters():
            data = NbMetadataCollector.get_exec_data(self.env, page)
            seconds = data["runtime"] if data else None
            total += seconds or 0
            title = self.env.titles[page].astext()
            shown = "not run" if seconds is None else f"{seconds:.0f}\N{NO-BREAK SPACE}s"
            rows.append((self._link(page, title), *self._labels(page), shown))
        header = "chapter", "difficulty", "how long it takes you", "ran in"
        return header, [*rows, ("all of them", "", "", f"{total:.0f}\N{NO-BREAK SPACE}s")]

    def _labels(self, page):
        """Return the difficulty that a chapter states in its first lines, and the time."""
        for paragraph in self.env.get_doctree(page).findall(nodes.paragraph):
            if found := LABELS.search(paragraph.astext()):
                return found["difficulty"], found["time"]
        raise ExtensionError(f"{page} states no time and difficulty.")

    def _where(self, kind):
        if kind == "exercises":
            return []
        from results.about import about  # stored_result has put the book's folder on the path

        here = about("make book", PACKAGES)
        versions = ", ".join(f"{name} {number}" for name, number in here["versions"].items())
        data = os.environ.get("ROBUSTLIB_DATASET") or "mnist"
        text = f"Run on {data} by {here['command']}, on {here['machine']}, {here['date']}, "
        text += f"with {versions}."
        return [nodes.paragraph("", text)]


def _table(header, rows):
    """Return a table; a cell is a text or a node."""
    table, group = nodes.table(), nodes.tgroup(cols=len(header))
    group += [nodes.colspec(colwidth=1) for _ in header]
    group += [nodes.thead("", _row(header)), nodes.tbody("", *(_row(row) for row in rows))]
    table += group
    return table


def _row(cells):
    texts = [cell if isinstance(cell, nodes.Node) else nodes.Text(cell) for cell in cells]
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", text)) for text in texts))


def setup(app):
    """Tell Sphinx about it."""
    app.add_node(listing)
    app.add_directive("exercise-list", ExerciseList)
    app.add_directive("running-times", RunningTimes)
    app.add_post_transform(FillIn)
    return {"parallel_read_safe": True}
