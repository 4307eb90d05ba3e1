import { createModel } from '@duobit/core';
import { openContainer } from '@duobit/format';
import { createFileSource } from '@duobit/format/node';
import { createNativeBackend } from '@duobit/runtime-node';
const [path, th]=process.argv.slice(2);
const backend=await createNativeBackend({threads:+th});
const model=await createModel(await openContainer(await createFileSource(path)),backend,{contextLength:512});
const V=model.architecture.vocabularySize; const toks=Array.from({length:512},(_,i)=>(i*7919)%V);
const one=[],pre=[];
for(let r=0;r<3;r++){ let s=performance.now(); await model.forward(toks.slice(0,128)); pre.push(performance.now()-s); for(let i=0;i<60;i++){s=performance.now(); await model.forward([toks[i]],{position:128+i}); one.push(performance.now()-s);} }
one.sort((a,b)=>a-b); pre.sort((a,b)=>a-b); let s=performance.now(); await model.forward(toks); const p5=512000/(performance.now()-s);
console.log(JSON.stringify({ms:one[one.length>>1],best:one[3],p:128000/pre[1],p5,rss:process.resourceUsage().maxRSS/1000})); await model.dispose(); await backend.dispose();
