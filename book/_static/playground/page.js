// The playground's page: what is chosen, what is drawn, and the address that says both.
"use strict";

(() => {
  const SIDE = 28, LARGEST = { linf: 0.5, l2: 6 }, TICKS = 60;
  const START = { image: "0", network: "standard", attack: "pgd", threat: "linf", epsilon: 24, steps: 20, seed: 1 };
  const { attack, threats, logits, percent, softmax, crossEntropy } = Playground;
  const { drawBall, drawBars, drawLosses } = Playground;
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

  const minus = (a, b) => a.map((value, i) => value - b[i]);
  const grey = (value) => [255 * value, 255 * value, 255 * value];
  /** Orange raises a pixel, blue lowers it, white leaves it. */
  const change = (value) =>
    value > 0 ? [255, 255 - 140 * value, 255 - 255 * value] : [255 + 255 * value, 255 + 141 * value, 255 + 77 * value];

  function paint(canvas, values, colour) {
    const context = canvas.getContext("2d"), pixels = context.createImageData(SIDE, SIDE);
    values.forEach((value, i) => pixels.data.set([...colour(value), 255], 4 * i));
    context.putImageData(pixels, 0, 0);
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
    drawBars(part("bars"), clean, after);
    drawLosses(part("losses"), found, answers.map((answer) => answer !== label));
    const where = [part("ball"), image, found, threats[state.threat], epsilon()];
    drawBall(...where);
    clearTimeout(later);
    later = setTimeout(() => drawBall(...where, (point) => crossEntropy(logits(network, point), label)), 150);
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
