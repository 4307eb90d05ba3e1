// Of the suite what reads the cache, on WebGPU in Node with caches of codes.
import { registerVariant } from './register.ts';

await registerVariant('with a cache of int8', { kv: 'int8' });
await registerVariant('with a cache of int4', { kv: 'int4' });
