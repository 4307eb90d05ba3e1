// interleaved processes: label=addon:file:threads
import { execFileSync } from 'node:child_process';
const subs=process.argv.slice(3).map(s=>s.split(','));
const R=+process.argv[2]; const res=new Map(subs.map(s=>[s.join(','),[]]));
for(let r=0;r<R;r++) for(const s of subs){ const [addon,file,th]=s; const o=execFileSync(process.execPath,[new URL('.dec1.mjs',import.meta.url).pathname,file,th],{env:{...process.env,...(addon==='new'?{}:{DUOBIT_NATIVE:addon})},stdio:['ignore','pipe','ignore']}).toString(); res.get(s.join(',')).push(JSON.parse(o)); }
for(const [k,v] of res){ const med=f=>{const a=v.map(f).sort((x,y)=>x-y);return a[a.length>>1]}; console.log(k,'decode ms',med(x=>x.ms).toFixed(2),'best',Math.min(...v.map(x=>x.best)).toFixed(2),'prefill128',med(x=>x.p).toFixed(0),'512',med(x=>x.p5).toFixed(0),'rss',med(x=>x.rss).toFixed(0)); }
