// The suite that every backend passes, on WebGPU in Node without anything that a device may lack.
import { registerVariant } from './register.ts';

await registerVariant('without subgroups, packed dot products and f16', {
  kv: 'f32',
  variant: { subgroups: false, packedDot: false, f16: false },
});
