import { createModel } from '@duobit/core';
import { openContainer } from '@duobit/format';
import { createFileSource } from '@duobit/format/node';
import { createNativeBackend } from '@duobit/runtime-node';
const b=await createNativeBackend({threads:1}); const m=await createModel(await openContainer(await createFileSource(process.argv[2])),b,{contextLength:256,activations:'f16'});
let t=[];for(let i=0;i<30;i++){const s=performance.now();await m.forward([i+5],{position:i});t.push(performance.now()-s);} t.sort((a,b)=>a-b);
let s=performance.now(); await m.forward(Array.from({length:128},(_,i)=>i)); console.log('A16 decode ms',t[15].toFixed(2),'prefill128 tok/s',(128000/(performance.now()-s)).toFixed(0));
process.exit(0)
