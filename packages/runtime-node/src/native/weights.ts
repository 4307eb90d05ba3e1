// Hands the planes of a tensor to the addon, which packs them; nothing else of a tensor is kept.
import type { TensorData } from '@duobit/format';
import { requirePlanes } from '../planes.ts';
import type { Addon, ProgramHandle } from './addon.ts';

const DENSE_KINDS: readonly string[] = ['f32', 'f16', 'bf16'];

/**
 * Packs a tensor; null when no kernel can hold its encoding or shape, which `checkPlan` then refuses by name.
 * @throws DuobitError `PLANE_MISSING`, `PLANE_LENGTH`
 */
export function addWeight(addon: Addon, program: ProgramHandle, data: TensorData): number | null {
  const { encoding, shape } = data.info;
  if (shape.length < 1 || shape.length > 2) return null;
  const rows = shape.length === 2 ? shape[0]! : 1;
  const columns = shape[shape.length - 1]!;
  if (DENSE_KINDS.includes(encoding.kind)) {
    const plane = requirePlanes(data)('dense');
    const kind = DENSE_KINDS.indexOf(encoding.kind);
    return shape.length === 1
      ? addon.addVector(program, plane, kind, columns)
      : addon.addDense(program, plane, kind, rows, columns);
  }
  if (encoding.kind === 'int8' || encoding.kind === 'int4') {
    const plane = requirePlanes(data);
    const nibbles = encoding.kind === 'int4';
    return addon.addInteger(
      program,
      plane('codes'),
      plane('scale'),
      nibbles,
      rows,
      columns,
      encoding.groupSize,
    );
  }
  if (encoding.kind !== 'w11') return null;
  const plane = requirePlanes(data);
  const mu = encoding.offsets ? plane('mu') : undefined;
  return addon.addW11(
    program,
    plane('sign'),
    plane('bitmap'),
    plane('alpha'),
    mu,
    rows,
    columns,
    encoding.groupSize,
  );
}
