// The page's worker: the ready one.
import '@duobit/runtime-web/worker';
