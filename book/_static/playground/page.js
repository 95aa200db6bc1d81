// The playground's page: what is chosen, what is drawn, and the address that says both.
"use strict";

(() => {
  const SIDE = 28, LARGEST = { linf: 0.5, l2: 6 }, TICKS = 60, LEVELS = 15, LAST_SEED = 1e9;
  const START = { image: "0", network: "standard", attack: "pgd", threat: "linf", epsilon: 24, steps: 20, seed: 1 };
  const { attack, crossEntropy, drawBall, drawBars, drawLosses, percent, threats } = Playground;
  const root = document.querySelector(".pg");
  const form = root.querySelector("form");
  const part = (name) => root.querySelector(`[data-part="${name}"]`);

  let images, networks, drawn = new Float32Array(SIDE * SIDE), state = { ...START }, retry = 0;

  /** Take the networks and images out of their script; what is damaged is named, and nothing shown. */
  function unpack() {
    networks = {};
    for (const name of ["standard", "fgsm", "pgd"]) {
      networks[name] = Playground.load(PLAYGROUND_WEIGHTS[name], name);
    }
    const record = PLAYGROUND_WEIGHTS.images, bytes = Playground.bytesOf(record, "images");
    images = record.labels.map((label, i) => ({
      label,
      pixels: Float32Array.from(bytes.subarray(i * SIDE * SIDE, (i + 1) * SIDE * SIDE), (b) => b / 255),
    }));
  }

  const epsilon = () => (LARGEST[state.threat] * state.epsilon) / TICKS;
  const isDrawn = () => state.image === "drawn";
  const isEmpty = () => isDrawn() && drawn.every((value) => value === 0);

  // ---- the address -----------------------------------------------------------------------------

  /** The drawing's grey levels, two pixels a byte, in letters that an address may hold. */
  function packed() {
    let text = "";
    for (let i = 0; i < drawn.length; i += 2) {
      text += String.fromCharCode(16 * Math.round(LEVELS * drawn[i]) + Math.round(LEVELS * drawn[i + 1]));
    }
    return btoa(text).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  }

  function unpacked(text) {
    const bytes = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
    return Float32Array.from({ length: SIDE * SIDE }, (_, i) => {
      const byte = bytes.charCodeAt(i >> 1);
      return (i % 2 ? byte & 15 : byte >> 4) / LEVELS;
    });
  }

  function address() {
    const words = new URLSearchParams(Object.entries({ ...state, epsilon: +epsilon().toFixed(4) }));
    if (isDrawn()) words.set("drawn", packed());
    return new URL(`#${words}`, location.href).href;
  }

  /** Browsers allow so many changes a minute, and throw at the next or ignore it: try again then. */
  function toAddress() {
    clearTimeout(retry);
    if (location.href === address()) return;
    try {
      history.replaceState(null, "", address());
    } catch (error) {
      console.info(error.message);
    }
    if (location.href !== address()) retry = setTimeout(toAddress, 1000);
  }

  /** Take over what an address says, and leave out what makes no sense; other anchors say nothing. */
  function fromAddress() {
    const words = new URLSearchParams(location.hash.slice(1));
    if (!words.has("network")) return;
    const allowed = {
      image: [...images.map((_, i) => String(i)), "drawn"],
      network: Object.keys(networks),
      attack: ["noise", "fgsm", "pgd"],
      threat: Object.keys(threats),
    };
    state = { ...START };
    for (const [name, values] of Object.entries(allowed)) {
      if (values.includes(words.get(name))) state[name] = words.get(name);
    }
    const ticks = Math.round((TICKS * Number(words.get("epsilon") || NaN)) / LARGEST[state.threat]);
    if (ticks >= 0 && ticks <= TICKS) state.epsilon = ticks;
    for (const [name, least, most] of [["steps", 1, 40], ["seed", 0, LAST_SEED]]) {
      const number = Number(words.get(name) || NaN);
      if (Number.isInteger(number) && number >= least && number <= most) state[name] = number;
    }
    if (!isDrawn()) return;
    const text = words.get("drawn") || "";
    drawn = /^[\w-]{523}$/.test(text) ? unpacked(text) : new Float32Array(SIDE * SIDE);
  }

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
    for (const [name, value] of Object.entries(state)) {
      if (form.elements[name]) form.elements[name].value = value;
    }
    const size = epsilon().toFixed(state.threat === "linf" ? 3 : 1);
    form.elements.epsilon.setAttribute("aria-valuetext", size);
    part("epsilon").textContent = size;
    part("steps").textContent = state.steps;
    form.elements.steps.disabled = state.attack !== "pgd";
    form.elements.again.disabled = state.attack === "fgsm";
    part("full-colour").textContent = state.threat === "linf" ? "ε" : "a quarter of ε";
    root.classList.toggle("pg-drawing", isDrawn());
    part("before").tabIndex = isDrawn() ? 0 : -1;
    part("before").setAttribute("role", isDrawn() ? "application" : "img");
  }

  function fromForm() {
    for (const name of ["image", "network", "attack", "threat"]) state[name] = form.elements[name].value;
    for (const name of ["epsilon", "steps"]) state[name] = Number(form.elements[name].value);
    soon();
  }

  // ---- pictures --------------------------------------------------------------------------------

  const grey = (value) => [255 * value, 255 * value, 255 * value];
  /** Red raises a pixel, blue lowers it, white leaves it. */
  const change = (value) =>
    value > 0 ? [255 - 77 * value, 255 - 231 * value, 255 - 212 * value] : [255 + 222 * value, 255 + 153 * value, 255 + 83 * value];

  function paint(canvas, values, colour) {
    const context = canvas.getContext("2d"), pixels = context.createImageData(SIDE, SIDE);
    values.forEach((value, i) => pixels.data.set([...colour(value), 255], 4 * i));
    context.putImageData(pixels, 0, 0);
  }

  // ---- from the choices to the pictures --------------------------------------------------------

  let frame = 0, later = 0;

  /** Answer once a frame, however many events came. */
  function soon() {
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      update();
    });
  }

  /** Attack and draw. What takes longer, or speaks, comes when the reader's hand rests. */
  function update() {
    toForm();
    const network = networks[state.network];
    const image = isDrawn() ? drawn : images[state.image].pixels;
    const clean = Playground.softmax(Playground.logits(network, image));
    const read = clean.indexOf(Math.max(...clean));
    const label = isDrawn() ? read : images[state.image].label;
    const found = attack(network, image, label, { ...state, epsilon: epsilon() });
    const result = found.path[found.best], delta = result.map((r, i) => r - image[i]);
    const after = Playground.softmax(found.logits[found.best]);
    const scale = Math.max(epsilon(), 1e-9) / (state.threat === "linf" ? 1 : 4);
    paint(part("before"), image, grey);
    paint(part("delta"), delta.map((d) => Math.min(Math.max(d / scale, -1), 1)), change);
    paint(part("after"), result, grey);
    drawBars(part("bars"), clean, after);
    drawLosses(part("losses"), found);
    const where = [part("ball"), image, found, threats[state.threat], epsilon()];
    drawBall(...where);
    say(label, clean, read, after, delta);
    clearTimeout(later);
    later = setTimeout(() => {
      drawBall(...where, (point) => crossEntropy(Playground.logits(network, point), label));
      part("spoken").textContent = part("says").textContent;
    }, 150);
  }

  function say(label, clean, read, after, delta) {
    const answer = after.indexOf(Math.max(...after)), whose = isDrawn() ? "Your drawing" : `This ${label}`;
    part("says").textContent = isEmpty()
      ? "Draw a digit in the first picture."
      : `${whose} is read as ${read} (${percent(clean[read])}), and after the attack as ${answer} (${percent(after[answer])}).`;
    const drawing = "Drawing area: the arrow keys draw, with Shift they move the pen.";
    part("before").setAttribute("aria-label", isDrawn() ? drawing : `The image, read as ${read}.`);
    part("after").setAttribute("aria-label", `The attacked image, read as ${answer}.`);
    const norm = state.threat === "linf" ? "l-inf" : "l-2", length = threats[state.threat].length(delta).toFixed(3);
    const size = `of length ${length} in ${norm}, changes ${delta.filter(Boolean).length} pixels`;
    part("delta").setAttribute("aria-label", `The perturbation, ${size}: red raises a pixel, blue lowers it.`);
  }

  // ---- drawing ---------------------------------------------------------------------------------

  /** Put a round dab of white at a place, in pixels, in the grey levels that an address holds. */
  function dab(column, row) {
    for (let i = 0; i < SIDE * SIDE; i++) {
      const distance = Math.hypot((i % SIDE) + 0.5 - column, Math.floor(i / SIDE) + 0.5 - row);
      const ink = Math.round(LEVELS * Math.min(Math.max(1.9 - distance, 0), 1)) / LEVELS;
      drawn[i] = Math.max(drawn[i], ink);
    }
    soon();
  }

  /** Browsers report one move a frame; what the pointer did in between, some tell on request. */
  function withThoseBetween(event) {
    const events = event.getCoalescedEvents?.() || [];
    return events.length ? events : [event];
  }

  function drawByPointer(canvas) {
    let pen = null; // which pointer draws, and where it was last: another finger does not join in
    const place = (event) => {
      const box = canvas.getBoundingClientRect();
      return [((event.clientX - box.left) / box.width) * SIDE, ((event.clientY - box.top) / box.height) * SIDE];
    };
    canvas.addEventListener("pointerdown", (event) => {
      if (pen || !isDrawn() || !event.isPrimary || event.button || event.ctrlKey) return;
      canvas.setPointerCapture(event.pointerId);
      pen = { id: event.pointerId, last: place(event) };
      dab(...pen.last);
    });
    const lineTo = (to) => {
      const { last } = pen, n = Math.ceil(Math.hypot(to[0] - last[0], to[1] - last[1]));
      for (let i = 1; i <= n; i++) dab(last[0] + ((to[0] - last[0]) * i) / n, last[1] + ((to[1] - last[1]) * i) / n);
      pen.last = to;
    };
    canvas.addEventListener("pointermove", (event) => {
      if (event.pointerId !== pen?.id) return;
      if (!(event.buttons & 1) || !isDrawn()) pen = null;
      else for (const each of withThoseBetween(event)) lineTo(place(each));
    });
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
      canvas.addEventListener(end, (event) => {
        if (event.pointerId === pen?.id) pen = null;
      });
    }
  }

  function drawByKeys(canvas) {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    let pen = [SIDE / 2, SIDE / 4];
    /** Show where the pen is, until the picture is painted again. */
    const showPen = () => {
      const context = canvas.getContext("2d");
      context.fillStyle = "#e69f00";
      context.fillRect(pen[0] - 1, pen[1] - 1, 2, 2);
    };
    canvas.addEventListener("focus", () => isDrawn() && canvas.matches(":focus-visible") && showPen());
    canvas.addEventListener("blur", soon);
    canvas.addEventListener("keydown", (event) => {
      if (!isDrawn() || !steps[event.key] || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      pen = pen.map((value, i) => Math.min(Math.max(value + steps[event.key][i], 1), SIDE - 1));
      if (!event.shiftKey) dab(...pen);
      soon();
      requestAnimationFrame(showPen);
    });
  }

  // ---- begin -----------------------------------------------------------------------------------

  function listen() {
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", fromForm);
    form.addEventListener("change", toAddress);
    for (const event of ["pointerup", "pointercancel", "keyup"]) part("before").addEventListener(event, () => isDrawn() && toAddress());
    form.elements.again.addEventListener("click", () => {
      state.seed = (state.seed + 1) % (LAST_SEED + 1);
      soon();
      toAddress();
    });
    root.querySelector("[name=clear]").addEventListener("click", () => {
      drawn.fill(0);
      soon();
      toAddress();
    });
    const { share } = form.elements, words = share.textContent;
    share.addEventListener("click", async () => {
      toAddress();
      const copied = await navigator.clipboard?.writeText(address()).then(() => true, () => false);
      share.textContent = copied ? "Copied" : "Copy it from the address bar";
      setTimeout(() => (share.textContent = words), 2000);
    });
    addEventListener("hashchange", () => {
      fromAddress();
      soon();
      if (!location.hash) toAddress(); // a link to the top of the page says nothing, and stays no address
    });
  }

  try {
    unpack();
  } catch (error) {
    root.classList.add("pg-broken");
    part("says").textContent = `The playground cannot start. ${error.message}`;
    return;
  }
  makeThumbnails();
  drawByPointer(part("before"));
  drawByKeys(part("before"));
  listen();
  fromAddress();
  update();
})();
