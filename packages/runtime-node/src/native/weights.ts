// Hands the planes of a tensor to the addon, which packs them; nothing else of a tensor is kept.
import { DuobitError, encodedPlaneLengths, type PlaneRole, type TensorData } from '@duobit/format';
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

function requirePlanes(data: TensorData): (role: PlaneRole) => Uint8Array {
  const lengths = encodedPlaneLengths(data.info.encoding, data.info.shape);
  const facts = { where: `tensor ${data.info.name}`, remedy: 'Get the file again, or make it again' };
  const planes = new Map<string, Uint8Array>();
  for (const [role, expected] of Object.entries(lengths)) {
    const plane = Object.entries(data.planes).find(([name]) => name === role)?.[1];
    if (plane === undefined) throw new DuobitError('PLANE_MISSING', `plane "${role}" is missing`, facts);
    if (plane.byteLength !== expected)
      throw new DuobitError(
        'PLANE_LENGTH',
        `plane "${role}" has ${plane.byteLength} bytes, not ${expected}`,
        facts,
      );
    planes.set(role, plane);
  }
  return (role) => planes.get(role)!;
}
