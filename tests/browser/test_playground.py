"""The playground: it agrees with JAX, moves when it is moved, and answers at once."""

import os
import re

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import BOOK, THEMES

PAGE = "book/playground.html"
FOLDER = BOOK / "_static/playground"
INK = """() => document.querySelector('[data-part=before]').getContext('2d')
    .getImageData(0, 0, 28, 28).data.filter((value, i) => i % 4 === 0 && value > 100).length"""
GRAVE = ("serious", "critical")
NETWORKS = ("standard", "fgsm", "pgd")


@pytest.fixture(scope="session")
def reference():
    with np.load(os.environ["PLAYGROUND_REFERENCE"]) as arrays:
        return dict(arrays)


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_and_gradients_are_those_of_jax(visit, reference, name):
    """On 100 test images, and on one that is drawn."""
    page, _ = visit(PAGE)
    images, labels = reference["images"].reshape(101, -1), reference["labels"]
    found = page.evaluate(
        """([name, images, labels]) => {
            const network = Playground.load(PLAYGROUND_WEIGHTS[name], name);
            return images.map((pixels, i) => {
                const image = Float32Array.from(pixels);
                const found = Playground.lossAndGradient(network, image, labels[i]);
                return [Array.from(found.logits), Array.from(found.gradient)];
            });
        }""",
        [name, images.tolist(), labels.tolist()],
    )
    logits, gradients = (np.array(part) for part in zip(*found, strict=True))
    assert np.abs(logits - reference[f"{name} logits"]).max() < 1e-4
    assert np.abs(gradients - reference[f"{name} gradients"].reshape(101, -1)).max() < 1e-4


@pytest.mark.parametrize("threat", ["linf", "l2"])
def test_fgsm_and_projections_are_those_of_robustlib(visit, reference, threat):
    page, _ = visit(PAGE)
    images, labels = reference["images"].reshape(101, -1), reference["labels"]
    epsilon, far = reference[f"{threat} epsilon"].item(), reference["far"].reshape(101, -1)
    steps, projected = page.evaluate(
        """([images, labels, far, threat, epsilon]) => {
            const network = Playground.load(PLAYGROUND_WEIGHTS.pgd, "pgd");
            const how = {attack: "fgsm", threat, epsilon};
            const threats = Playground.threats[threat];
            return [
                images.map((pixels, i) => Array.from(Playground.attack(
                    network, Float32Array.from(pixels), labels[i], how).path[1])),
                images.map((pixels, i) => Array.from(threats.project(
                    Float32Array.from(pixels), Float32Array.from(far[i]), epsilon))),
            ];
        }""",
        [images.tolist(), labels.tolist(), far.tolist(), threat, epsilon],
    )
    differs = np.abs(np.array(steps) - reference[f"{threat} fgsm"].reshape(101, -1)) > 1e-4
    assert differs.mean() < 1e-3  # a sign where rounding decides
    expected = reference[f"{threat} projected"].reshape(101, -1)
    assert np.abs(np.array(projected) - expected).max() < 1e-5


@pytest.mark.parametrize("threat", ["linf", "l2"])
def test_an_attack_stays_in_ball_and_box_and_raises_the_loss(visit, reference, threat):
    page, _ = visit(PAGE)
    epsilon = {"linf": 0.2, "l2": 1.5}[threat]
    images, labels = reference["images"].reshape(101, -1)[:20], reference["labels"][:20]
    for attack in ("noise", "fgsm", "pgd"):
        found = page.evaluate(
            """([images, labels, how]) => {
                const network = Playground.load(PLAYGROUND_WEIGHTS.standard, "standard");
                return images.map((pixels, i) => {
                    const image = Float32Array.from(pixels);
                    const found = Playground.attack(network, image, labels[i], how);
                    const start = Playground.crossEntropy(
                        Playground.logits(network, image), labels[i]);
                    return [found.path.map(p => Array.from(p)), found.losses[found.best] - start];
                });
            }""",
            [
                images.tolist(),
                labels.tolist(),
                {"attack": attack, "threat": threat, "epsilon": epsilon, "steps": 10, "seed": 3},
            ],
        )
        for image, (path, gain) in zip(images, found, strict=True):
            delta = np.array(path) - image
            size = np.abs(delta).max(1) if threat == "linf" else np.sqrt((delta**2).sum(1))
            assert size.max() < epsilon * (1 + 1e-5) + 1e-6
            assert np.min(path) >= 0 and np.max(path) <= 1
            assert attack == "noise" or gain > 0


@pytest.mark.parametrize("threat", ["linf", "l2"])
def test_forty_steps_answer_within_300_milliseconds(visit, measured, threat):
    """The whole of an answer: attack, pictures and charts, then the shades of the loss."""
    page, _ = visit(f"{PAGE}#attack=pgd&steps=40&network=pgd&threat={threat}")
    answers, shades = page.evaluate(
        """async () => {
            const input = document.querySelector('[name=epsilon]'), answers = [], shades = [];
            const ball = document.querySelector('[data-part=ball]');
            for (let i = 0; i < 9; i++) {
                input.value = 20 + i;
                const start = performance.now();
                input.dispatchEvent(new Event('input', {bubbles: true}));
                await new Promise(done => requestAnimationFrame(() => setTimeout(done)));
                answers.push(performance.now() - start);
                while (!ball.querySelector('.pg-loss')) await new Promise(done => setTimeout(done));
                shades.push(performance.now() - start);
            }
            return [answers, shades].map(times => times.sort((a, b) => a - b)[4]);
        }"""
    )
    measured(f"PGD, 40 steps, {threat}: {answers:.0f} ms, with the loss's shades {shades:.0f}")
    assert answers < 300


def said(page):
    """Return the sentence under the controls, once the page has answered."""
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
    return page.locator(".pg-says").inner_text()


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", [1280, 390])
def test_it_moves_when_it_is_moved(visit, theme, width):
    page, faults = visit(f"{PAGE}#network=standard&attack=pgd", theme, width)
    page.locator("[name=epsilon]").fill("0")
    honest = said(page)
    page.locator("[name=epsilon]").fill("36")
    fooled = said(page)
    read, after = re.findall(r" as (\d)", fooled)
    assert honest != fooled and read != after
    page.get_by_label("with PGD", exact=False).check()
    assert said(page) != fooled and not faults


def test_each_state_has_an_address(visit):
    page, faults = visit(PAGE)
    page.get_by_label("with FGSM", exact=False).check()
    page.get_by_label("l-2", exact=False).check()
    page.locator("[name=epsilon]").fill("17")
    page.locator("[name=steps]").fill("7")
    page.get_by_role("button", name="Other random numbers").click()
    page.locator(".pg-thumbnails label").nth(5).click()
    address, words = page.url.partition("#")[2], said(page)
    for part in ("network=fgsm", "threat=l2", "epsilon=1.7", "steps=7", "seed=2", "image=5"):
        assert part in address
    other, more = visit(f"{PAGE}#{address}")
    assert said(other) == words and not faults + more


def test_the_address_is_copied(visit):
    page, faults = visit(PAGE, permissions=["clipboard-read", "clipboard-write"])
    page.get_by_label("with FGSM", exact=False).check()
    page.get_by_role("button", name="Copy the address").click()
    page.get_by_role("button", name="Copied").wait_for()
    copied = page.evaluate("() => navigator.clipboard.readText()")
    assert copied == page.url and "network=fgsm" in copied and not faults


def test_it_answers_from_its_folder_too(visit):
    page, faults = visit(PAGE, base=f"{BOOK.as_uri()}/")
    assert "is read as" in said(page) and not faults


@pytest.mark.parametrize("attack", ["noise", "fgsm", "pgd"])
def test_the_ball_shows_the_box(visit, attack):
    """The dashed region has an area: the plane goes along directions that the box allows."""
    page, _ = visit(f"{PAGE}#network=standard&attack={attack}&epsilon=0.2")
    area = page.evaluate(
        """() => {
            const points = [...document.querySelector('[data-part=ball] .pg-box').points];
            return Math.abs(points.reduce((sum, p, i) => {
                const q = points[(i + 1) % points.length];
                return sum + p.x * q.y - q.x * p.y;
            }, 0)) / 2;
        }"""
    )
    assert area > 100  # of the chart's 66,000


def test_an_address_without_sense_is_the_first_state(visit):
    page, faults = visit(f"{PAGE}#network=none&epsilon=-3&steps=1e9&seed=x&image=99&drawn=no")
    other, _ = visit(PAGE)
    assert said(page) == said(other) and not faults


def test_a_digit_is_drawn_with_a_pointer_and_with_keys(visit):
    page, faults = visit(PAGE)
    page.get_by_label("draw one").check()
    box = page.locator("[data-part=before]").bounding_box()

    def at(column, row):
        return box["x"] + box["width"] * column / 28, box["y"] + box["height"] * row / 28

    page.mouse.move(*at(14, 5))
    page.mouse.down()
    page.mouse.move(*at(14, 23), steps=6)
    page.mouse.up()
    assert "read as 1" in said(page)
    drawn, words = page.url, said(page)
    page.get_by_role("button", name="clear").click()
    page.locator("[data-part=before]").focus()
    for _ in range(8):
        page.keyboard.press("ArrowDown")
    assert page.evaluate(INK) > 10
    other, _ = visit(f"book/{drawn.partition('/book/')[2]}")
    assert said(other) == words and not faults


def test_a_digit_is_drawn_with_a_finger(visit):
    page, faults = visit(PAGE, width=390, has_touch=True)
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
    for row in range(6, 23):
        touch("touchMove", row)
    touch("touchEnd")
    assert page.evaluate("() => scrollY") == before  # the picture, not the page, was moved
    assert page.evaluate(INK) > 30 and "Your drawing is read as" in said(page) and not faults
    grave = [r["id"] for r in Axe().run(page).response["violations"] if r["impact"] in GRAVE]
    assert not grave


def test_links_within_the_page_leave_the_state_alone(visit):
    page, faults = visit(PAGE)
    page.get_by_label("with FGSM", exact=False).check()
    words = said(page)
    page.goto(page.url.partition("#")[0] + "#things-to-try")
    assert said(page) == words and not faults


def test_every_control_is_reached_by_keyboard(visit):
    page, _ = visit(PAGE)
    page.locator("[name=image]").first.focus()
    names = set()
    for _ in range(12):
        names.add(page.evaluate("() => document.activeElement.name"))
        page.keyboard.press("Tab")
    assert {"image", "network", "attack", "threat", "epsilon", "steps", "again", "share"} <= names


def test_drawing_is_reached_by_keyboard(visit):
    page, _ = visit(f"{PAGE}#network=standard&image=drawn")
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
    page, faults = visit(f"{PAGE}#network=standard&attack=pgd&epsilon=0")
    words = said(page)
    page.locator("[name=epsilon]").focus()
    for _ in range(30):
        page.keyboard.press("ArrowRight")
    fooled = said(page)
    page.locator("[name=network][value=standard]").focus()
    page.keyboard.press("ArrowUp")  # from the first to the last
    assert len({words, fooled, said(page)}) == 3 and not faults
    assert "epsilon=0.25" in page.url and "network=pgd" in page.url


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("pgd", "record.base64 = record.base64.replace(/^..../, 'AAAA')", "the data are damaged."),
        ("pgd", "record.base64 = PLAYGROUND_WEIGHTS.fgsm.base64", "the data are damaged."),
        ("pgd", "record.shapes = record.shapes.toReversed()", "the data are damaged."),
        ("pgd", "Object.assign(record, PLAYGROUND_WEIGHTS.fgsm)", "these are the data of fgsm."),
        ("images", "record.labels = record.labels.toReversed()", "the data are damaged."),
    ],
)
def test_data_that_are_not_what_they_say_are_refused(visit, name, change, said):
    page, _ = visit(PAGE)
    found = page.evaluate(
        f"""name => {{
            const record = {{...PLAYGROUND_WEIGHTS[name]}};
            {change};
            try {{ Playground.bytesOf(record, name); }} catch (error) {{ return error.message; }}
        }}""",
        name,
    )
    assert found == f"{name}: {said}"


def test_a_page_with_damaged_weights_says_so(visit, browser, site):
    page = browser.new_page()

    def damage(route):
        body = route.fetch().text()
        route.fulfill(body=body.replace('"crc32": ', '"crc32": 1', 1))

    page.route("**/weights.js", damage)
    page.goto(site + PAGE)
    assert "cannot start. standard: the data are damaged." in page.locator(".pg-says").inner_text()
    assert not page.locator(".pg form").is_visible()
    page.close()


def test_its_files_are_small(measured):
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    total = sum(path.stat().st_size for path in files)
    measured(f"the playground has {len(files)} files, {total / 1000:.0f} kB")
    assert total < 500_000
