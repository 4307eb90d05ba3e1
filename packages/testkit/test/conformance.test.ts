// The conformance suite on the CPU backends.
import { describe, it } from 'vitest';
import { registerConformance } from '../src/conformance.ts';
import { BACKENDS } from './backends.ts';

for (const backend of BACKENDS) registerConformance({ describe, it }, backend);
