// What a manifest must satisfy beyond its structure, one function a subject. The writer applies the same rules
// before it writes. Codes and reasons: docs/format.md, "Validation".
import { generateModelTensors, LLAMA } from './architecture.ts';
import { type EncodedPlanes, elementCount, listEncodedPlanes } from './encodings.ts';
import { DuobitError } from './errors.ts';
import { LIMITS } from './generated/limits.ts';
import type {
  ActivationQuantizer,
  Architecture,
  KvCacheQuantization,
  Manifest,
  Plane,
  TensorInfo,
} from './manifest.ts';
import type { Report } from './problems.ts';
import { assetRoleToId } from './registry.ts';
import { MAX_ROTATED_COLUMNS } from './rotation.ts';

/** Printable ASCII without the space, so that names sort alike everywhere and print safely. */
const NO_NAME = /[^!-~]/;
const DATA_FILE_NAME = /^(?!\.)[A-Za-z0-9._-]{1,255}$/;

/** Reports every broken rule that concerns the header alone; layout.ts has those about places in the file. */
export function checkManifest(manifest: Manifest, report: Report): void {
  checkArchitecture(manifest.architecture, report);
  checkSpecialTokens(manifest, report);
  checkAssets(manifest, report);
  checkTensors(manifest.tensors, report);
  checkCompleteness(manifest, report);
  checkDataFileNames(manifest, report);
  if (manifest.kvCache && !isKvCache(manifest.kvCache)) {
    report('KV_CACHE_INVALID', 'kv_cache', `${describeKvCache(manifest.kvCache)} are not defined`);
  }
  for (const key of Object.keys(manifest.metadata)) {
    if (!isName(key))
      report('NAME_INVALID', 'metadata', `${quote(key)} is not 1 to 255 printable ASCII characters`);
  }
}

/** Sought is what is wrong, as a pattern that counts characters takes several times as long. */
function isName(text: string): boolean {
  return text.length >= 1 && text.length <= LIMITS.maxNameBytes && !NO_NAME.test(text);
}

function quote(name: string): string {
  return JSON.stringify(name.length > 80 ? `${name.slice(0, 80)}…` : name);
}

function checkArchitecture(architecture: Architecture, report: Report): void {
  const where = 'architecture';
  const check = (field: string, holds: boolean, rule: string, value: unknown): void => {
    if (!holds) report('ARCHITECTURE_INVALID', `${where}.${field}`, `${field} is ${value}, but ${rule}`);
  };
  const sizes = [
    'vocabularySize',
    'hiddenSize',
    'intermediateSize',
    'blockCount',
    'headCount',
    'kvHeadCount',
    'headSize',
    'contextLength',
  ] as const;
  for (const field of sizes) {
    const value = architecture[field];
    check(field, Number.isInteger(value) && value >= 1 && value < 2 ** 31, 'must be 1 to 2^31 - 1', value);
  }
  const { blockCount, headCount, kvHeadCount, headSize, normEpsilon, ropeTheta, ropeScaling, slidingWindow } =
    architecture;
  check(
    'blockCount',
    blockCount <= LIMITS.maxSegments - 4,
    `at most ${LIMITS.maxSegments - 4} are allowed`,
    blockCount,
  );
  check(
    'headCount',
    headCount % kvHeadCount === 0,
    `must be a multiple of kvHeadCount, ${kvHeadCount}`,
    headCount,
  );
  check('headSize', headSize % 2 === 0, 'must be even, as RoPE rotates pairs', headSize);
  check('normEpsilon', normEpsilon > 0 && normEpsilon < 1, 'must be between 0 and 1', normEpsilon);
  check('ropeTheta', ropeTheta > 0 && Number.isFinite(ropeTheta), 'must be positive', ropeTheta);
  if (slidingWindow !== null) {
    check(
      'slidingWindow',
      Number.isInteger(slidingWindow) && slidingWindow >= 1,
      'must be 1 or more',
      slidingWindow,
    );
  }
  for (const [field, value] of Object.entries(ropeScaling ?? {})) {
    if (field === 'kind') continue;
    check(`ropeScaling.${field}`, Number.isFinite(value) && Number(value) > 0, 'must be positive', value);
  }
}

function checkSpecialTokens({ specialTokens, architecture }: Manifest, report: Report): void {
  const { bos, eos, pad, addBos } = specialTokens;
  const ids = [...eos, ...(bos === null ? [] : [bos]), ...(pad === null ? [] : [pad])];
  for (const id of ids) {
    if (!Number.isInteger(id) || id < 0 || id >= architecture.vocabularySize) {
      const message = `token ${id} is outside a vocabulary of ${architecture.vocabularySize}`;
      report('SPECIAL_TOKENS', 'special tokens', message);
    }
  }
  if (eos.some((id, i) => i > 0 && id <= eos[i - 1]!)) {
    report('SPECIAL_TOKENS', 'special tokens', `end-of-sequence tokens [${eos}] are not sorted and unique`);
  }
  if (addBos && bos === null)
    report('SPECIAL_TOKENS', 'special tokens', 'addBos is set, but there is no BOS token');
}

function checkAssets({ assets }: Manifest, report: Report): void {
  for (const [i, asset] of assets.entries()) {
    const previous = assets[i - 1];
    const where = `asset ${asset.role}`;
    if (previous && assetRoleToId(asset.role) <= assetRoleToId(previous.role)) {
      report('ASSET_ORDER', where, 'assets are not sorted by role, or a role occurs twice');
    }
    if (asset.length < 1 || asset.length > LIMITS.maxAssetBytes) {
      report(
        'ASSET_LENGTH',
        where,
        `the asset has ${asset.length} bytes, outside 1..${LIMITS.maxAssetBytes}`,
      );
    }
    if (!isName(asset.mediaType))
      report('NAME_INVALID', where, `${quote(asset.mediaType)} is not a media type`);
  }
}

function checkTensors(tensors: readonly TensorInfo[], report: Report): void {
  let previous: string | null = null;
  for (let i = 0; i < tensors.length; i++) {
    const tensor = tensors[i]!;
    const { name, activation, inputRotation } = tensor;
    if (!isName(name)) {
      report('NAME_INVALID', `tensor ${i}`, `${quote(name)} is not 1 to 255 printable ASCII characters`);
    }
    if (previous === name) report('TENSOR_DUPLICATE', placeOf(tensor), 'two tensors have this name');
    else if (previous !== null && previous > name)
      report('TENSOR_ORDER', placeOf(tensor), 'tensors are not sorted by name');
    previous = name;
    checkPlanes(tensor, report);
    if (activation) checkActivation(activation, tensor, report);
    if (inputRotation) checkInputRotation(tensor, report);
  }
}

/** Made when something is wrong: headers may list very many tensors. */
function placeOf({ name }: TensorInfo): string {
  return `tensor ${name.slice(0, LIMITS.maxNameBytes)}`;
}

function checkActivation(quantizer: ActivationQuantizer, tensor: TensorInfo, report: Report): void {
  const { clipLow, clipHigh, knee, planeScales } = quantizer;
  // Sentences are made only of what is wrong: numbers as text take longer than all else here.
  const fail = (message: string): void => report('ACTIVATION_INVALID', placeOf(tensor), message);
  if (tensor.shape.length !== 2) fail('only matrices have quantized activations');
  if (!isPositive(clipLow)) fail(`a clip factor is ${clipLow}, but must be positive`);
  if (!isPositive(clipHigh)) fail(`a clip factor is ${clipHigh}, but must be positive`);
  if (knee) {
    const { code, slopeRatio } = knee;
    if (!isIntegerIn(code, 1, 14)) fail(`the knee is at code ${code}, outside 1..14`);
    if (!isIntegerIn(slopeRatio, 2, 8)) fail(`the slope ratio is ${slopeRatio}, outside 2..8`);
  }
  if (planeScales && !(planeScales.length === 4 && planeScales.every(isPositive))) {
    fail(`the plane scales are [${planeScales.slice(0, 8).join(', ')}], not 4 positive numbers`);
  }
  if (knee && planeScales) fail('there are a knee and plane scales, which exclude each other');
}

function checkInputRotation(tensor: TensorInfo, report: Report): void {
  const fail = (message: string): void => report('INPUT_ROTATION_INVALID', placeOf(tensor), message);
  const { name, shape } = tensor;
  if (shape.length !== 2) fail('only matrices have a rotated input');
  else if (shape[1]! > MAX_ROTATED_COLUMNS)
    fail(`the input has ${shape[1]} values; at most ${MAX_ROTATED_COLUMNS} can be rotated`);
  if (name === LLAMA.embedding || name === LLAMA.head) fail('embedding and head have no rotated input');
}

function isPositive(value: number): boolean {
  return value > 0 && Number.isFinite(value);
}

function isIntegerIn(value: number, least: number, most: number): boolean {
  return Number.isInteger(value) && value >= least && value <= most;
}

type KvCacheFields = {
  readonly [K in keyof KvCacheQuantization]: KvCacheQuantization[K] extends number ? number : boolean;
};

export function isKvCache(fields: KvCacheFields): fields is KvCacheQuantization {
  const { keyBits, valueBits, groupSize } = fields;
  return (
    [keyBits, valueBits].every((bits) => [4, 8, 16].includes(bits)) && [0, 32, 64, 128].includes(groupSize)
  );
}

export function describeKvCache({ keyBits, valueBits, groupSize }: KvCacheFields): string {
  return `keys of ${keyBits} and values of ${valueBits} bits in groups of ${groupSize}`;
}

/** Whether it is a plain file name, which cannot lead to another folder. */
export function isDataFileName(name: string): boolean {
  return DATA_FILE_NAME.test(name);
}

/** Plain names, so that a container cannot make a reader open files elsewhere; unique on every file system. */
function checkDataFileNames({ dataFiles }: Manifest, report: Report): void {
  const names = new Set<string>();
  for (const [i, { name }] of dataFiles.entries()) {
    const where = `data file ${i + 1}`;
    if (!isDataFileName(name)) {
      report(
        'DATA_FILE_NAME',
        where,
        `${quote(name)} is not 1 to 255 of A-Z a-z 0-9 . _ - without a dot first`,
      );
    }
    const key = name.toLowerCase();
    if (names.has(key))
      report('DATA_FILE_NAME', where, `${quote(name)} names two data files, apart from case`);
    names.add(key);
  }
}

/** Roles and lengths are exactly what encoding and shape say. */
function checkPlanes(tensor: TensorInfo, report: Report): void {
  const { encoding, shape, planes } = tensor;
  let expected: EncodedPlanes;
  try {
    if (encoding.kind === 'unknown') {
      elementCount(shape);
      const unknown = planes.find((plane) => plane.length < 1);
      if (unknown) report('PLANE_LENGTH', `${placeOf(tensor)}, plane ${unknown.role}`, 'the plane is empty');
      return;
    }
    expected = listEncodedPlanes(encoding, shape);
  } catch (error) {
    if (!(error instanceof DuobitError)) throw error;
    report(error.code, placeOf(tensor), error.message, error.remedy);
    return;
  }
  const { roles, lengths } = expected;
  if (roles.length !== planes.length || !haveRoles(planes, roles)) {
    const found = planes.map((plane) => plane.role).join(', ');
    report(
      'PLANE_ROLES',
      placeOf(tensor),
      `the planes are [${found}], but ${encoding.kind} has [${roles.join(', ')}]`,
    );
    return;
  }
  for (let i = 0; i < planes.length; i++) {
    const { role, length } = planes[i]!;
    if (length === lengths[i]) continue;
    report(
      'PLANE_LENGTH',
      `${placeOf(tensor)}, plane ${role}`,
      `the plane has ${length} bytes, but ${encoding.kind} of [${shape.join(', ')}] needs ${lengths[i]}`,
    );
  }
}

function haveRoles(planes: readonly Plane[], roles: readonly string[]): boolean {
  for (let i = 0; i < planes.length; i++) if (planes[i]!.role !== roles[i]) return false;
  return true;
}

/** Every tensor that the architecture uses is there, in its shape. Others may be there too. */
function checkCompleteness({ architecture, tensors }: Manifest, report: Report): void {
  // With absurd sizes the expectation itself would not end; those are reported already.
  if (!(architecture.blockCount <= LIMITS.maxSegments)) return;
  const shapes = new Map<string, readonly number[]>();
  for (const tensor of tensors) shapes.set(tensor.name, tensor.shape);
  for (const { name, shape } of generateModelTensors(architecture)) {
    const found = shapes.get(name)?.join(', ');
    const needed = shape.join(', ');
    if (found === undefined)
      report('TENSOR_MISSING', `tensor ${name}`, `the model needs this tensor of [${needed}]`);
    else if (found !== needed) {
      report(
        'TENSOR_MISMATCH',
        `tensor ${name}`,
        `the shape is [${found}], but the architecture needs [${needed}]`,
      );
    }
  }
}
