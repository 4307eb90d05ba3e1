// A Hugging Face hub on this machine, for tests without a network: the documented API as @huggingface/hub uses it, with uploads and
// downloads on another host (another port), and faults on demand.

export type { HubFault, HubRequest } from './listener.ts';
export { bundleForNode, type Program, runProgram } from './processes.ts';
export { type ProxyServer, startProxy } from './proxy.ts';
export { Repository, sha256Hex } from './repository.ts';
export { type HubServer, type HubServerOptions, startHubServer } from './server.ts';
