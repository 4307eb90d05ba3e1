// What needs Node: files as sources and sinks, and folders for them.
export { createFileSink } from './file-sink.ts';
export { createFileSource } from './file-source.ts';
export { makeFolder } from './make-folder.ts';
