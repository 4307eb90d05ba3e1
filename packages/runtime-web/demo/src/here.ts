// What only a page with `?thread=main` needs; a file of its own, so that others do not load it.
export { loadModel } from '@duobit/runtime-web';
