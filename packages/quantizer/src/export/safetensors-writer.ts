// Writes a safetensors file (https://github.com/huggingface/safetensors, "Format"): u64 length of the header, JSON
// header, then the data without holes. One tensor is in memory at a time.
import {
  type ByteSink,
  DuobitError,
  decodeLayerWeights,
  elementCount,
  type ModelSource,
} from '@duobit/format';
import { pause } from '../abort.ts';
import { ELEMENT_BYTES, type ExportDtype, encodeValues, SAFETENSORS_DTYPES } from './values.ts';

/** Key of the header that is no tensor. */
const METADATA = '__metadata__';

/** Bytes of a tensor's values. */
export function tensorBytes(source: ModelSource, name: string, dtype: ExportDtype): number {
  return elementCount(source.tensorInfo(name).shape) * ELEMENT_BYTES[dtype];
}

export interface WriteHooks {
  /** Told after each part of a tensor how many values it had. */
  readonly onValues?: ((name: string, count: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Writes the named tensors, in this order, and finishes the sink. On failure the sink is the caller's to abort.
 * @returns bytes of the file
 * @throws DuobitError `EXPORT_TENSOR_UNSUPPORTED`, `EXPORT_NOT_FINITE`, `EXPORT_OUT_OF_RANGE`, `ABORTED`, and those
 *   of source and sink
 */
export async function writeSafetensors(
  source: ModelSource,
  names: readonly string[],
  dtype: ExportDtype,
  sink: ByteSink,
  hooks: WriteHooks = {},
): Promise<number> {
  const header = buildHeader(source, names, dtype);
  await sink.write(0, header);
  let offset = header.length;
  for (const name of names) {
    await pause(hooks.signal);
    const values = decodeLayerWeights(await source.readTensor(name));
    for (const bytes of encodeValues(values, dtype, source.name, name)) {
      await sink.write(offset, bytes);
      offset += bytes.length;
      hooks.onValues?.(name, bytes.length / ELEMENT_BYTES[dtype]);
      await pause(hooks.signal);
    }
  }
  await sink.finish();
  return offset;
}

/** Length and JSON, padded with spaces so that the data begin at a multiple of 8. */
function buildHeader(
  source: ModelSource,
  names: readonly string[],
  dtype: ExportDtype,
): Uint8Array<ArrayBuffer> {
  // transformers takes a file for PyTorch tensors only when it says "pt".
  const entries = [`${JSON.stringify(METADATA)}:{"format":"pt"}`];
  let begin = 0;
  for (const name of names) {
    if (name === METADATA) {
      throw new DuobitError('EXPORT_TENSOR_UNSUPPORTED', 'safetensors keeps this name for itself', {
        source: source.name,
        where: `tensor ${name}`,
        remedy: 'Rename the tensor',
      });
    }
    const { shape } = source.tensorInfo(name);
    const end = begin + tensorBytes(source, name, dtype);
    const entry = { dtype: SAFETENSORS_DTYPES[dtype], shape, data_offsets: [begin, end] };
    // Joined as text: as keys of an object, names such as "7" or "__proto__" would move or vanish.
    entries.push(`${JSON.stringify(name)}:${JSON.stringify(entry)}`);
    begin = end;
  }
  const json = new TextEncoder().encode(`{${entries.join(',')}}`);
  const header = new Uint8Array(8 + Math.ceil(json.length / 8) * 8).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(header.length - 8), true);
  header.set(json, 8);
  return header;
}
