"""What a site needs beside its pages: a policy, a preview card, a site map, a page for no page."""

import html
from pathlib import Path

from docutils import nodes

# All comes from the book's own host. The theme has scripts and styles inside its pages.
POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "font-src 'self'",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
    )
)
CARD = "_static/social-card.png"
NOT_FOUND = (
    "<h1>There is no such page</h1><p>The address leads to no page of this book. "
    "<a href='index.html'>To the first page</a>, or search with the field in the menu.</p>"
)

# On the 404 page, which is shown at any depth, links count from the published address.
BASE = """<script>
{
  const page = document.querySelector("meta[property='og:url']");
  const book = page && new URL(".", page.content).href;
  if (book && location.href.startsWith(book)) {
    document.write(`<base href="${book}">`);
    addEventListener("DOMContentLoaded", () => {
      for (const link of document.querySelectorAll("a[href^='#']"))
        link.href = location.pathname + link.getAttribute("href");
    });
  }
}
</script>"""
FIRST_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
{tags}
<link rel="icon" href="_static/favicon.svg">
<meta http-equiv="refresh" content="0; url={page}">
</head>
<body><p><a href="{page}">The book starts here.</a></p></body>
</html>
"""


def head(app, pagename, templatename, context, doctree):
    """Add the policy and the preview to the head of a page."""
    tags = preview(app, pagename, context.get("title", ""), doctree)
    if pagename == "404":
        tags.append(BASE)
    # A list, by its role, may not have the links that docutils puts between its items.
    body = context.get("body", "")
    context["body"] = body.replace('<div role="list" class="citation-list">', "<div>")
    context["metatags"] = "\n".join([*tags, context.get("metatags", "")])


def only_chapters_open_on_colab(app, pagename, templatename, context, doctree):
    """Take the theme's launch button from pages with cells that are no notebooks."""
    if not pagename.startswith("notebooks/"):
        buttons = context.get("header_buttons", [])
        context["header_buttons"] = [b for b in buttons if b.get("label") != "launch-buttons"]


def preview(app, pagename, title, doctree):
    """Return the tags that say what a page may load, and what shows where somebody shares it."""
    address = app.config.html_baseurl
    tags = [f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">']
    about = {"og:title": title, "og:type": "article"}
    about |= {"og:site_name": app.config.html_title or app.config.project}
    if doctree and (words := first_sentences(doctree)):
        about["og:description"] = words
        tags.append(f'<meta name="description" content="{html.escape(words)}">')
    if address:
        about["og:image"] = address + CARD
        about["og:url"] = address + pagename + ".html"
        tags.append('<meta name="twitter:card" content="summary_large_image">')
    for name, content in about.items():
        content = html.escape(html.unescape(content))
        tags.append(f'<meta property="{name}" content="{content}">')
    return tags


def first_sentences(doctree):
    """Return the first paragraph that is no list of needs, cut to the length of a preview."""
    for paragraph in doctree.findall(nodes.paragraph):
        words = " ".join(paragraph.astext().split())
        if len(words) > 80 and not words.startswith("Needs:"):
            return words if len(words) <= 200 else words[:200].rsplit(" ", 1)[0] + " …"
    return ""


def no_page(app):
    """Give a page for addresses that lead nowhere."""
    yield "404", {"title": "No such page", "body": NOT_FOUND}, "page.html"


def first_page(app, error):
    """Write the page at the root of the book, which leads on and whose address people share."""
    if error or app.builder.format != "html":
        return
    first, title = app.config.root_doc, html.escape(app.config.html_title or app.config.project)
    tags = "\n".join(preview(app, first, title, app.env.get_doctree(first)))
    page = FIRST_PAGE.format(title=title, tags=tags, page=f"{first}.html")
    Path(app.outdir, "index.html").write_text(page, encoding="utf-8")


def no_templates(app, error):
    """Remove what the theme leaves among its static files: pages, but not for reading."""
    for path in Path(app.outdir, "_static").rglob("*.html"):
        path.unlink()


def site_map(app, error):
    """List the pages for search engines, once the address is known."""
    address = app.config.html_baseurl
    if error or not address or app.builder.format != "html":
        return
    pages = "".join(
        f"<url><loc>{html.escape(address + app.builder.get_target_uri(page))}</loc></url>\n"
        for page in sorted(app.env.found_docs)
    )
    start = '<?xml version="1.0" encoding="utf-8"?>\n'
    start += '<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n'
    Path(app.outdir, "sitemap.xml").write_text(f"{start}{pages}</urlset>\n", encoding="utf-8")


def setup(app):
    """Tell Sphinx about it."""
    app.connect("html-page-context", head)
    # The theme adds its buttons with priority 501.
    app.connect("html-page-context", only_chapters_open_on_colab, priority=502)
    app.connect("html-collect-pages", no_page)
    app.connect("build-finished", first_page)
    app.connect("build-finished", no_templates)
    app.connect("build-finished", site_map)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
