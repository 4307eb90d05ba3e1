// What the device can move: a copy from buffer to buffer, and a kernel that only reads. Floors of decoding are taken from the
// latter, as decoding reads weights and writes next to nothing.
const READ = /* wgsl */ `
@group(0) @binding(0) var<storage, read> source: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> out: array<u32>;
@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let stride = groups.x * 256u;
  let count = arrayLength(&source);
  var a = vec4<u32>(0u);
  for (var i = id.x; i + 3u * stride < count; i += 4u * stride) {
    a ^= source[i] ^ source[i + stride] ^ source[i + 2u * stride] ^ source[i + 3u * stride];
  }
  let all = a.x ^ a.y ^ a.z ^ a.w;
  if (all == 0x12345u) {
    out[0] = all;
  }
}`;

const COPY_SOURCE = 4;
const COPY_TARGET = 8;
const STORAGE = 128;

/** @returns GB/s of the best of some rounds */
export async function measureBandwidth({ device }, bytes) {
  const usage = STORAGE | COPY_SOURCE | COPY_TARGET;
  const [a, b] = [device.createBuffer({ size: bytes, usage }), device.createBuffer({ size: bytes, usage })];
  const pipeline = await device.createComputePipelineAsync({
    layout: 'auto',
    compute: { module: device.createShaderModule({ code: READ }), entryPoint: 'main' },
  });
  const group = device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: [a, b].map((buffer, binding) => ({ binding, resource: { buffer } })),
  });
  const time = async (encode, repeats) => {
    let best = Number.POSITIVE_INFINITY;
    for (let round = 0; round < 4; round++) {
      const encoder = device.createCommandEncoder();
      for (let i = 0; i < repeats; i++) encode(encoder);
      const commands = encoder.finish();
      const start = performance.now();
      device.queue.submit([commands]);
      await device.queue.onSubmittedWorkDone();
      if (round > 0) best = Math.min(best, (performance.now() - start) / repeats);
    }
    return best;
  };
  const repeats = bytes > 1e8 ? 10 : 1;
  const copy = await time((encoder) => encoder.copyBufferToBuffer(a, 0, b, 0, bytes), repeats);
  let read = Number.POSITIVE_INFINITY;
  for (const groups of [1056, 4224, 16896]) {
    const own = await time((encoder) => {
      const pass = encoder.beginComputePass();
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(groups);
      pass.end();
    }, repeats);
    read = Math.min(read, own);
  }
  a.destroy();
  b.destroy();
  return { copy: (2 * bytes) / copy / 1e6, read: bytes / read / 1e6 };
}
