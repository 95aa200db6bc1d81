"""The playground's controls: each moves it, goes into its address, and works without a mouse."""

import re

import pytest
from conftest import BOOK, THEMES, grave

PAGE = "book/playground.html"
# Read off a copy: Chromium warns of a canvas that is drawn on and read more than once.
INK = """() => {
    const copy = new OffscreenCanvas(28, 28).getContext('2d');
    copy.drawImage(document.querySelector('[data-part=before]'), 0, 0);
    return copy.getImageData(0, 0, 28, 28).data.filter((v, i) => i % 4 === 0 && v > 100).length;
}"""
LIFTED = """() => document.querySelector('[data-part=before]')
    .dispatchEvent(new PointerEvent('pointerup', {pointerId: 99, isPrimary: false}))"""
CONTROLS = """() => Object.fromEntries([...document.querySelector('.pg form').elements]
    .filter(node => node.name && (node.type !== 'radio' || node.checked))
    .map(node => [node.name, [node.value, node.disabled]]))"""
CLIPBOARD = ("clipboard-read", "clipboard-write")


def said(page):
    """Return the sentence under the controls, once the page has answered."""
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
    return page.locator(".pg-says").inner_text()


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", [1280, 390])
def test_it_moves_when_it_is_moved(visit, theme, width):
    page = visit(f"{PAGE}#network=standard&attack=pgd", theme, width)
    page.locator("[name=epsilon]").fill("0")
    honest = said(page)
    page.locator("[name=epsilon]").fill("36")
    fooled = said(page)
    read, after = re.findall(r" as (\d)", fooled)
    assert honest != fooled and read != after
    page.get_by_label("with PGD", exact=False).check()
    assert said(page) != fooled


def copied(page):
    """Press the button, and return what is on the clipboard."""
    page.get_by_role("button", name="Copy the address").click()
    page.get_by_role("button", name="Copied").wait_for()
    return page.evaluate("() => navigator.clipboard.readText()")


def test_each_state_has_an_address_which_is_copied(visit):
    """Opened again, every control is as it was."""
    page = visit(PAGE, permissions=CLIPBOARD)
    start = page.evaluate(CONTROLS)
    page.get_by_label("with FGSM", exact=False).check()
    page.get_by_label("l-2", exact=False).check()
    page.locator("[name=epsilon]").fill("17")
    page.locator("[name=steps]").fill("7")
    page.get_by_role("button", name="Other random numbers").click()
    page.locator(".pg-thumbnails label").nth(5).click()
    page.get_by_label("noise", exact=True).check()
    words, controls = said(page), page.evaluate(CONTROLS)
    for name in ("image", "network", "attack", "threat", "epsilon", "steps"):
        assert controls[name] != start[name]
    assert "seed=2" in page.url and copied(page) == page.url
    other = visit(f"{PAGE}#{page.url.partition('#')[2]}")
    assert said(other) == words and other.evaluate(CONTROLS) == controls


def test_after_the_last_seed_comes_the_first(visit):
    page = visit(f"{PAGE}#network=standard&seed=1000000000")
    page.get_by_role("button", name="Other random numbers").click()
    page.wait_for_function("() => location.href.endsWith('seed=0')")


def test_a_link_to_the_top_is_no_address(visit):
    page = visit(PAGE)
    page.get_by_label("with FGSM", exact=False).check()
    words, address = said(page), page.url
    page.evaluate("() => { location.hash = ''; }")
    page.wait_for_function("address => location.href === address", arg=address)
    assert said(page) == words


def test_of_a_drawing_whose_address_was_cut_nothing_is_shown(visit):
    """Not even what was drawn before on the same page, which the address does not say."""
    page = visit(PAGE)
    page.get_by_label("draw one").check()
    draw_a_line(page)
    cut = page.url[:-3]
    assert said(page).startswith("Your drawing is read as")
    page.evaluate("address => { location.href = address; }", cut)
    page.get_by_text("Draw a digit in the first picture.").first.wait_for()
    assert page.evaluate(INK) == 0


@pytest.mark.parametrize("refusal", ["throw new Error('Too many changes.')", "/* say nothing */"])
def test_an_address_that_was_refused_is_written_later(visit, refusal):
    """Meanwhile, the button copies what is seen."""
    page = visit(PAGE, permissions=CLIPBOARD)
    before = page.url
    page.evaluate(f"() => {{ history.replaceState = () => {{ {refusal} }}; }}")
    page.get_by_label("with FGSM", exact=False).check()
    address = copied(page)
    assert "network=fgsm" in address and page.url == before
    page.evaluate("() => { delete history.replaceState; }")
    page.wait_for_function("address => location.href === address", arg=address, timeout=5000)


def test_it_answers_from_its_folder_too(visit):
    page = visit(PAGE, base=f"{BOOK.as_uri()}/")
    assert "is read as" in said(page)


def test_an_address_without_sense_is_the_first_state(visit):
    page = visit(f"{PAGE}#network=none&epsilon=-3&steps=1e9&seed=x&image=99&drawn=no")
    other = visit(PAGE)
    assert said(page) == said(other)


def draw_a_line(page):
    """Draw it with the mouse, from the top to the bottom."""
    box = page.locator("[data-part=before]").bounding_box()

    def at(column, row):
        return box["x"] + box["width"] * column / 28, box["y"] + box["height"] * row / 28

    page.mouse.move(*at(14, 5))
    page.mouse.down()
    page.mouse.move(*at(14, 23), steps=6)
    page.mouse.up()


def test_a_digit_is_drawn_with_a_pointer_and_with_keys(visit):
    page = visit(PAGE)
    page.get_by_label("draw one").check()
    draw_a_line(page)
    assert "read as 1" in said(page)
    drawn, words = page.url, said(page)
    page.get_by_role("button", name="clear").click()
    page.locator("[data-part=before]").focus()
    for _ in range(8):
        page.keyboard.press("ArrowDown")
    assert page.evaluate(INK) > 10
    other = visit(f"book/{drawn.partition('/book/')[2]}")
    assert said(other) == words


def test_a_digit_is_drawn_with_a_finger(visit):
    page = visit(PAGE, width=390, has_touch=True)
    page.get_by_label("draw one").check()
    assert "Draw a digit" in said(page)
    page.locator("[data-part=before]").scroll_into_view_if_needed()
    box = page.locator("[data-part=before]").bounding_box()
    finger, before = page.context.new_cdp_session(page), page.evaluate("() => scrollY")

    def touch(kind, *rows):
        at = [
            {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] * row / 28}
            for row in rows
        ]
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at})

    touch("touchStart", 5)
    for row in range(6, 14):
        touch("touchMove", row)
    half = page.evaluate(INK)
    page.evaluate(LIFTED)  # a second finger; the first goes on
    for row in range(14, 23):
        touch("touchMove", row)
    touch("touchEnd")
    assert page.evaluate(INK) > 1.6 * half > 20
    assert page.evaluate("() => scrollY") == before  # the picture, not the page, was moved
    assert "Your drawing is read as" in said(page)
    drawn = page.url
    touch("touchStart", 3)
    touch("touchCancel")
    words = said(page)
    assert "drawn=" in drawn and page.url != drawn
    assert said(visit(f"book/{page.url.partition('/book/')[2]}")) == words
    assert not grave(page)


def test_links_within_the_page_leave_the_state_alone(visit):
    page = visit(PAGE, permissions=CLIPBOARD)
    page.get_by_label("with FGSM", exact=False).check()
    words, address = said(page), page.url
    page.locator("a[href='#things-to-try']:visible").first.click()
    assert page.url.endswith("#things-to-try") and said(page) == words
    assert copied(page) == address == page.url


def test_drawing_is_reached_by_keyboard(visit):
    page = visit(f"{PAGE}#network=standard&image=drawn")
    page.locator("[name=share]").focus()
    reached = []
    for _ in range(4):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                "() => document.activeElement.name || document.activeElement.dataset.part"
            )
        )
    assert {"before", "clear"} <= set(reached)


def test_the_arrow_keys_choose_and_drag(visit):
    page = visit(f"{PAGE}#network=standard&attack=pgd&epsilon=0")
    words = said(page)
    page.locator("[name=epsilon]").focus()
    for _ in range(30):
        page.keyboard.press("ArrowRight")
    fooled = said(page)
    page.locator("[name=network][value=standard]").focus()
    page.keyboard.press("ArrowUp")  # from the first to the last
    assert len({words, fooled, said(page)}) == 3
    assert "epsilon=0.25" in page.url and "network=pgd" in page.url
