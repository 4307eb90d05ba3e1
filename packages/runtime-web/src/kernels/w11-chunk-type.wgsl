// Codes of four words, in one or two quads each, and their sums.
struct Chunk {
  a0: vec4<u32>,
  b0: vec4<u32>,
  a1: vec4<u32>,
  b1: vec4<u32>,
  a2: vec4<u32>,
  b2: vec4<u32>,
  a3: vec4<u32>,
  b3: vec4<u32>,
  sums: vec4<u32>,
}
