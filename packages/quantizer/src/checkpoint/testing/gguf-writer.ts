// Writes small GGUF files for tests, well-formed or not: every count, type and offset can be overridden.

export type GgufField =
  | { readonly type: 'u8' | 'i8' | 'u16' | 'i16' | 'u32' | 'i32' | 'f32' | 'f64'; readonly value: number }
  | { readonly type: 'u64' | 'i64'; readonly value: bigint }
  | { readonly type: 'bool'; readonly value: boolean | number }
  | { readonly type: 'string'; readonly value: string }
  | { readonly type: 'strings'; readonly value: readonly string[] }
  | { readonly type: 'i32s' | 'u32s' | 'f32s'; readonly value: readonly number[] }
  /** An array with these bytes after its item type and length. */
  | { readonly type: 'raw'; readonly itemType: number; readonly length: bigint; readonly bytes: Uint8Array }
  | { readonly type: 'unknown'; readonly number: number };

export interface GgufTensorSpec {
  readonly name: string;
  /** As in the file: the fastest dimension first. */
  readonly dimensions: readonly (number | bigint)[];
  readonly type: number;
  readonly data: Uint8Array;
  /** Overrides the offset that packing gives. */
  readonly offset?: number | bigint;
}

export interface GgufSpec {
  readonly magic?: string;
  readonly version?: number;
  readonly metadata?: readonly (readonly [key: string, field: GgufField])[];
  readonly tensors?: readonly GgufTensorSpec[];
  readonly tensorCount?: bigint;
  readonly metadataCount?: bigint;
  readonly alignment?: number;
}

const TYPE_NUMBERS = {
  u8: 0,
  i8: 1,
  u16: 2,
  i16: 3,
  u32: 4,
  i32: 5,
  f32: 6,
  bool: 7,
  string: 8,
  u64: 10,
  i64: 11,
  f64: 12,
} as const;

function store(size: number, write: () => void): number {
  write();
  return size;
}

/** Each writes a number at the start of a view and gives its size. */
const STORE: Record<keyof typeof TYPE_NUMBERS, (view: DataView, value: number | bigint) => number> = {
  u8: (view, value) => store(1, () => view.setUint8(0, Number(value))),
  i8: (view, value) => store(1, () => view.setInt8(0, Number(value))),
  bool: (view, value) => store(1, () => view.setUint8(0, Number(value))),
  u16: (view, value) => store(2, () => view.setUint16(0, Number(value), true)),
  i16: (view, value) => store(2, () => view.setInt16(0, Number(value), true)),
  u32: (view, value) => store(4, () => view.setUint32(0, Number(value), true)),
  i32: (view, value) => store(4, () => view.setInt32(0, Number(value), true)),
  f32: (view, value) => store(4, () => view.setFloat32(0, Number(value), true)),
  f64: (view, value) => store(8, () => view.setFloat64(0, Number(value), true)),
  u64: (view, value) => store(8, () => view.setBigUint64(0, BigInt(value), true)),
  i64: (view, value) => store(8, () => view.setBigInt64(0, BigInt(value), true)),
  string: () => 0,
};

class ByteWriter {
  readonly #parts: Uint8Array[] = [];
  length = 0;

  bytes(bytes: Uint8Array): void {
    this.#parts.push(bytes);
    this.length += bytes.length;
  }

  number(type: keyof typeof TYPE_NUMBERS, value: number | bigint): void {
    const view = new DataView(new ArrayBuffer(8));
    this.bytes(new Uint8Array(view.buffer, 0, STORE[type](view, value)));
  }

  string(text: string): void {
    const bytes = new TextEncoder().encode(text);
    this.number('u64', BigInt(bytes.length));
    this.bytes(bytes);
  }

  pad(alignment: number): void {
    this.bytes(new Uint8Array((alignment - (this.length % alignment)) % alignment));
  }

  join(): Uint8Array<ArrayBuffer> {
    const all = new Uint8Array(this.length);
    let at = 0;
    for (const part of this.#parts) {
      all.set(part, at);
      at += part.length;
    }
    return all;
  }
}

function writeField(out: ByteWriter, field: GgufField): void {
  switch (field.type) {
    case 'strings':
      out.number('u32', 9);
      out.number('u32', TYPE_NUMBERS.string);
      out.number('u64', field.value.length);
      for (const text of field.value) out.string(text);
      return;
    case 'i32s':
    case 'u32s':
    case 'f32s': {
      const item = field.type.slice(0, 3) as 'i32' | 'u32' | 'f32';
      out.number('u32', 9);
      out.number('u32', TYPE_NUMBERS[item]);
      out.number('u64', field.value.length);
      for (const value of field.value) out.number(item, value);
      return;
    }
    case 'raw':
      out.number('u32', 9);
      out.number('u32', field.itemType);
      out.number('u64', field.length);
      out.bytes(field.bytes);
      return;
    case 'unknown':
      out.number('u32', field.number);
      return;
    case 'string':
      out.number('u32', TYPE_NUMBERS.string);
      out.string(field.value);
      return;
    default:
      out.number('u32', TYPE_NUMBERS[field.type]);
      out.number(field.type, typeof field.value === 'boolean' ? Number(field.value) : field.value);
  }
}

export function writeGguf(spec: GgufSpec): Uint8Array<ArrayBuffer> {
  const { metadata = [], tensors = [], alignment = 32 } = spec;
  const out = new ByteWriter();
  out.bytes(new TextEncoder().encode(spec.magic ?? 'GGUF'));
  out.number('u32', spec.version ?? 3);
  out.number('u64', spec.tensorCount ?? BigInt(tensors.length));
  out.number('u64', spec.metadataCount ?? BigInt(metadata.length));
  for (const [key, field] of metadata) {
    out.string(key);
    writeField(out, field);
  }
  let offset = 0;
  for (const tensor of tensors) {
    out.string(tensor.name);
    out.number('u32', tensor.dimensions.length);
    for (const size of tensor.dimensions) out.number('u64', BigInt(size));
    out.number('u32', tensor.type);
    out.number('u64', BigInt(tensor.offset ?? offset));
    offset = Math.ceil((offset + tensor.data.length) / alignment) * alignment;
  }
  out.pad(alignment);
  for (const tensor of tensors) {
    out.bytes(tensor.data);
    out.pad(alignment);
  }
  return out.join();
}
