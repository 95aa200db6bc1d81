"""Gives alternative text to a figure that a page takes over from a chapter.

A chapter names an output with `display(figure, metadata={"scrapbook": {"name": "opening"}})`, and
a page of the book shows it with the directive `glue`, which takes no such text. So the page
says it in its front matter, as `figure-text`.
"""

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform


class FigureText(SphinxPostTransform):
    """Sets the text once the figure is in its place, which happens at priority 5."""

    default_priority = 6

    def run(self):
        """Give the page's text to each of its images that has none."""
        text = self.env.metadata[self.env.docname].get("figure-text")
        for image in self.document.findall(nodes.image):
            if text and not image.get("alt"):
                image["alt"] = text


def setup(app):
    """Tell Sphinx about it."""
    app.add_post_transform(FigureText)
    return {"parallel_read_safe": True}
