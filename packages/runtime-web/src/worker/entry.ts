// The ready worker, `@duobit/runtime-web/worker`: a module worker that loads and runs models for `loadModelInWorker`.
import { serveModels } from './server.ts';

serveModels(self);
