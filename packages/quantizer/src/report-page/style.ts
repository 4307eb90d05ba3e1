// How the page looks: one column that fits a phone, light and dark as the reader's system is, legible in print.
export const STYLE = `
:root {
  color-scheme: light dark;
  --page: #faf9f6; --card: #fff; --ink: #1d1c1a; --soft: #63605a; --line: #e2dfd8; --track: #efede7;
  --a16: #2463c9; --a4: #c2500c; --original: #4d4a45; --good: #1d7a46; --bad: #b3261e; --heat: #d9722e;
  --level0: #20507a; --level1: #8fb7d4; --level2: #f0bd83; --level3: #b4560f;
  --p0: #20507a; --p1: #4f86b3; --p2: #9fc3dc; --p3: #7d5ba6; --p4: #c2500c; --p5: #e8a862; --p6: #88857e; --p7: #c9c5bc;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #141416; --card: #1d1d20; --ink: #ecebe7; --soft: #a5a29b; --line: #34343a; --track: #29292e;
    --a16: #7fb0ff; --a4: #ff9a57; --original: #c9c6bf; --good: #6fcf97; --bad: #ff8a80; --heat: #c7672b;
    --level0: #3d79ad; --level1: #9cc4e0; --level2: #f2c48f; --level3: #d97a2b;
    --p0: #3d79ad; --p1: #6ba3d0; --p2: #a9cbe3; --p3: #a78bd0; --p4: #d97a2b; --p5: #f2c48f; --p6: #9a978f; --p7: #55534f;
  }
}
*, ::before { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  font-variant-numeric: tabular-nums;
}
main, header, footer { max-width: 60rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 2.5rem; }
h1 { font-size: clamp(1.6rem, 5vw, 2.4rem); line-height: 1.15; margin: 0; overflow-wrap: anywhere; letter-spacing: -0.015em; }
h2 { font-size: 1.35rem; margin: 0 0 0.25rem; letter-spacing: -0.01em; }
h3 { font-size: 1rem; margin: 1.75rem 0 0.25rem; }
p { margin: 0.25rem 0 1rem; max-width: 44rem; }
.soft, small, figcaption { color: var(--soft); }
small, figcaption, .key, table { font-size: 0.875rem; }
nav ul { display: flex; flex-wrap: wrap; gap: 0.25rem 1rem; list-style: none; padding: 0; margin: 1rem 0 0; }
a { color: inherit; text-decoration-color: var(--soft); text-underline-offset: 0.2em; }
a:focus-visible, summary:focus-visible, [tabindex]:focus-visible { outline: 3px solid var(--a16); outline-offset: 2px; border-radius: 3px; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 1.25rem; margin: 1.25rem 0; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: 0.75rem; margin: 1.5rem 0 0; }
.tiles > div { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 0.9rem 1rem; display: flex; flex-direction: column; }
.tiles dt { color: var(--soft); font-size: 0.875rem; }
.tiles dd { margin: 0; }
.tiles .value { font-size: 1.7rem; line-height: 1.25; font-weight: 650; letter-spacing: -0.02em; }
.key { display: flex; flex-wrap: wrap; gap: 0.25rem 1.1rem; list-style: none; padding: 0; margin: 0.75rem 0; color: var(--soft); }
.key li::before { content: ""; display: inline-block; width: 0.7rem; height: 0.7rem; border-radius: 50%; background: var(--c, var(--soft)); margin-right: 0.4rem; vertical-align: -0.02rem; }
.key li.hollow::before { background: none; border: 2px solid var(--c, var(--soft)); }
.key li.square::before { border-radius: 3px; }
.key li.bar::before { width: 2px; border-radius: 0; height: 0.9rem; vertical-align: -0.12rem; }
.rows { display: grid; gap: 0.1rem 0.75rem; grid-template-columns: max-content minmax(6rem, 1fr) max-content; align-items: center; font-size: 0.875rem; margin: 0.5rem 0; }
.rows > .row { display: contents; }
.track { position: relative; height: 1.5rem; }
.track::before { content: ""; position: absolute; left: 0; right: 0; top: 50%; height: 1px; background: var(--line); }
.dot, .span, .rule { position: absolute; top: 50%; }
.dot { width: 0.8rem; height: 0.8rem; margin: -0.4rem 0 0 -0.4rem; border-radius: 50%; background: var(--c); border: 2px solid var(--c); }
.dot.hollow { background: var(--card); }
.span { height: 3px; margin-top: -1.5px; background: var(--c); opacity: 0.55; border-radius: 2px; }
.rule { top: 0; bottom: 0; width: 0; border-left: 2px dashed var(--original); }
.ends { display: flex; justify-content: space-between; color: var(--soft); font-size: 0.8rem; }
.good { color: var(--good); } .bad { color: var(--bad); }
.number { text-align: right; white-space: nowrap; }
.curves { display: grid; grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr)); gap: 0.75rem; margin: 0.75rem 0; padding: 0; list-style: none; }
.curves.one { grid-template-columns: 1fr; }
.curves figure { margin: 0; border: 1px solid var(--line); border-radius: 8px; padding: 0.5rem 0.6rem; }
.curves svg { display: block; width: 100%; height: 4.5rem; overflow: visible; }
.curves.one svg { height: 11rem; }
.curves figcaption { display: flex; justify-content: space-between; gap: 0.5rem; flex-wrap: wrap; }
.curves b { color: var(--ink); font-weight: 600; }
.curve { fill: none; stroke: var(--a16); stroke-width: 1.75; stroke-linejoin: round; vector-effect: non-scaling-stroke; }
.restart { stroke: var(--bad); stroke-width: 1.5; stroke-dasharray: 3 3; vector-effect: non-scaling-stroke; }
.held { stroke: var(--original); opacity: 0.7; stroke-width: 1.5; stroke-dasharray: 5 4; vector-effect: non-scaling-stroke; }
.stack { display: flex; height: 1.6rem; border-radius: 6px; overflow: hidden; gap: 1px; background: var(--track); }
.stack.tall { height: 2.6rem; margin: 0.75rem 0; }
.stack > i { display: block; background: var(--c); min-width: 1px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
caption { text-align: left; color: var(--soft); padding-bottom: 0.4rem; }
th, td { padding: 0.3rem 0.6rem; text-align: right; border-bottom: 1px solid var(--line); font-weight: 400; white-space: nowrap; }
th:first-child, td:first-child, td.text, th.text { text-align: left; }
td.text { white-space: normal; }
thead th { color: var(--soft); font-weight: 500; }
table.heat { width: 100%; table-layout: fixed; min-width: 18rem; }
table.heat th, table.heat td { padding: 0.3rem 0.1rem; }
table.heat td { border: 2px solid var(--card); border-radius: 5px; text-align: center; background: color-mix(in oklab, var(--heat) calc(var(--h) * 62%), var(--track)); }
table.heat th { text-align: center; border: 0; }
table.heat th:first-child { width: 4.5rem; text-align: left; }
.swatch { display: inline-block; width: 0.8rem; height: 0.8rem; border-radius: 3px; background: var(--c); margin-right: 0.5rem; vertical-align: -0.05rem; }
details { margin: 0.75rem 0; }
summary { cursor: pointer; color: var(--soft); width: fit-content; }
details[open] > summary { margin-bottom: 0.5rem; }
pre { background: var(--track); border-radius: 8px; padding: 0.9rem; overflow: auto; max-height: 28rem; font-size: 0.8125rem; line-height: 1.45; }
dl.pairs { display: grid; grid-template-columns: max-content 1fr; gap: 0.25rem 1.25rem; margin: 0.75rem 0; font-size: 0.9375rem; }
dl.pairs dt { color: var(--soft); } dl.pairs dd { margin: 0; overflow-wrap: anywhere; }
ul.notices { padding-left: 1.2rem; margin: 0.5rem 0; } ul.notices li { margin: 0.35rem 0; }
code { font-size: 0.875em; overflow-wrap: anywhere; }
footer { padding-bottom: 3rem; color: var(--soft); font-size: 0.875rem; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
@media (max-width: 34rem) {
  main, header, footer { padding-left: 0.75rem; padding-right: 0.75rem; }
  header { padding-top: 1.5rem; }
  section { padding: 1rem 0.85rem; }
  td.text, th.text { display: none; }
  thead th { white-space: normal; vertical-align: bottom; }
  table.heat th:first-child { width: 2.8rem; }
  table.heat { font-size: 0.8rem; }
  .tiles { grid-template-columns: 1fr 1fr; gap: 0.5rem; }
  .tiles .value { font-size: 1.35rem; }
  .curves { grid-template-columns: 1fr 1fr; gap: 0.5rem; }
  dl.pairs { grid-template-columns: 1fr; gap: 0; } dl.pairs dd { margin-bottom: 0.6rem; }
  .rows.wide { grid-template-columns: max-content 1fr; } .rows.wide .number { grid-column: 2; text-align: left; margin-top: -0.35rem; padding-bottom: 0.4rem; }
  .rows.wide .stack + .number { margin-top: 0; }
}
@media print { section, .tiles > div { break-inside: avoid; } body { background: none; } }
`;
