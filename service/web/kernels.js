// Point spread functions as the service understands them, and as small pictures and blurs for this page.

import { byId } from "./dom.js";

// Kind -> the fields it has, [id, name in the request].
export const KINDS = {
  gaussian: [["psf-sigma", "sigma"]],
  disk: [["psf-radius", "radius"]],
  motion: [["psf-length", "length"], ["psf-degrees", "degrees"]],
};
const FINE = 8; // subpixels a side, where an edge cuts pixels

// The kernel as JSON of the request: {"gaussian": {"sigma": 1.3}}.
export function specOf(kind) {
  return { [kind]: Object.fromEntries(KINDS[kind].map(([id, name]) => [name, Number(byId(id).value)])) };
}

// Weights of sum 1 on an odd square: {side, values}, as physics/kernels.py makes them.
export function kernelOf(spec) {
  const [[kind, numbers]] = Object.entries(spec);
  const { reach, at, pointwise } = SHAPES[kind](numbers);
  const half = Math.max(1, Math.ceil(reach));
  const side = 2 * half + 1;
  const weight = pointwise ? at : (x, y) => meanOver(at, x, y);
  const values = Array.from({ length: side * side }, (_, i) => weight((i % side) - half, Math.floor(i / side) - half));
  const sum = values.reduce((all, value) => all + value, 0);
  return { side, values: values.map((value) => value / sum) };
}

const SHAPES = {
  gaussian: ({ sigma }) => ({ reach: 3 * sigma, pointwise: true, at: (x, y) => Math.exp(-(x * x + y * y) / (2 * sigma * sigma)) }),
  disk: ({ radius }) => ({ reach: radius, at: (x, y) => Number(x * x + y * y <= radius * radius) }),
  motion: ({ length, degrees }) => {
    const reach = (length + 1) / 2;
    const angle = (degrees * Math.PI) / 180;
    const [c, s] = [Math.cos(angle), Math.sin(angle)]; // rows grow downwards
    return { reach, at: (x, y) => Number(Math.abs(c * x - s * y) <= reach && Math.abs(s * x + c * y) <= 0.5) };
  },
};

// The mean over a pixel, by subpixels.
function meanOver(at, x, y) {
  let sum = 0;
  for (let i = 0; i < FINE * FINE; i += 1) {
    sum += at(x + ((i % FINE) + 0.5) / FINE - 0.5, y + (Math.floor(i / FINE) + 0.5) / FINE - 0.5);
  }
  return sum / (FINE * FINE);
}

export function drawKernel(canvas, { side, values }) {
  [canvas.width, canvas.height] = [side, side];
  const most = Math.max(...values);
  drawGrey(canvas, values.map((value) => value / most));
}

// Grey values from 0 to 1 on a canvas of their size.
export function drawGrey(canvas, values) {
  const pen = canvas.getContext("2d");
  const image = pen.createImageData(canvas.width, canvas.height);
  values.forEach((value, i) => {
    const grey = Math.round(255 * Math.min(1, Math.max(0, value)));
    image.data.set([grey, grey, grey, 255], 4 * i);
  });
  pen.putImageData(image, 0, 0);
}

// A picture under a kernel, mirrored about its edge pixels as the service does, with noise.
export function blurred({ values, width, height }, { side, values: weights }, noiseStd) {
  const half = (side - 1) / 2;
  const at = (i, n) => { const j = Math.abs(i); return j < n ? j : 2 * (n - 1) - j; };
  const out = new Float32Array(values.length);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      let sum = 0;
      for (let k = 0; k < weights.length; k += 1) {
        sum += weights[k] * values[at(y - Math.floor(k / side) + half, height) * width + at(x - (k % side) + half, width)];
      }
      out[y * width + x] = Math.min(1, Math.max(0, sum + noiseStd * gaussian()));
    }
  }
  return out;
}

const gaussian = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());

// Decibels between two pictures in [0, 1].
export function psnr(a, b) {
  const mean = a.reduce((sum, value, i) => sum + (value - b[i]) ** 2, 0) / a.length;
  return -10 * Math.log10(mean);
}

// A drawn scene with edges, fine lines, letters and smooth ground: {values, width, height}.
export function scene() {
  const canvas = document.createElement("canvas");
  const [width, height] = [canvas.width, canvas.height] = [240, 180];
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const sky = pen.createLinearGradient(0, 0, 0, height);
  sky.addColorStop(0, "#8a8a8a");
  sky.addColorStop(1, "#e0e0e0");
  pen.fillStyle = sky;
  pen.fillRect(0, 0, width, height);
  star(pen, 62, 62, 46);
  pen.fillStyle = "#161616";
  pen.font = "bold 21px sans-serif";
  pen.fillText("RJCP 0.31", 122, 44);
  pen.font = "13px sans-serif";
  pen.fillText("from what is seen", 122, 68);
  pen.fillText("to what was there", 122, 86);
  for (let i = 0; i < 12; i += 1) pen.fillRect(124 + i * 9, 100, 1 + i / 2.5, 26);
  for (let i = 0; i < 40; i += 1) {
    pen.fillStyle = (i + Math.floor(i / 10)) % 2 ? "#303030" : "#f4f4f4";
    pen.fillRect(14 + (i % 10) * 9, 128 + Math.floor(i / 10) * 9, 9, 9);
  }
  pen.fillStyle = "#4a4a4a";
  pen.beginPath();
  pen.arc(180, 154, 18, 0, 2 * Math.PI);
  pen.fill();
  const { data } = pen.getImageData(0, 0, width, height);
  return { values: Float32Array.from({ length: width * height }, (_, i) => data[4 * i] / 255), width, height };
}

function star(pen, x, y, radius) {
  for (let i = 0; i < 36; i += 1) {
    pen.fillStyle = i % 2 ? "#1c1c1c" : "#f0f0f0";
    pen.beginPath();
    pen.moveTo(x, y);
    pen.arc(x, y, radius, (i * Math.PI) / 18, ((i + 1) * Math.PI) / 18);
    pen.fill();
  }
}
