// Public face of @duobit/server.
export { LOG_LEVELS, type LogLevel, type LogOptions, type ServerOptions } from './options.ts';
export { createServer, type DuobitServer } from './server.ts';
