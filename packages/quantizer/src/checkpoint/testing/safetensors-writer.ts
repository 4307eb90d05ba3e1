// Writes small safetensors files for tests; the header may be any text, so that it can lie.

export interface SafetensorsTensor {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}

export function writeRawSafetensors(
  header: string | Uint8Array,
  data: Uint8Array,
  claimedLength?: bigint,
): Uint8Array<ArrayBuffer> {
  const text = typeof header === 'string' ? new TextEncoder().encode(header) : header;
  const file = new Uint8Array(8 + text.length + data.length);
  new DataView(file.buffer).setBigUint64(0, claimedLength ?? BigInt(text.length), true);
  file.set(text, 8);
  file.set(data, 8 + text.length);
  return file;
}

export function writeSafetensors(tensors: readonly SafetensorsTensor[]): Uint8Array<ArrayBuffer> {
  const entries: Record<string, object> = { __metadata__: { format: 'pt' } };
  const data = new Uint8Array(tensors.reduce((sum, tensor) => sum + tensor.data.length, 0));
  let at = 0;
  for (const { name, dtype, shape, data: bytes } of tensors) {
    entries[name] = { dtype, shape, data_offsets: [at, at + bytes.length] };
    data.set(bytes, at);
    at += bytes.length;
  }
  return writeRawSafetensors(JSON.stringify(entries), data);
}
