// Threat models and attacks of the playground, as `robustlib` has them, for a single image.
"use strict";

(() => {
  /** Numbers in [0, 1) from a seed, always the same (mulberry32). */
  function random(seed) {
    let state = seed >>> 0;
    return () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let t = Math.imul(state ^ (state >>> 15), state | 1);
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
  }

  /** A number of the normal distribution (Box and Muller). */
  const normal = (draw) => Math.sqrt(-2 * Math.log(1 - draw())) * Math.cos(2 * Math.PI * draw());

  const clip = (value, low, high) => Math.min(Math.max(value, low), high);
  const norm = (x) => Math.sqrt(x.reduce((sum, value) => sum + value * value, 0));
  const toBox = (image) => image.map((value) => clip(value, 0, 1));

  /**
   * The largest s in [0, most] at which the changes stay within a length, and those changes:
   * pixel i changes by s * direction[i], as far as the box allows.
   */
  function longest(points, direction, length, most) {
    const change = (s, i) => clip(s * direction[i], -points[i], 1 - points[i]);
    const fits = (s) => {
      let sum = 0;
      for (let i = 0; i < points.length; i++) sum += change(s, i) ** 2;
      return Math.sqrt(sum) <= length;
    };
    let low = 0, high = most;
    if (fits(most)) low = most;
    else {
      for (let i = 0; i < 50; i++) {
        const middle = (low + high) / 2;
        if (fits(middle)) low = middle;
        else high = middle;
      }
    }
    return direction.map((_, i) => change(low, i));
  }

  const add = (x, y) => x.map((value, i) => value + y[i]);

  const threats = {
    linf: {
      /** The point of ball and box that is nearest to a point. */
      project: (image, point, epsilon) =>
        point.map((p, i) => clip(clip(p, image[i] - epsilon, image[i] + epsilon), 0, 1)),
      /** A random point of ball and box. */
      sample: (image, epsilon, draw) =>
        image.map((x) => {
          const low = Math.max(x - epsilon, 0);
          return low + draw() * (Math.min(x + epsilon, 1) - low);
        }),
      /** The step of this size that raises the linearised loss most. */
      steepest: (point, gradient, size) => toBox(point.map((p, i) => p + size * Math.sign(gradient[i]))),
      /** How far a perturbation goes. */
      length: (delta) => delta.reduce((most, d) => Math.max(most, Math.abs(d)), 0),
    },
    l2: {
      project: (image, point, epsilon) =>
        add(image, longest(image, point.map((p, i) => p - image[i]), epsilon, 1)),
      sample: (image, epsilon, draw) => {
        const direction = image.map(() => normal(draw));
        const radius = (epsilon * draw() ** (1 / image.length)) / norm(direction);
        return toBox(image.map((x, i) => x + radius * direction[i]));
      },
      steepest: (point, gradient, size) => {
        // In double precision: the gradients of a sure network are too small for single.
        const largest = gradient.reduce((most, g) => Math.max(most, Math.abs(g)), 0);
        if (largest === 0 || size === 0) return point;
        const direction = Float64Array.from(gradient, (g) => g / largest);
        const moved = longest(Float64Array.from(point), direction, size, 1e6);
        return toBox(point.map((p, i) => p + moved[i]));
      },
      length: norm,
    },
  };

  /** A step of full size in a random direction. */
  function noise(network, image, label, threat, epsilon, draw) {
    const direction = image.map(() => normal(draw));
    return [image, threat.steepest(image, direction, epsilon)];
  }

  /** The fast gradient sign method, or its like in l-2: one step along the gradient. */
  function fgsm(network, image, label, threat, epsilon) {
    const { gradient } = Playground.lossAndGradient(network, image, label);
    return [image, threat.steepest(image, gradient, epsilon)];
  }

  /** Projected gradient descent on the negative loss, from a random start. */
  function pgd(network, image, label, threat, epsilon, draw, steps) {
    const path = [threat.sample(image, epsilon, draw)], size = (2.5 * epsilon) / steps;
    for (let step = 0; step < steps; step++) {
      const point = path[step];
      const { gradient } = Playground.lossAndGradient(network, point, label);
      path.push(threat.project(image, threat.steepest(point, gradient, size), epsilon));
    }
    return path;
  }

  const attacks = { noise, fgsm, pgd };

  /**
   * Attack an image, and say where the attack went.
   *
   * @param how {attack, threat, epsilon, steps, seed}
   * @returns {path, logits, losses, misread, best}: the points visited, what the network says of
   *   each, and the index of the one that is returned: misread before read correctly, then the
   *   highest loss.
   */
  function attack(network, image, label, how) {
    const run = attacks[how.attack], threat = threats[how.threat];
    const path = run(network, image, label, threat, how.epsilon, random(how.seed), how.steps);
    const logits = path.map((point) => Playground.logits(network, point));
    const losses = logits.map((row) => Playground.crossEntropy(row, label));
    const misread = logits.map((row) => row.indexOf(Math.max(...row)) !== label);
    let best = how.attack === "pgd" ? 0 : path.length - 1;
    path.forEach((_, i) => {
      const better = misread[i] === misread[best] ? losses[i] > losses[best] : misread[i];
      if (how.attack === "pgd" && better) best = i;
    });
    return { path, logits, losses, misread, best };
  }

  Object.assign(Playground, { attack, threats });
})();
