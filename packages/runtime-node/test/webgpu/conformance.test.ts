// The suite that every backend passes, on WebGPU in Node with all that the device has; and what reads the cache, on one of f16.
import { registerVariant } from './register.ts';

await registerVariant('with all that the device has', { kv: 'f32' });
await registerVariant('with a cache of f16', { kv: 'f16' });
