import '@duobit/runtime-web/worker';
