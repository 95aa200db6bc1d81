// The charts of the playground: what the network says, the loss along the way, and the ball.
"use strict";

(() => {
  const PLANE = 17; // squares of loss in a row

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

  function percent(share) {
    if (share > 0.999) return "over 99.9 %";
    return `${(100 * share).toFixed(share < 0.001 ? 0 : 1)} %`;
  }

  /** The probabilities before and after the attack, a row for each digit. */
  function drawBars(svg, before, after) {
    const parts = [], row = 21, left = 22, wide = 130;
    for (let digit = 0; digit < 10; digit++) {
      const y = 8 + digit * row;
      parts.push(element("text", { x: 6, y: y + 13 }, digit));
      parts.push(element("rect", { x: left, y: y + 8, width: wide * after[digit], height: 9, class: "pg-filled" }));
      parts.push(element("rect", { x: left, y, width: wide * before[digit], height: 6, class: "pg-hollow" }));
      const shown = Math.max(before[digit], after[digit]);
      if (shown > 0.005) {
        parts.push(element("text", { x: left + wide * shown + 4, y: y + 13, class: "pg-small" }, `${percent(before[digit])} → ${percent(after[digit])}`));
      }
    }
    const list = (p) => p.map((share, digit) => `${digit}: ${percent(share)}`).join(", ");
    show(svg, `Probabilities before the attack: ${list(before)}. After it: ${list(after)}.`, parts);
  }

  /** The loss at each point of the path. */
  function drawLosses(svg, { path, losses, misread, best }) {
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
    show(svg, `${words}The result is step ${best}, with a loss of ${losses[best].toFixed(2)}.`, parts);
  }

  // ---- the ball --------------------------------------------------------------------------------

  const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
  const minus = (a, b) => Float64Array.from(a, (value, i) => value - b[i]);
  const times = (a, s) => Float64Array.from(a, (value) => value * s);
  const unit = (a) => times(a, 1 / Math.max(Math.sqrt(dot(a, a)), 1e-12));

  /** Two directions at right angles: towards the result, and towards the start or another point. */
  function plane(image, path, best) {
    const result = minus(path[best], image), u = unit(result), wave = (i) => Math.sin(7 * i * i);
    // The pixels that the result leaves alone, moved away from the edge of the box; else any pixels.
    const inwards = image.map((x, i) => (u[i] ? x : x + Math.abs(wave(i)) * (x < 0.5 ? 1 : -1)));
    const others = [...path, inwards, image.map((x, i) => x + wave(i))];
    const v = others
      .map((point) => minus(point, image))
      .map((delta) => minus(delta, times(u, dot(delta, u))))
      .find((rest) => Math.sqrt(dot(rest, rest)) > 1e-3);
    return [u, unit(v)];
  }

  /** How far one may go along a direction inside ball and box. */
  function reach(image, direction, threat, epsilon) {
    const ball = epsilon / threat.length(direction);
    let box = Infinity;
    direction.forEach((d, i) => {
      if (Math.abs(d) > 1e-9) box = Math.min(box, (d > 0 ? 1 - image[i] : -image[i]) / d);
    });
    return { ball, box };
  }

  /** The path in a plane through the ball; `lossAt`, if given, shades the plane by the loss. */
  function drawBall(svg, image, { path, best }, threat, epsilon, lossAt) {
    if (threat.length(minus(path[best], image)) === 0) {
      const words = "The attack did not move.";
      return show(svg, words, [element("text", { x: 150, y: 110, "text-anchor": "middle" }, words)]);
    }
    const [u, v] = plane(image, path, best);
    const along = (angle) => u.map((value, i) => Math.cos(angle) * value + Math.sin(angle) * v[i]);
    const angles = Array.from({ length: 73 }, (_, i) => (Math.PI * i) / 36);
    const edges = angles.map((angle) => reach(image, along(angle), threat, epsilon));
    const dots = path.map((point) => [dot(minus(point, image), u), dot(minus(point, image), v)]);
    const most = 1.1 * Math.max(...edges.map((edge) => edge.ball), ...dots.flat().map(Math.abs));
    const x = (a) => 150 + (100 * a) / most, y = (b) => 110 - (100 * b) / most;
    const outline = (name) =>
      angles.map((angle, i) => {
        const r = Math.min(edges[i][name], 3 * most);
        return `${x(r * Math.cos(angle))},${y(r * Math.sin(angle))}`;
      });
    const parts = lossAt ? shades(image, u, v, most, lossAt) : [];
    parts.push(element("polygon", { points: outline("box").join(" "), class: "pg-box" }));
    parts.push(element("polygon", { points: outline("ball").join(" "), class: "pg-ball" }));
    parts.push(element("polyline", { points: dots.map(([a, b]) => `${x(a)},${y(b)}`).join(" "), class: "pg-line" }));
    dots.forEach(([a, b]) => parts.push(element("circle", { cx: x(a), cy: y(b), r: 2, class: "pg-dot" })));
    parts.push(element("circle", { cx: x(0), cy: y(0), r: 4, class: "pg-image" }));
    parts.push(element("circle", { cx: x(dots[best][0]), cy: y(dots[best][1]), r: 7, class: "pg-ring" }));
    const far = threat.length(minus(path[best], image)).toFixed(3);
    show(svg, `The path of the attack; its result is ${far} away from the image, in a ball of radius ${epsilon.toFixed(3)}.`, parts);
  }

  /** Squares: the stronger the shade, the higher the loss there. */
  function shades(image, u, v, most, lossAt) {
    const cells = [], losses = [], wide = 200 / PLANE;
    for (let row = 0; row < PLANE; row++) {
      for (let column = 0; column < PLANE; column++) {
        const a = most * ((2 * (column + 0.5)) / PLANE - 1), b = most * (1 - (2 * (row + 0.5)) / PLANE);
        losses.push(lossAt(image.map((value, i) => Math.min(Math.max(value + a * u[i] + b * v[i], 0), 1))));
        const place = { x: 50 + column * wide, y: 10 + row * wide, width: wide + 0.3, height: wide + 0.3 };
        cells.push(element("rect", { ...place, class: "pg-loss" }));
      }
    }
    const largest = Math.max(...losses, 1e-12);
    cells.forEach((cell, i) => cell.setAttribute("opacity", ((0.45 * losses[i]) / largest).toFixed(3)));
    return cells;
  }

  Object.assign(Playground, { drawBall, drawBars, drawLosses, percent });
})();
