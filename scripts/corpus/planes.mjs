// Planes of the corpus, made and decoded in the plainest way, apart from the library: docs/format.md, "Encodings".

/** mulberry32: numbers in [0, 1) from a seed. */
export function createRandom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function f16ToNumber(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? Number.NaN : sign * Infinity;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (exponent - 25);
}

const pack = (count, bytes, write) => {
  const view = new DataView(new ArrayBuffer(count * bytes));
  for (let i = 0; i < count; i++) write(view, i * bytes, i);
  return new Uint8Array(view.buffer);
};

/** f16 with any sign, between 2^-12 and 2, and now and then 0. */
const randomF16 = (count, random) =>
  pack(count, 2, (view, at) => {
    const exponent = 3 + Math.floor(random() * 13);
    const bits = (random() < 0.5 ? 0x8000 : 0) | (exponent << 10) | Math.floor(random() * 1024);
    view.setUint16(at, random() < 0.05 ? 0 : bits, true);
  });

const strideOf = (columns, perWord) => 4 * Math.ceil(columns / perWord);

/** Rows of bits; `bit(n, k)` gives 0 or 1. */
function packBits(rows, columns, bit) {
  const stride = strideOf(columns, 32);
  const bytes = new Uint8Array(rows * stride);
  for (let n = 0; n < rows; n++) {
    for (let k = 0; k < columns; k++) bytes[n * stride + Math.floor(k / 8)] |= bit(n, k) << (k % 8);
  }
  return bytes;
}

function packCodes(rows, columns, code, bits = 8) {
  const stride = strideOf(columns, 32 / bits);
  const bytes = new Uint8Array(rows * stride);
  for (let n = 0; n < rows; n++) {
    for (let k = 0; k < columns; k++) {
      if (bits === 8) bytes[n * stride + k] = code(n, k) & 255;
      else bytes[n * stride + Math.floor(k / 2)] |= (code(n, k) & 15) << (4 * (k % 2));
    }
  }
  return bytes;
}

const packU32 = (values) => pack(values.length, 4, (view, at, i) => view.setUint32(at, values[i], true));

const MAKERS = {
  f32: ({ elements }, random) => [
    ['dense', pack(elements, 4, (view, at) => view.setFloat32(at, random() - 0.5, true))],
  ],
  f16: ({ elements }, random) => [['dense', randomF16(elements, random)]],
  bf16: ({ elements }, random) => [
    ['dense', pack(elements, 2, (view, at) => view.setUint16(at, 0x3c00 + Math.floor(random() * 512), true))],
  ],
  int8: ({ N, K, P }, random) => [
    ['codes', packCodes(N, K, () => Math.floor(random() * 255) - 127)],
    ['scale', randomF16(N * P, random)],
  ],
  int4: ({ N, K, P }, random) => [
    ['codes', packCodes(N, K, () => Math.floor(random() * 16) - 8, 4)],
    ['scale', randomF16(N * P, random)],
  ],
  w11: ({ N, K, P, flags }, random) => {
    const bit = () => Number(random() < 0.5);
    const planes = [
      ['sign', packBits(N, K, bit)],
      ['bitmap', packBits(N, K, bit)],
      ['alpha', randomF16(2 * N * P, random)],
    ];
    return flags & 1 ? [...planes, ['mu', randomF16(2 * N * P, random)]] : planes;
  },
  w11_outlier: ({ N, K, P, flags, outlierColumns, rotated }, random) => {
    const index = Array.from({ length: outlierColumns }, (_, c) => Math.floor((c * K) / outlierColumns));
    const bit = (_, k) => Number((rotated || !index.includes(k)) && random() < 0.5);
    const planes = [
      ['sign', packBits(N, K, bit)],
      ['bitmap', packBits(N, K, bit)],
      ['alpha', randomF16(2 * N * P, random)],
    ];
    if (flags & 1) planes.push(['mu', randomF16(2 * N * P, random)]);
    return [
      ...planes,
      ['outlier_index', packU32(index)],
      ['outlier_codes', packCodes(N, outlierColumns, () => Math.floor(random() * 255) - 127)],
      ['outlier_scale', randomF16(N, random)],
    ];
  },
  partial_binary: ({ N, K, P, salientCount }, random) => {
    // Spread over the tensor, so that some rows have none.
    const step = Math.max(1, Math.floor((N * K) / salientCount));
    const salient = (n, k) => Number((n * K + k) % step === 0 && (n * K + k) / step < salientCount);
    const offsets = [0];
    for (let n = 0; n < N; n++) {
      let count = offsets[n];
      for (let k = 0; k < K; k++) count += salient(n, k);
      offsets.push(count);
    }
    const codes = new Uint8Array(4 * Math.ceil(salientCount / 4));
    for (let i = 0; i < salientCount; i++) codes[i] = Math.floor(random() * 256);
    return [
      ['sign', packBits(N, K, (n, k) => Number(!salient(n, k) && random() < 0.5))],
      ['alpha', randomF16(N * P, random)],
      ['mu', randomF16(N * P, random)],
      ['salient_mask', packBits(N, K, salient)],
      ['salient_codes', codes],
      ['salient_scale', randomF16(2 * N, random)],
      ['salient_offsets', packU32(offsets)],
    ];
  },
};

function dimensions(tensor) {
  const { shape, encoding, group_size: G = 0, flags = 0, outlier_columns, salient_count } = tensor;
  const [N = 1, K = 1] = shape;
  return {
    N,
    K,
    G,
    P: G === 0 ? 0 : Math.ceil(K / G),
    flags,
    encoding,
    elements: shape.reduce((product, size) => product * size, 1),
    outlierColumns: outlier_columns ?? 0,
    salientCount: Number(salient_count ?? 0n),
    rotated: tensor.input_rotation !== undefined,
  };
}

/** Valid planes of a tensor with random contents: [[role, bytes], …] in the order of the format. */
export function makePlanes(tensor, random) {
  return MAKERS[tensor.encoding](dimensions(tensor), random);
}

/** Row-major f32 values of a tensor of a known encoding; planes as { role: bytes }. */
export function decodeValues(tensor, planes) {
  const { N, K, G, P, flags, encoding, elements, outlierColumns, rotated } = dimensions(tensor);
  const view = (role) => new DataView(planes[role].buffer, planes[role].byteOffset, planes[role].length);
  const f16 = (role, i) => f16ToNumber(view(role).getUint16(2 * i, true));
  const bit = (role, n, k) => (planes[role][n * strideOf(K, 32) + Math.floor(k / 8)] >> (k % 8)) & 1;
  const values = new Float32Array(elements);
  if (encoding === 'f32' || encoding === 'f16' || encoding === 'bf16') {
    const word = new DataView(new ArrayBuffer(4));
    for (let i = 0; i < elements; i++) {
      if (encoding === 'f32') values[i] = view('dense').getFloat32(4 * i, true);
      else if (encoding === 'f16') values[i] = f16('dense', i);
      else {
        word.setUint32(0, view('dense').getUint16(2 * i, true) * 65_536, false);
        values[i] = word.getFloat32(0, false);
      }
    }
    return values;
  }
  const level = (n, k) => {
    const at = 2 * (n * P + Math.floor(k / G)) + bit('bitmap', n, k);
    return (flags & 1 ? f16('mu', at) : 0) + f16('alpha', at) * (2 * bit('sign', n, k) - 1);
  };
  const readers = {
    int8: (n, k) => f16('scale', n * P + Math.floor(k / G)) * view('codes').getInt8(n * strideOf(K, 4) + k),
    int4: (n, k) => {
      const nibble = (planes.codes[n * strideOf(K, 8) + Math.floor(k / 2)] >> (4 * (k % 2))) & 15;
      return f16('scale', n * P + Math.floor(k / G)) * (nibble > 7 ? nibble - 16 : nibble);
    },
    w11: level,
    w11_outlier: (n, k) => {
      // Outlier columns are none of a rotated input.
      for (let c = 0; !rotated && c < outlierColumns; c++) {
        if (view('outlier_index').getUint32(4 * c, true) !== k) continue;
        return f16('outlier_scale', n) * view('outlier_codes').getInt8(n * strideOf(outlierColumns, 4) + c);
      }
      return level(n, k);
    },
    partial_binary: (n, k) => {
      if (bit('salient_mask', n, k) === 0) {
        const group = n * P + Math.floor(k / G);
        return f16('mu', group) + f16('alpha', group) * (2 * bit('sign', n, k) - 1);
      }
      let rank = 0;
      for (let row = 0; row <= n; row++) {
        for (let column = 0; column < (row < n ? K : k); column++) rank += bit('salient_mask', row, column);
      }
      return f16('salient_scale', 2 * n + 1) + f16('salient_scale', 2 * n) * planes.salient_codes[rank];
    },
  };
  for (let n = 0; n < N; n++) for (let k = 0; k < K; k++) values[n * K + k] = readers[encoding](n, k);
  return values;
}
