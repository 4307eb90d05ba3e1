// What needs Node: files as sources and sinks.
export { createFileSink } from './file-sink.ts';
export { createFileSource } from './file-source.ts';
