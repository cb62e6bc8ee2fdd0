// Reading what people paste or drop: JSON, CSV, .npy and pictures, all to rows of numbers (one observation a row).

export class NumbersError extends Error {}

export function parseText(text, width) {
  const trimmed = text.trim();
  if (!trimmed) return [];
  const rows = /^[[{]/.test(trimmed) ? fromJson(trimmed) : fromLines(trimmed);
  return checked(rows, width);
}

export function parseNpy(buffer, width) {
  const { values, sizes } = readNpy(buffer);
  if (values.length === width) return checked([values], width); // a field on a grid is one observation as well
  const [count, n] = sizes;
  if (sizes.length !== 2) throw new NumbersError(`An array of shape (${sizes.join(", ")}) is neither one observation nor a list of them.`);
  return checked(Array.from({ length: count }, (_, i) => values.slice(i * n, (i + 1) * n)), width);
}

export function readNpy(buffer) {
  const bytes = new Uint8Array(buffer);
  if (String.fromCharCode(...bytes.slice(1, 6)) !== "NUMPY") throw new NumbersError("This is not a .npy file.");
  const view = new DataView(buffer);
  const wide = bytes[6] >= 2;
  const start = wide ? 12 : 10;
  const length = wide ? view.getUint32(8, true) : view.getUint16(8, true);
  const header = new TextDecoder("latin1").decode(bytes.slice(start, start + length));
  const descr = /'descr':\s*'([<|=])([fiu])(\d)'/.exec(header);
  const shape = /'shape':\s*\(([\d,\s]*)\)/.exec(header);
  if (!descr || !shape) throw new NumbersError("Only little-endian arrays of numbers can be read here.");
  if (/'fortran_order':\s*True/.test(header)) throw new NumbersError("Save the array in C order: np.ascontiguousarray(y).");
  const sizes = shape[1].split(",").filter((part) => part.trim()).map(Number);
  const values = valuesOf(buffer.slice(start + length), descr[2] + descr[3]);
  if (values.length !== sizes.reduce((all, size) => all * size, 1)) throw new NumbersError("The file is cut short.");
  return { values, sizes };
}

// Float32 .npy bytes of an array in C order.
export function writeNpy(values, sizes) {
  const shape = sizes.length === 1 ? `${sizes[0]},` : sizes.join(", ");
  const text = `{'descr': '<f4', 'fortran_order': False, 'shape': (${shape}), }`;
  const header = text.padEnd(64 * Math.ceil((text.length + 11) / 64) - 11) + "\n";
  const magic = new Uint8Array([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, header.length & 255, header.length >> 8]);
  return new Blob([magic, new TextEncoder().encode(header), Float32Array.from(values)]);
}

// The grey values of a picture, 0 (black) to 1 (white), row by row.
export async function readPicture(file) {
  const bitmap = await createImageBitmap(file).catch(() => { throw new NumbersError("This picture cannot be read here."); });
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.drawImage(bitmap, 0, 0);
  const { data } = pen.getImageData(0, 0, canvas.width, canvas.height);
  const grey = (i) => (0.299 * data[4 * i] + 0.587 * data[4 * i + 1] + 0.114 * data[4 * i + 2]) / 255;
  return { values: Array.from({ length: canvas.width * canvas.height }, (_, i) => grey(i)), width: canvas.width, height: canvas.height };
}

// A picture as observations: the whole of it where it has as many pixels as the model observes, else one a row.
export function pictureRows({ values, width, height }, wanted, [black, white]) {
  const scaled = values.map((value) => black + value * (white - black));
  if (values.length === wanted) return [scaled];
  if (width !== wanted) throw new NumbersError(`The picture has ${width} × ${height} pixels; this model observes ${wanted} numbers.`);
  return Array.from({ length: height }, (_, i) => scaled.slice(i * width, (i + 1) * width));
}

function valuesOf(data, kind) {
  const arrays = { f4: Float32Array, f8: Float64Array, i1: Int8Array, i2: Int16Array, i4: Int32Array, u1: Uint8Array, u2: Uint16Array, u4: Uint32Array };
  const type = arrays[kind];
  if (!type) throw new NumbersError(`Arrays of type ${kind} cannot be read here; save it as float64.`);
  if (data.byteLength % type.BYTES_PER_ELEMENT) throw new NumbersError("The file is cut short.");
  return Array.from(new type(data));
}

function fromJson(text) {
  let value;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new NumbersError(`This is not JSON: ${error.message}`);
  }
  if (!Array.isArray(value)) value = value.observations ?? value.y;
  if (!Array.isArray(value)) throw new NumbersError('Expected a list of numbers, a list of lists, or {"observations": …}.');
  return Array.isArray(value[0]) ? value : [value];
}

function fromLines(text) {
  const rows = text.split(/\r?\n/).map((line) => line.split(/[\s,;]+/).filter(Boolean)).filter((row) => row.length);
  // Words in the first line only: column names.
  if (rows.length > 1 && rows[0].some((cell) => Number.isNaN(Number(cell)))) rows.shift();
  const numbers = rows.map((row) => row.map(Number));
  // One number a line is one observation written downwards.
  return numbers.every((row) => row.length === 1) ? [numbers.flat()] : numbers;
}

function checked(rows, width) {
  rows.forEach((row, i) => {
    if (!Array.isArray(row)) throw new NumbersError(`Row ${i + 1} is not a list of numbers.`);
    const bad = row.findIndex((value) => typeof value !== "number" || !Number.isFinite(value));
    if (bad >= 0) throw new NumbersError(`Value ${bad + 1} of row ${i + 1} is not a finite number.`);
    if (row.length !== width) throw new NumbersError(`Row ${i + 1} has ${row.length} numbers; this model observes ${width}.`);
  });
  return rows;
}
