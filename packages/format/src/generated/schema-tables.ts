// Generated from schemas/duobit.fbs by scripts/generate-schema.mjs; do not edit.

/** One field of a table: what its slot holds, and what that points at. */
export type FieldSchema = { readonly id: number; readonly name: string; readonly required: boolean } & (
  | { readonly kind: 'scalar' | 'scalars' | 'bool'; readonly bytes: number }
  | { readonly kind: 'string' | 'strings' }
  | { readonly kind: 'table' | 'tables'; readonly table: string }
);

export const ROOT_TABLE = 'Model';

/** Fields of every table, sorted by id; ids have no holes. */
export const TABLES: Readonly<Record<string, readonly FieldSchema[]>> = {
  ActivationQuantizer: [
    {"id":0,"name":"scheme","required":false,"kind":"scalar","bytes":2},
    {"id":1,"name":"bits","required":false,"kind":"scalar","bytes":1},
    {"id":2,"name":"clip_low","required":false,"kind":"scalar","bytes":8},
    {"id":3,"name":"clip_high","required":false,"kind":"scalar","bytes":8},
    {"id":4,"name":"knee","required":false,"kind":"scalar","bytes":1},
    {"id":5,"name":"slope_ratio","required":false,"kind":"scalar","bytes":1},
    {"id":6,"name":"plane_scales","required":false,"kind":"scalars","bytes":8},
  ],
  Architecture: [
    {"id":0,"name":"family","required":true,"kind":"string"},
    {"id":1,"name":"vocabulary_size","required":false,"kind":"scalar","bytes":4},
    {"id":2,"name":"hidden_size","required":false,"kind":"scalar","bytes":4},
    {"id":3,"name":"intermediate_size","required":false,"kind":"scalar","bytes":4},
    {"id":4,"name":"block_count","required":false,"kind":"scalar","bytes":4},
    {"id":5,"name":"head_count","required":false,"kind":"scalar","bytes":4},
    {"id":6,"name":"kv_head_count","required":false,"kind":"scalar","bytes":4},
    {"id":7,"name":"head_size","required":false,"kind":"scalar","bytes":4},
    {"id":8,"name":"context_length","required":false,"kind":"scalar","bytes":4},
    {"id":9,"name":"norm_epsilon","required":false,"kind":"scalar","bytes":8},
    {"id":10,"name":"rope_theta","required":false,"kind":"scalar","bytes":8},
    {"id":11,"name":"rope_scaling","required":false,"kind":"table","table":"RopeScaling"},
    {"id":12,"name":"sliding_window","required":false,"kind":"scalar","bytes":4},
    {"id":13,"name":"tied_head","required":false,"kind":"bool","bytes":1},
  ],
  Asset: [
    {"id":0,"name":"role","required":false,"kind":"scalar","bytes":2},
    {"id":1,"name":"media_type","required":true,"kind":"string"},
    {"id":2,"name":"segment","required":false,"kind":"scalar","bytes":4},
    {"id":3,"name":"offset","required":false,"kind":"scalar","bytes":8},
    {"id":4,"name":"length","required":false,"kind":"scalar","bytes":8},
  ],
  DataFile: [
    {"id":0,"name":"name","required":true,"kind":"string"},
    {"id":1,"name":"length","required":false,"kind":"scalar","bytes":8},
    {"id":2,"name":"sha256","required":true,"kind":"scalars","bytes":1},
  ],
  KvCacheQuantization: [
    {"id":0,"name":"key_bits","required":false,"kind":"scalar","bytes":1},
    {"id":1,"name":"value_bits","required":false,"kind":"scalar","bytes":1},
    {"id":2,"name":"group_size","required":false,"kind":"scalar","bytes":4},
    {"id":3,"name":"symmetric","required":false,"kind":"bool","bytes":1},
  ],
  MetadataPair: [
    {"id":0,"name":"key","required":true,"kind":"string"},
    {"id":1,"name":"value","required":true,"kind":"string"},
  ],
  Model: [
    {"id":0,"name":"architecture","required":true,"kind":"table","table":"Architecture"},
    {"id":1,"name":"special_tokens","required":true,"kind":"table","table":"SpecialTokens"},
    {"id":2,"name":"assets","required":true,"kind":"tables","table":"Asset"},
    {"id":3,"name":"tensors","required":true,"kind":"tables","table":"Tensor"},
    {"id":4,"name":"segments","required":true,"kind":"tables","table":"Segment"},
    {"id":5,"name":"provenance","required":true,"kind":"table","table":"Provenance"},
    {"id":6,"name":"metadata","required":true,"kind":"tables","table":"MetadataPair"},
    {"id":7,"name":"kv_cache","required":false,"kind":"table","table":"KvCacheQuantization"},
    {"id":8,"name":"data_files","required":false,"kind":"tables","table":"DataFile"},
  ],
  Plane: [
    {"id":0,"name":"role","required":false,"kind":"scalar","bytes":2},
    {"id":1,"name":"segment","required":false,"kind":"scalar","bytes":4},
    {"id":2,"name":"offset","required":false,"kind":"scalar","bytes":8},
    {"id":3,"name":"length","required":false,"kind":"scalar","bytes":8},
  ],
  Provenance: [
    {"id":0,"name":"producer","required":true,"kind":"string"},
    {"id":1,"name":"source_name","required":true,"kind":"string"},
    {"id":2,"name":"source_sha256","required":true,"kind":"scalars","bytes":1},
    {"id":3,"name":"recipe","required":true,"kind":"string"},
    {"id":4,"name":"calibration_sha256","required":false,"kind":"scalars","bytes":1},
  ],
  RopeScaling: [
    {"id":0,"name":"kind","required":false,"kind":"scalar","bytes":2},
    {"id":1,"name":"factor","required":false,"kind":"scalar","bytes":8},
    {"id":2,"name":"low_frequency_factor","required":false,"kind":"scalar","bytes":8},
    {"id":3,"name":"high_frequency_factor","required":false,"kind":"scalar","bytes":8},
    {"id":4,"name":"original_context_length","required":false,"kind":"scalar","bytes":4},
  ],
  Segment: [
    {"id":0,"name":"name","required":true,"kind":"string"},
    {"id":1,"name":"offset","required":false,"kind":"scalar","bytes":8},
    {"id":2,"name":"length","required":false,"kind":"scalar","bytes":8},
    {"id":3,"name":"chunk_hashes","required":true,"kind":"scalars","bytes":1},
    {"id":4,"name":"file","required":false,"kind":"scalar","bytes":4},
  ],
  SpecialTokens: [
    {"id":0,"name":"bos","required":false,"kind":"scalar","bytes":4},
    {"id":1,"name":"eos","required":true,"kind":"scalars","bytes":4},
    {"id":2,"name":"pad","required":false,"kind":"scalar","bytes":4},
    {"id":3,"name":"add_bos","required":false,"kind":"bool","bytes":1},
  ],
  Tensor: [
    {"id":0,"name":"name","required":true,"kind":"string"},
    {"id":1,"name":"shape","required":true,"kind":"scalars","bytes":8},
    {"id":2,"name":"encoding","required":false,"kind":"scalar","bytes":2},
    {"id":3,"name":"group_size","required":false,"kind":"scalar","bytes":4},
    {"id":4,"name":"flags","required":false,"kind":"scalar","bytes":4},
    {"id":5,"name":"planes","required":true,"kind":"tables","table":"Plane"},
    {"id":6,"name":"activation","required":false,"kind":"table","table":"ActivationQuantizer"},
    {"id":7,"name":"outlier_columns","required":false,"kind":"scalar","bytes":4},
    {"id":8,"name":"salient_count","required":false,"kind":"scalar","bytes":8},
    {"id":9,"name":"input_rotation","required":false,"kind":"scalar","bytes":2},
  ],
};
