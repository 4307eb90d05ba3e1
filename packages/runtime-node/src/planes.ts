// Planes of a tensor as a backend needs them: all there, and as long as they must be.
import { DuobitError, encodedPlaneLengths, type PlaneRole, type TensorData } from '@duobit/format';

/** @throws DuobitError `PLANE_MISSING`, `PLANE_LENGTH` */
export function requirePlanes(data: TensorData): (role: PlaneRole) => Uint8Array {
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
