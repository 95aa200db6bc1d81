// The playground's page: what is chosen, what is drawn, and the address that says both.
"use strict";

(() => {
  const SIDE = 28, LARGEST = { linf: 0.5, l2: 6 }, TICKS = 60, PLANE = 17;
  const START = { image: "0", network: "standard", attack: "pgd", threat: "linf", epsilon: 24, steps: 20, seed: 1 };
  const { attack, threats, logits, softmax, crossEntropy } = Playground;
  const root = document.getElementById("playground");
  const form = root.querySelector("form");
  const part = (name) => root.querySelector(`[data-part="${name}"]`);

  const record = PLAYGROUND_WEIGHTS;
  const networks = {};
  for (const name of ["standard", "fgsm", "pgd"]) networks[name] = Playground.load(record[name], name);
  const bytes = Playground.bytesOf(record.images, "images");
  const images = record.images.labels.map((label, i) => ({
    label,
    pixels: Float32Array.from(bytes.subarray(i * SIDE * SIDE, (i + 1) * SIDE * SIDE), (b) => b / 255),
  }));
  const drawn = { label: null, pixels: new Float32Array(SIDE * SIDE) };
  let state = { ...START };

  // ---- the address -----------------------------------------------------------------------------

  /** Sixteen grey levels a pixel, two pixels a byte, in letters that an address may hold. */
  function packed(pixels) {
    let text = "";
    for (let i = 0; i < pixels.length; i += 2) {
      text += String.fromCharCode(16 * Math.round(15 * pixels[i]) + Math.round(15 * pixels[i + 1]));
    }
    return btoa(text).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  }

  function unpacked(text) {
    const bytes = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
    return Float32Array.from({ length: SIDE * SIDE }, (_, i) => {
      const byte = bytes.charCodeAt(i >> 1);
      return (i % 2 ? byte & 15 : byte >> 4) / 15;
    });
  }

  function toAddress() {
    const words = new URLSearchParams(Object.entries(state));
    if (state.image === "drawn") words.set("drawn", packed(drawn.pixels));
    history.replaceState(null, "", `#${words}`);
  }

  /** Take over what an address says, and leave out what makes no sense. */
  function fromAddress() {
    const words = new URLSearchParams(location.hash.slice(1)), chosen = { ...START };
    const allowed = {
      image: [...images.map((_, i) => String(i)), "drawn"],
      network: Object.keys(networks),
      attack: ["noise", "fgsm", "pgd"],
      threat: Object.keys(threats),
    };
    for (const [name, values] of Object.entries(allowed)) {
      if (values.includes(words.get(name))) chosen[name] = words.get(name);
    }
    for (const [name, most] of Object.entries({ epsilon: TICKS, steps: 40, seed: 1e9 })) {
      const number = Number(words.get(name) ?? NaN);
      const least = name === "steps" ? 1 : 0;
      if (Number.isInteger(number) && number >= least && number <= most) chosen[name] = number;
    }
    if (/^[\w-]{523}$/.test(words.get("drawn") || "")) drawn.pixels = unpacked(words.get("drawn"));
    state = chosen;
  }

  const epsilon = () => (LARGEST[state.threat] * state.epsilon) / TICKS;

  // ---- the choices -----------------------------------------------------------------------------

  /** A radio button with a picture for each image, and one for an image to draw. */
  function makeThumbnails() {
    const box = form.querySelector(".pg-thumbnails");
    [...images.keys(), "drawn"].forEach((value) => {
      const label = document.createElement("label"), input = document.createElement("input");
      Object.assign(input, { type: "radio", name: "image", value });
      label.append(input);
      if (value === "drawn") label.append("draw one");
      else {
        const canvas = document.createElement("canvas");
        canvas.width = canvas.height = SIDE;
        paint(canvas, images[value].pixels, grey);
        input.setAttribute("aria-label", `image ${value + 1}, a ${images[value].label}`);
        label.append(canvas);
      }
      box.append(label);
    });
  }

  /** Show in the form what is chosen. */
  function toForm() {
    for (const name of ["image", "network", "attack", "threat"]) form.elements[name].value = state[name];
    for (const name of ["epsilon", "steps"]) form.elements[name].value = state[name];
    form.elements["epsilon-is"].value = epsilon().toFixed(state.threat === "linf" ? 3 : 1);
    form.elements["steps-is"].value = state.steps;
    form.elements.steps.disabled = state.attack !== "pgd";
    form.elements.again.disabled = state.attack === "fgsm";
    root.querySelector(".pg-drawing").hidden = state.image !== "drawn";
    part("before").tabIndex = state.image === "drawn" ? 0 : -1;
  }

  function fromForm() {
    for (const name of ["image", "network", "attack", "threat"]) state[name] = form.elements[name].value;
    for (const name of ["epsilon", "steps"]) state[name] = Number(form.elements[name].value);
    update();
  }

  // ---- pictures --------------------------------------------------------------------------------

  const grey = (value) => [255 * value, 255 * value, 255 * value];
  /** Orange raises a pixel, blue lowers it, white leaves it. */
  const change = (value) =>
    value > 0 ? [255, 255 - 140 * value, 255 - 255 * value] : [255 + 255 * value, 255 + 141 * value, 255 + 77 * value];

  function paint(canvas, values, colour) {
    const context = canvas.getContext("2d"), pixels = context.createImageData(SIDE, SIDE);
    values.forEach((value, i) => pixels.data.set([...colour(value), 255], 4 * i));
    context.putImageData(pixels, 0, 0);
  }

  function element(name, attributes, text) {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== undefined) node.textContent = text;
    return node;
  }

  /** Fill a chart with its parts, and say in words what it shows. */
  function show(svg, words, parts) {
    svg.setAttribute("aria-label", words);
    svg.replaceChildren(...parts);
  }

  const percent = (share) => `${(100 * share).toFixed(share > 0.001 && share < 0.999 ? 1 : 0)} %`;

  function drawBars(before, after) {
    const parts = [], row = 21, left = 22, wide = 232;
    for (let digit = 0; digit < 10; digit++) {
      const y = 8 + digit * row;
      parts.push(element("text", { x: 6, y: y + 13 }, digit));
      parts.push(element("rect", { x: left, y: y + 8, width: wide * after[digit], height: 9, class: "pg-filled" }));
      parts.push(element("rect", { x: left, y, width: wide * before[digit], height: 6, class: "pg-hollow" }));
      const shown = Math.max(before[digit], after[digit]);
      if (shown > 0.005) {
        parts.push(element("text", { x: left + wide * shown + 4, y: y + 13, class: "pg-small" }, percent(after[digit])));
      }
    }
    const list = (p) => p.map((share, digit) => `${digit}: ${percent(share)}`).join(", ");
    show(part("bars"), `Probabilities before the attack: ${list(before)}. After it: ${list(after)}.`, parts);
  }

  function drawLosses({ path, losses, best }, misread) {
    const most = Math.max(1, ...losses), x = (i) => 34 + (256 * i) / (path.length - 1 || 1);
    const y = (loss) => 190 - (175 * loss) / most;
    const parts = [0, most / 2, most].flatMap((loss) => [
      element("line", { x1: 34, x2: 290, y1: y(loss), y2: y(loss), class: "pg-grid" }),
      element("text", { x: 28, y: y(loss) + 4, class: "pg-small", "text-anchor": "end" }, loss.toFixed(1)),
    ]);
    parts.push(element("polyline", { points: losses.map((loss, i) => `${x(i)},${y(loss)}`).join(" "), class: "pg-line" }));
    losses.forEach((loss, i) => {
      const [at, up] = [x(i), y(loss)], size = 3;
      parts.push(
        misread[i]
          ? element("path", { d: `M${at - size} ${up - size}l6 6m0 -6l-6 6`, class: "pg-line" })
          : element("circle", { cx: at, cy: up, r: 2.5, class: "pg-dot" }),
      );
    });
    parts.push(element("circle", { cx: x(best), cy: y(losses[best]), r: 7, class: "pg-ring" }));
    parts.push(element("text", { x: 162, y: 214, "text-anchor": "middle" }, "step"));
    const words = `The loss goes from ${losses[0].toFixed(2)} to ${losses[losses.length - 1].toFixed(2)}. `;
    show(part("losses"), `${words}The result is step ${best}, with a loss of ${losses[best].toFixed(2)}.`, parts);
  }

  // ---- the ball --------------------------------------------------------------------------------

  const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
  const minus = (a, b) => Float64Array.from(a, (value, i) => value - b[i]);
  const times = (a, s) => Float64Array.from(a, (value) => value * s);
  const unit = (a) => times(a, 1 / Math.max(Math.sqrt(dot(a, a)), 1e-12));

  /** Two directions at right angles: towards the result, and towards the start. */
  function plane(image, path, best) {
    const result = minus(path[best], image), u = unit(result);
    const others = [...path, image.map((_, i) => image[i] + Math.sin(7 * i * i))];
    const v = others
      .map((point) => minus(point, image))
      .map((delta) => minus(delta, times(u, dot(delta, u))))
      .find((rest) => Math.sqrt(dot(rest, rest)) > 1e-3);
    return [u, unit(v)];
  }

  /** How far one may go along a direction inside ball and box. */
  function reach(image, direction) {
    const ball = epsilon() / threats[state.threat].length(direction);
    let box = Infinity;
    direction.forEach((d, i) => {
      if (Math.abs(d) > 1e-9) box = Math.min(box, (d > 0 ? 1 - image[i] : -image[i]) / d);
    });
    return { ball, box };
  }

  function drawBall(image, label, { path, best }, withLoss) {
    const svg = part("ball");
    if (epsilon() === 0) return show(svg, "With an epsilon of 0 the ball is a point.", []);
    const [u, v] = plane(image, path, best);
    const along = (angle) => u.map((value, i) => Math.cos(angle) * value + Math.sin(angle) * v[i]);
    const angles = Array.from({ length: 73 }, (_, i) => (Math.PI * i) / 36);
    const edges = angles.map((angle) => reach(image, along(angle)));
    const dots = path.map((point) => [dot(minus(point, image), u), dot(minus(point, image), v)]);
    const most = 1.1 * Math.max(...edges.map((edge) => edge.ball), ...dots.flat().map(Math.abs));
    const x = (a) => 150 + (100 * a) / most, y = (b) => 110 - (100 * b) / most;
    const outline = (name) =>
      angles.map((angle, i) => {
        const r = Math.min(edges[i][name], 3 * most);
        return `${x(r * Math.cos(angle))},${y(r * Math.sin(angle))}`;
      });
    const parts = withLoss ? shades(image, label, u, v, most) : [];
    parts.push(element("polygon", { points: outline("box").join(" "), class: "pg-box" }));
    parts.push(element("polygon", { points: outline("ball").join(" "), class: "pg-ball" }));
    parts.push(element("polyline", { points: dots.map(([a, b]) => `${x(a)},${y(b)}`).join(" "), class: "pg-line" }));
    dots.forEach(([a, b]) => parts.push(element("circle", { cx: x(a), cy: y(b), r: 2, class: "pg-dot" })));
    parts.push(element("circle", { cx: x(0), cy: y(0), r: 4, class: "pg-image" }));
    parts.push(element("circle", { cx: x(dots[best][0]), cy: y(dots[best][1]), r: 7, class: "pg-ring" }));
    const { length } = threats[state.threat];
    const far = length(minus(path[best], image)).toFixed(3);
    show(svg, `The path from the image to the result, ${far} away, in a ball of radius ${epsilon().toFixed(3)}.`, parts);
  }

  /** Squares of grey: the loss on the plane. */
  function shades(image, label, u, v, most) {
    const cells = [], wide = 200 / PLANE;
    for (let row = 0; row < PLANE; row++) {
      for (let column = 0; column < PLANE; column++) {
        const a = most * ((2 * (column + 0.5)) / PLANE - 1), b = most * (1 - (2 * (row + 0.5)) / PLANE);
        const point = image.map((value, i) => Math.min(Math.max(value + a * u[i] + b * v[i], 0), 1));
        const loss = crossEntropy(logits(networks[state.network], point), label);
        const place = { x: 50 + column * wide, y: 10 + row * wide, width: wide + 0.3, height: wide + 0.3 };
        cells.push(element("rect", { ...place, class: "pg-loss", opacity: Math.min(loss / 8, 1).toFixed(3) }));
      }
    }
    return cells;
  }

  // ---- from the choices to the pictures --------------------------------------------------------

  let later = 0;

  /** Attack, and draw. The shades of the ball take longest, and come when the reader's hand rests. */
  function update() {
    toForm();
    toAddress();
    const network = networks[state.network];
    const image = state.image === "drawn" ? drawn.pixels : images[state.image].pixels;
    const clean = softmax(logits(network, image)), read = clean.indexOf(Math.max(...clean));
    const label = state.image === "drawn" ? read : images[state.image].label;
    const how = { attack: state.attack, threat: state.threat, epsilon: epsilon(), steps: state.steps, seed: state.seed };
    const found = attack(network, image, label, how), result = found.path[found.best];
    const seen = found.path.map((point) => softmax(logits(network, point)));
    const answers = seen.map((p) => p.indexOf(Math.max(...p))), after = seen[found.best];
    const delta = minus(result, image), scale = Math.max(epsilon(), 1e-9) / (state.threat === "linf" ? 1 : 4);
    paint(part("before"), image, grey);
    paint(part("delta"), delta.map((d) => Math.min(Math.max(d / scale, -1), 1)), change);
    paint(part("after"), result, grey);
    drawBars(clean, after);
    drawLosses(found, answers.map((answer) => answer !== label));
    drawBall(image, label, found, false);
    clearTimeout(later);
    later = setTimeout(() => drawBall(image, label, found, true), 150);
    say(label, read, clean, answers[found.best], after);
    root.dataset.answer = answers[found.best];
  }

  function say(label, read, clean, answer, after) {
    const whose = state.image === "drawn" ? "Your drawing" : `This ${label}`;
    const words = `${whose} is read as ${read} (${percent(clean[read])}), and after the attack as ${answer} (${percent(after[answer])}).`;
    root.querySelector(".pg-says").textContent = words;
    part("before").setAttribute("aria-label", `The image, read as ${read}.`);
    part("delta").setAttribute("aria-label", "The perturbation: orange raises a pixel, blue lowers it.");
    part("after").setAttribute("aria-label", `The attacked image, read as ${answer}.`);
  }

  // ---- drawing ---------------------------------------------------------------------------------

  /** Put a round dab of white at a place, in pixels. */
  function dab(column, row) {
    for (let i = 0; i < SIDE * SIDE; i++) {
      const distance = Math.hypot((i % SIDE) + 0.5 - column, Math.floor(i / SIDE) + 0.5 - row);
      drawn.pixels[i] = Math.max(drawn.pixels[i], Math.min(Math.max(1.9 - distance, 0), 1));
    }
    update();
  }

  function makeDrawable(canvas) {
    let last = null, pen = [SIDE / 2, SIDE / 2];
    const place = (event) => {
      const box = canvas.getBoundingClientRect();
      return [((event.clientX - box.left) / box.width) * SIDE, ((event.clientY - box.top) / box.height) * SIDE];
    };
    canvas.addEventListener("pointerdown", (event) => {
      if (state.image !== "drawn") return;
      canvas.setPointerCapture(event.pointerId);
      last = place(event);
      dab(...last);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!last) return;
      const to = place(event), n = Math.ceil(Math.hypot(to[0] - last[0], to[1] - last[1]));
      for (let i = 1; i <= n; i++) dab(last[0] + ((to[0] - last[0]) * i) / n, last[1] + ((to[1] - last[1]) * i) / n);
      last = to;
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (last = null));
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    canvas.addEventListener("keydown", (event) => {
      if (state.image !== "drawn" || !steps[event.key]) return;
      event.preventDefault();
      pen = pen.map((value, i) => Math.min(Math.max(value + steps[event.key][i], 1), SIDE - 1));
      if (event.shiftKey) paintPen(canvas, pen);
      else dab(...pen);
    });
  }

  /** Show where the pen is, when it moves without drawing. */
  function paintPen(canvas, [column, row]) {
    paint(canvas, drawn.pixels, grey);
    const context = canvas.getContext("2d");
    context.fillStyle = "#E69F00";
    context.fillRect(column - 1, row - 1, 2, 2);
  }

  // ---- begin -----------------------------------------------------------------------------------

  makeThumbnails();
  makeDrawable(part("before"));
  form.addEventListener("input", fromForm);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.elements.again.addEventListener("click", () => {
    state.seed += 1;
    update();
  });
  form.elements.share.addEventListener("click", async () => {
    const button = form.elements.share, words = button.textContent;
    try {
      await navigator.clipboard.writeText(location.href);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Copy it from the address bar";
    }
    setTimeout(() => (button.textContent = words), 2000);
  });
  root.querySelector("[name=clear]").addEventListener("click", () => {
    drawn.pixels.fill(0);
    update();
  });
  addEventListener("hashchange", () => {
    fromAddress();
    update();
  });
  fromAddress();
  update();
})();
