r"""Numbers that lead somewhere: equations and figures get an anchor, and their mentions a link.

A chapter writes its numbers out: `\tag{3.2}` in a formula, which Jupyter and Colab show as well,
and **Figure 3.2.** at the beginning of a caption, which the book alone shows. Where the text says
"equation (3.2)" or "figure 3.2", the page links it. A mention of what is not there is a warning.
"""

import re

from docutils import nodes
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging

WARN = logging.getLogger(__name__).warning
TAG = re.compile(r"\s*\\tag\{(\d+\.\d+)\}")
CAPTION = re.compile(r"Figure (\d+\.\d+)\.")
MENTION = re.compile(r"\b([Ff]igure) (\d+\.\d+)\b|\b([Ee]quation) \((\d+\.\d+)\)")
# Where a mention is the thing itself, or a link already.
NOT_IN = (nodes.caption, nodes.title, nodes.reference, nodes.literal, nodes.literal_block)


def anchor(kind, number):
    """Return the anchor of an equation or a figure."""
    return f"{kind}-{number.replace('.', '-')}"


class Numbers(SphinxTransform):
    """Gives equations and figures their anchors, and notes which page they are on."""

    default_priority = 700

    def apply(self):
        """Number one page."""
        for block in self.document.findall(nodes.math_block):
            if tag := TAG.search(block.astext()):
                block["number"] = tag[1]
                formula = TAG.sub("", block.astext())
                block.clear()
                block += nodes.Text(formula)
                self._anchor(block, "equation", tag[1])
        for figure in list(self.document.findall(nodes.figure)):
            caption = next(iter(figure.findall(nodes.caption)), nodes.caption())
            number = CAPTION.match(caption.astext())
            if number and not _has_picture(figure):  # a table from the cell that draws
                figure.replace_self([child for child in figure if child is not caption])
            elif number:
                self._anchor(figure, "figure", number[1])

    def _anchor(self, node, kind, number):
        node["ids"].append(anchor(kind, number))
        if anchor(kind, number) in pages(self.env):
            WARN("%s %s is there twice", kind, number)
        pages(self.env)[anchor(kind, number)] = self.env.docname


def _has_picture(figure):
    kinds = [part.get("mime_type", "") for part in figure.findall(nodes.container)]
    return any(kind.startswith("image/") for kind in kinds)


class Mentions(SphinxPostTransform):
    """Makes links of "figure 3.2" and "equation (3.2)"."""

    default_priority = 3

    def run(self):
        """Link what one page mentions."""
        for text in list(self.document.findall(nodes.Text)):
            parent = text.parent
            while parent is not None and not isinstance(parent, NOT_IN):
                parent = parent.parent
            if parent is None and MENTION.search(text):
                text.parent.replace(text, list(self._parts(text)))

    def _parts(self, text):
        end = 0
        for mention in MENTION.finditer(text):
            kind, number = mention[1] or mention[3], mention[2] or mention[4]
            target = anchor(kind.lower(), number)
            page = pages(self.env).get(target)
            yield nodes.Text(text[end : mention.start()])
            if page is None:
                WARN("there is no %s", mention[0])
                yield nodes.Text(mention[0])
            else:
                uri = self.app.builder.get_relative_uri(self.env.docname, page)
                yield nodes.reference("", mention[0], refuri=f"{uri}#{target}", internal=True)
            end = mention.end()
        yield nodes.Text(text[end:])


def pages(env):
    """Return {anchor: page}, kept between builds."""
    if not hasattr(env, "numbered"):
        env.numbered = {}
    return env.numbered


def forget(app, env, docname):
    """Drop the anchors of a page that is read anew."""
    env.numbered = {target: page for target, page in pages(env).items() if page != docname}


def merge(app, env, docnames, other):
    """Take over what another process has read."""
    pages(env).update(pages(other))


def written_out(app, config):
    """Let Sphinx number nothing by itself, whatever another extension has asked for."""
    config.numfig = False


def setup(app):
    """Tell Sphinx about it."""
    app.connect("config-inited", written_out, priority=900)
    app.add_transform(Numbers)
    app.add_post_transform(Mentions)
    app.connect("env-purge-doc", forget)
    app.connect("env-merge-info", merge)
    return {"parallel_read_safe": True}
