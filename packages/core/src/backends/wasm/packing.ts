// Moves weights from planes into the layouts that the kernels read, by whole 32-bit words: byte by byte it was most of the
// time of loading a model. A row of a plane is whole words; what its last word holds past the last column is no weight and
// becomes zero.

/** The bits of a row's last word that belong to its `bits` bits. */
function maskLastWord(bits: number): number {
  return bits % 32 === 0 ? -1 : (1 << (bits % 32)) - 1;
}

/** Where a row begins in [row / 4][chunk][4 rows][4 words], the layout of all weights but W(1+1); `width` words a row. */
function placeRow(row: number, width: number): number {
  return (row - (row & 3)) * width + (row & 3) * 4;
}

/** Copies the `count` words of a row, from `at` on, to [row / 4][chunk][4 rows][4 words]; `width` words a row there. */
export function interleaveRow(
  source: Int32Array,
  at: number,
  count: number,
  target: Int32Array,
  row: number,
  width: number,
): void {
  const end = at + count;
  let to = placeRow(row, width);
  for (; at + 4 <= end; at += 4, to += 16) {
    target[to] = source[at]!;
    target[to + 1] = source[at + 1]!;
    target[to + 2] = source[at + 2]!;
    target[to + 3] = source[at + 3]!;
  }
  for (; at < end; at++, to++) target[to] = source[at]!;
}

/** Rows of bytes to [row / 4][chunk][4 rows][16 columns]. */
export function packBytes(codes: Int32Array, target: Int32Array, rows: number, columns: number): void {
  const count = Math.ceil(columns / 4);
  const width = Math.ceil(columns / 16) * 4;
  const mask = maskLastWord(columns * 8);
  const last = ((count - 1) >> 2) * 16 + ((count - 1) & 3);
  for (let row = 0; row < rows; row++) {
    interleaveRow(codes, row * count, count, target, row, width);
    target[placeRow(row, width) + last]! &= mask;
  }
}

/**
 * Two's complement nibbles, low first, to code + 8 in chunks [row / 4][chunk][4 rows]: column 32 c + 8 i + j, which is
 * nibble j of the row's word 4 c + i, becomes nibble i of 16-bit lane j of chunk c.
 */
export function packNibbles(codes: Int32Array, target: Int32Array, rows: number, columns: number): void {
  const count = Math.ceil(columns / 8);
  const width = Math.ceil(columns / 32) * 4;
  const mask = maskLastWord(columns * 4);
  const words = new Int32Array(width);
  for (let row = 0; row < rows; row++) {
    for (let i = 0; i < count; i++) words[i] = codes[row * count + i]! ^ 0x88888888;
    words[count - 1]! &= mask;
    let to = placeRow(row, width);
    for (let i = 0; i < width; i += 4, to += 16)
      packChunk(words[i]!, words[i + 1]!, words[i + 2]!, words[i + 3]!, target, to);
  }
}

/** Nibbles 2 q of a, b, c and d become the low half of word q, nibbles 2 q + 1 the high half. */
function packChunk(a: number, b: number, c: number, d: number, target: Int32Array, to: number): void {
  // Byte q of these is byte 0, 1, 2 or 3 of word q.
  const byte0 = (a & 0x0f0f0f0f) | ((b & 0x0f0f0f0f) << 4);
  const byte1 = (c & 0x0f0f0f0f) | ((d & 0x0f0f0f0f) << 4);
  const byte2 = ((a >>> 4) & 0x0f0f0f0f) | (b & 0xf0f0f0f0);
  const byte3 = ((c >>> 4) & 0x0f0f0f0f) | (d & 0xf0f0f0f0);
  const even01 = (byte0 & 0xff00ff) | ((byte1 & 0xff00ff) << 8);
  const even23 = (byte2 & 0xff00ff) | ((byte3 & 0xff00ff) << 8);
  const odd01 = ((byte0 >>> 8) & 0xff00ff) | (byte1 & 0xff00ff00);
  const odd23 = ((byte2 >>> 8) & 0xff00ff) | (byte3 & 0xff00ff00);
  target[to] = (even01 & 0xffff) | (even23 << 16);
  target[to + 1] = (odd01 & 0xffff) | (odd23 << 16);
  target[to + 2] = (even01 >>> 16) | (even23 & 0xffff0000);
  target[to + 3] = (odd01 >>> 16) | (odd23 & 0xffff0000);
}

/** Fills `target` with the plane's bytes from `at` on, and with zeros past its end. */
export function copyBytes(plane: Uint8Array, at: number, target: Uint8Array): void {
  const from = plane.subarray(at, at + target.length);
  target.set(from);
  target.fill(0, from.length);
}

/** Clears the bits past the last column, in rows of whole words. */
export function clearPadding(bits: Int32Array, columns: number): void {
  const words = Math.ceil(columns / 32);
  const mask = maskLastWord(columns);
  if (mask !== -1) for (let last = words - 1; last < bits.length; last += words) bits[last]! &= mask;
}
