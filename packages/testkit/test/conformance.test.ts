// The conformance suite on the CPU backends.
import { createReferenceBackend } from '@duobit/core';
import { describe, it } from 'vitest';
import { registerConformance } from '../src/conformance.ts';

registerConformance({ describe, it }, { name: 'reference', create: createReferenceBackend });
