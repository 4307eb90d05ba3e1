// Numbers in the schema <-> names in the manifest, for roles and kinds. Numbers are never reused.
import { AssetRole as AssetRoleId } from './generated/duobit/asset-role.ts';
import { PlaneRole as PlaneRoleId } from './generated/duobit/plane-role.ts';
import type { AssetRole, PlaneRole, UnknownRole } from './manifest.ts';

const PLANE_ROLES: Readonly<Record<PlaneRole, number>> = {
  dense: PlaneRoleId.dense,
  codes: PlaneRoleId.codes,
  scale: PlaneRoleId.scale,
  sign: PlaneRoleId.sign,
  bitmap: PlaneRoleId.bitmap,
  alpha: PlaneRoleId.alpha,
  mu: PlaneRoleId.mu,
  'outlier-index': PlaneRoleId.outlier_index,
  'outlier-codes': PlaneRoleId.outlier_codes,
  'outlier-scale': PlaneRoleId.outlier_scale,
  'salient-mask': PlaneRoleId.salient_mask,
  'salient-codes': PlaneRoleId.salient_codes,
  'salient-scale': PlaneRoleId.salient_scale,
  'salient-offsets': PlaneRoleId.salient_offsets,
};

const ASSET_ROLES: Readonly<Record<AssetRole, number>> = {
  tokenizer: AssetRoleId.tokenizer,
  'tokenizer-config': AssetRoleId.tokenizer_config,
  'chat-template': AssetRoleId.chat_template,
  'generation-config': AssetRoleId.generation_config,
  license: AssetRoleId.license,
};

function roleToId<R extends string>(roles: Readonly<Record<R, number>>, role: R | UnknownRole): number {
  return role in roles ? roles[role as R] : Number(role.slice('unknown-'.length));
}

function listById<R extends string>(roles: Readonly<Record<R, number>>): readonly (R | undefined)[] {
  const list: R[] = [];
  for (const role in roles) list[roles[role]] = role;
  return list;
}

const PLANE_ROLES_BY_ID = listById(PLANE_ROLES);
const ASSET_ROLES_BY_ID = listById(ASSET_ROLES);

export const planeRoleToId = (role: PlaneRole | UnknownRole): number => roleToId(PLANE_ROLES, role);
export const idToPlaneRole = (id: number): PlaneRole | UnknownRole =>
  PLANE_ROLES_BY_ID[id] ?? `unknown-${id}`;
export const assetRoleToId = (role: AssetRole | UnknownRole): number => roleToId(ASSET_ROLES, role);
export const idToAssetRole = (id: number): AssetRole | UnknownRole =>
  ASSET_ROLES_BY_ID[id] ?? `unknown-${id}`;
