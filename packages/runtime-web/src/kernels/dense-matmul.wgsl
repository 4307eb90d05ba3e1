// Dense or integer weights times many rows of f32: tiles of 64 rows of weights by 64 of the input, 4 by 4 a thread, 16 columns
// (or one chunk of weights) at a time; weights become f32 when they enter workgroup memory.
#import common
#import dense-op
#import dense

const TILE: u32 = 64u;
// Quads of columns in a step: a whole chunk, and at least 16 columns.
const STEP: u32 = max(4u, QUADS);
const CHUNKS: u32 = STEP / QUADS;

// [quad of columns][row]
var<workgroup> tileWeights: array<vec4<f32>, STEP * TILE>;
var<workgroup> tileInputs: array<vec4<f32>, STEP * TILE>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let firstRow = workgroup.x * TILE;
  let firstToken = workgroup.y * TILE;
  let tokens = tokenCount();
  let mine = vec2<u32>(index % 16u, index / 16u);
  var sums: array<vec4<f32>, 4>;
  for (var chunk = 0u; chunk < op.chunks; chunk += CHUNKS) {
    for (var unit = index; unit < CHUNKS * TILE; unit += 256u) {
      let row = unit % TILE;
      let own = chunk + unit / TILE;
      let source = min(firstRow + row, op.rows - 1u);
      var word = vec4<u32>(0u);
      var scale = 0.0;
      if (own < op.chunks) {
        word = weights[source * op.chunks + own];
        scale = scaleOf(source, own);
      }
      for (var quad = 0u; quad < QUADS; quad++) {
        tileWeights[((unit / TILE) * QUADS + quad) * TILE + row] = scale * weightQuad(word, quad);
      }
    }
    for (var unit = index; unit < STEP * TILE; unit += 256u) {
      let token = unit / STEP;
      let quad = unit % STEP;
      var x = vec4<f32>(0.0);
      if (chunk * QUADS + quad < op.chunks * QUADS) {
        x = inputs[inputRow(min(firstToken + token, tokens - 1u)) + chunk * QUADS + quad];
      }
      tileInputs[quad * TILE + token] = x;
    }
    workgroupBarrier();
    for (var quad = 0u; quad < STEP; quad++) {
      var x: array<vec4<f32>, 4>;
      for (var t = 0u; t < 4u; t++) {
        x[t] = tileInputs[quad * TILE + mine.y + 16u * t];
      }
      for (var r = 0u; r < 4u; r++) {
        let w = tileWeights[quad * TILE + mine.x + 16u * r];
        sums[r] += vec4<f32>(dot(w, x[0]), dot(w, x[1]), dot(w, x[2]), dot(w, x[3]));
      }
    }
    workgroupBarrier();
  }
  for (var t = 0u; t < 4u; t++) {
    let token = firstToken + mine.y + 16u * t;
    for (var r = 0u; r < 4u; r++) {
      let row = firstRow + mine.x + 16u * r;
      if (token < tokens && row < op.rows) {
        outs[token * op.outStride + row] = sums[r][t];
      }
    }
  }
}
