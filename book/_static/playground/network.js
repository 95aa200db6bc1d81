// The network of the playground: two convolutions, two dense layers, ReLU between them.
// Images are Float32Array [28 * 28] with pixels in [0, 1], row by row; channels come last.
"use strict";

globalThis.Playground = {};

(() => {
  const KERNEL = 4, STRIDE = 2, PADDING = 1;

  /** CRC-32 of some bytes, as zip files have it. */
  function crc32(bytes) {
    let crc = ~0;
    for (const byte of bytes) {
      crc ^= byte;
      for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return ~crc >>> 0;
  }

  /** The bytes of a record {name, base64, crc32, ...}; a damaged or swapped one is refused. */
  function bytesOf(record, name) {
    if (record.name !== name) throw new Error(`${name}: these are the data of ${record.name}.`);
    const { crc32: sum, ...rest } = record;
    if (crc32(new TextEncoder().encode(JSON.stringify(rest))) !== sum) {
      throw new Error(`${name}: the data are damaged.`);
    }
    return Uint8Array.from(atob(record.base64), (letter) => letter.charCodeAt(0));
  }

  /** A network of a record whose `shapes` tell its layers, each a kernel and a bias. */
  function load(record, name) {
    const numbers = new Float32Array(bytesOf(record, name).buffer);
    let start = 0;
    return record.shapes.map((shape) => {
      const size = shape.reduce((a, b) => a * b), outputs = shape[shape.length - 1];
      const kernel = numbers.subarray(start, start + size);
      start += size + outputs;
      return { shape, kernel, bias: numbers.subarray(start - outputs, start) };
    });
  }

  /** One convolution with bias, from [side, side, inputs] to [side / 2, side / 2, outputs]. */
  function convolve(x, side, { shape, kernel, bias }) {
    const [, , inputs, outputs] = shape, half = side / STRIDE;
    const y = new Float32Array(half * half * outputs);
    for (let row = 0; row < half; row++) {
      for (let column = 0; column < half; column++) {
        const place = (row * half + column) * outputs;
        y.set(bias, place);
        eachTap(row, column, side, (pixel, tap) => {
          for (let i = 0; i < inputs; i++) {
            const value = x[pixel * inputs + i];
            if (value === 0) continue;
            const weights = (tap * inputs + i) * outputs;
            for (let o = 0; o < outputs; o++) y[place + o] += value * kernel[weights + o];
          }
        });
      }
    }
    return y;
  }

  /** The gradient of a convolution with respect to its input, from that of its output. */
  function convolveBack(gradient, side, { shape, kernel }) {
    const [, , inputs, outputs] = shape, half = side / STRIDE;
    const back = new Float32Array(side * side * inputs);
    for (let row = 0; row < half; row++) {
      for (let column = 0; column < half; column++) {
        const place = (row * half + column) * outputs;
        eachTap(row, column, side, (pixel, tap) => {
          for (let i = 0; i < inputs; i++) {
            const weights = (tap * inputs + i) * outputs;
            let sum = 0;
            for (let o = 0; o < outputs; o++) sum += gradient[place + o] * kernel[weights + o];
            back[pixel * inputs + i] += sum;
          }
        });
      }
    }
    return back;
  }

  /** Call visit(pixel, tap) for each entry of the kernel that meets a pixel of the image. */
  function eachTap(row, column, side, visit) {
    for (let dy = 0; dy < KERNEL; dy++) {
      const y = row * STRIDE - PADDING + dy;
      if (y < 0 || y >= side) continue;
      for (let dx = 0; dx < KERNEL; dx++) {
        const x = column * STRIDE - PADDING + dx;
        if (x >= 0 && x < side) visit(y * side + x, dy * KERNEL + dx);
      }
    }
  }

  /** A dense layer with bias. */
  function dense(x, { shape, kernel, bias }) {
    const [inputs, outputs] = shape, y = Float32Array.from(bias);
    for (let i = 0; i < inputs; i++) {
      if (x[i] === 0) continue;
      for (let o = 0; o < outputs; o++) y[o] += x[i] * kernel[i * outputs + o];
    }
    return y;
  }

  /** The gradient of a dense layer with respect to its input. */
  function denseBack(gradient, { shape, kernel }) {
    const [inputs, outputs] = shape, back = new Float32Array(inputs);
    for (let i = 0; i < inputs; i++) {
      for (let o = 0; o < outputs; o++) back[i] += gradient[o] * kernel[i * outputs + o];
    }
    return back;
  }

  const relu = (x) => x.map((value) => Math.max(value, 0));
  /** A gradient passes a ReLU where its output is positive. */
  const reluBack = (gradient, output) => gradient.map((g, i) => (output[i] > 0 ? g : 0));

  /** What each layer puts out for an image; the last are the logits [10]. */
  function layers(network, image) {
    const first = relu(convolve(image, 28, network[0]));
    const second = relu(convolve(first, 14, network[1]));
    const third = relu(dense(second, network[2]));
    return [first, second, third, dense(third, network[3])];
  }

  /** The logits [10] of an image. */
  const logits = (network, image) => layers(network, image)[3];

  /** The probabilities [10] of some logits, in double precision. */
  function softmax(logits) {
    const largest = Math.max(...logits);
    const powers = Array.from(logits, (logit) => Math.exp(logit - largest));
    const sum = powers.reduce((a, b) => a + b);
    return powers.map((power) => power / sum);
  }

  /** The cross-entropy of some logits at a label. */
  function crossEntropy(logits, label) {
    const largest = Math.max(...logits);
    const sum = logits.reduce((total, logit) => total + Math.exp(logit - largest), 0);
    return Math.log(sum) + largest - logits[label];
  }

  /** Logits, cross-entropy, and its gradient with respect to the image. */
  function lossAndGradient(network, image, label) {
    const [first, second, third, out] = layers(network, image);
    let gradient = Float32Array.from(softmax(out), (p, k) => p - (k === label));
    gradient = reluBack(denseBack(gradient, network[3]), third);
    gradient = reluBack(denseBack(gradient, network[2]), second);
    gradient = reluBack(convolveBack(gradient, 14, network[1]), first);
    gradient = convolveBack(gradient, 28, network[0]);
    return { logits: out, loss: crossEntropy(out, label), gradient };
  }

  Object.assign(Playground, { bytesOf, crc32, load, logits, softmax, crossEntropy, lossAndGradient });
})();
