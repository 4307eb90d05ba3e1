import { createModel } from '@duobit/core';
import { openContainer } from '@duobit/format';
import { createFileSource } from '@duobit/format/node';
import { createNativeBackend } from '@duobit/runtime-node';
const [path, th='2', n='96', kv]=process.argv.slice(2);
const res=[];
for (const t of th.split(',')) {
const backend=await createNativeBackend({threads:+t, ...(kv?{kv}:{})});
const model=await createModel(await openContainer(await createFileSource(path)),backend,{contextLength:512});
const V=model.architecture.vocabularySize;
const toks=Array.from({length:512},(_,i)=>(i*7919)%V);
const one=[];
const pre=[];
for(let r=0;r<4;r++){ let s=performance.now(); await model.forward(toks.slice(0,128)); pre.push(performance.now()-s); for(let i=0;i<+n;i++){s=performance.now(); await model.forward([toks[i]],{position:128+i}); one.push(performance.now()-s);} }
one.sort((a,b)=>a-b); pre.sort((a,b)=>a-b);
const q=f=>one[Math.floor(one.length*f)].toFixed(2);
let p512=[]; for(let r=0;r<3;r++){let s=performance.now(); await model.forward(toks); p512.push(performance.now()-s);} p512.sort((a,b)=>a-b);
console.log(`threads ${t}: ms/token p10 ${q(.1)} median ${q(.5)} p90 ${q(.9)}; tok/s ${(1000/one[one.length>>1]).toFixed(0)}; prefill128 ${(128000/pre[1]).toFixed(0)}; prefill512 ${(512000/p512[1]).toFixed(0)} rss ${(process.memoryUsage().rss/1e6).toFixed(0)}`);
await model.dispose(); await backend.dispose();
}
