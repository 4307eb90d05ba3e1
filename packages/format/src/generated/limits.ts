// Generated from schemas/limits.json by scripts/generate-schema.mjs; do not edit.

/** Limits of the format, version 1; docs/format.md, "Limits", says what each bounds. */
export const LIMITS = {
  formatMajor: 1,
  formatMinor: 1,
  preambleBytes: 128,
  maxHeaderBytes: 8388608,
  maxFileBytes: 9007199254740991,
  segmentAlignment: 16384,
  planeAlignment: 256,
  chunkBytes: 4194304,
  maxDepth: 8,
  maxTables: 12288,
  maxVtableBytes: 512,
  maxWorkFactor: 2,
  maxTensors: 2048,
  maxPlanes: 16,
  maxRank: 4,
  maxSegments: 2048,
  maxAssets: 64,
  maxAssetBytes: 268435456,
  maxMetadataPairs: 1024,
  maxNameBytes: 255,
  maxTextBytes: 1048576,
  maxEosTokens: 64,
  maxDataFiles: 256,
} as const;
