"""What the pages of a trace add to the look of the report."""

STYLE = """
p.note { color: var(--soft); max-width: 46rem; margin: 0 0 1rem; }
.text { background: var(--card); border: 1px solid var(--rule); border-radius: .6rem; padding: 1.1rem 1.2rem;
  font: 1.05rem/2 ui-monospace, "SF Mono", Menlo, Consolas, monospace; white-space: pre-wrap;
  overflow-wrap: anywhere; }
.heat { background: color-mix(in srgb, var(--hot) calc(var(--s) * 1%), transparent); }
:root { --hot: #f0a35c; --cool: #6fa8dc; }
@media (prefers-color-scheme: dark) { :root { --hot: #a85a12; --cool: #2f6aa6; } }
.t { border-radius: .2rem; padding: .1rem 0; cursor: default; }
.t.own { text-decoration: underline 1px; text-underline-offset: .35rem;
  text-decoration-color: var(--soft); }
.t:hover, .t:focus { outline: 2px solid var(--ink); outline-offset: 1px; }
.pop { display: none; position: fixed; z-index: 2; left: 0; right: 0; bottom: 0; margin: 0 auto .6rem;
  width: min(34rem, calc(100vw - 1.2rem)); padding: .8rem 1rem; background: var(--card); color: var(--ink);
  border: 1px solid var(--soft); border-radius: .6rem; font: .9rem/1.5 system-ui, sans-serif;
  white-space: normal; box-shadow: 0 .3rem 1.5rem #0005; pointer-events: none; }
.t:focus .pop, .t:hover .pop { display: block; }
.text:has(.t:hover) .t:focus:not(:hover) .pop { display: none; }
.pop b, td b, code, .tok { font-weight: 600;
  font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
.tok { font-weight: 400; white-space: pre; }
.bar { display: grid; grid-template-columns: minmax(4.5rem, auto) 1fr 3.6rem; gap: .6rem;
  align-items: center; font-variant-numeric: tabular-nums; }
.bar i { height: .55rem; border-radius: .2rem; background: var(--train); width: calc(var(--w) * 1%);
  min-width: 1px; }
.bar span:last-child { text-align: right; }
.scale { display: flex; align-items: center; gap: .6rem; margin: .8rem 0 0; color: var(--soft);
  font-size: .85rem; flex-wrap: wrap; }
.scale i { width: 9rem; height: .7rem; border-radius: .2rem;
  background: linear-gradient(to right, transparent, var(--c)); border: 1px solid var(--rule); }
.scroll { border: 1px solid var(--rule); border-radius: .6rem; background: var(--card); max-height: 32rem;
  overflow: auto; }
.scroll table { border-collapse: separate; border-spacing: 0; }
.scroll th, .scroll td { padding: .3rem .6rem; white-space: nowrap; overflow-wrap: normal; }
.scroll thead th { position: sticky; top: 0; background: var(--card); z-index: 1; }
.scroll td.n, .scroll th.n { text-align: right; }
.scroll tbody th { width: auto; }
.lens .heat { --hot: var(--cool); }
.lens th:first-child { position: sticky; left: 0; background: var(--card); z-index: 1;
  border-right: 1px solid var(--rule); }
.lens thead th:first-child { z-index: 2; }
.lens th, .lens td { text-align: center; padding: .3rem .45rem; min-width: 1.9rem; }
.lens tbody th { text-align: left; }
.lens th small { font-weight: 400; display: block; color: var(--soft); }
.lens td.right { text-decoration: underline 2px; text-underline-offset: .2rem; font-weight: 700; }
.lens tr.truth td { border-top: 2px solid var(--soft); }
h3 { font-size: 1rem; font-weight: 600; margin: 1.6rem 0 .6rem; }
.heads { display: grid; grid-template-columns: repeat(auto-fit, minmax(10rem, 1fr)); gap: .8rem; }
.heads figure { padding: .7rem; cursor: zoom-in; }
.heads figcaption { display: block; margin: .5rem 0 0; font-size: .76rem; line-height: 1.4;
  color: var(--soft); }
.heads figcaption b { color: var(--ink); font-weight: 600; display: block; }
.heads img { display: block; width: 100%; aspect-ratio: 1; image-rendering: pixelated;
  border: 1px solid var(--rule); background: var(--card); }
.heads figure:focus { outline: 2px solid var(--ink); cursor: default; }
.heads figure:focus img { position: fixed; z-index: 3; inset: 0; margin: auto; width: 92vmin; height: 92vmin;
  border-color: var(--soft); box-shadow: 0 0 0 100vmax #000a; }
figure + .scroll { margin-top: 1rem; }
.duo { display: grid; grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr)); gap: 1rem;
  margin: 1rem 0; }
.found { border-left: .3rem solid var(--val); padding: .2rem 0 .2rem 1rem; margin: 1.5rem 0;
  font-size: 1.1rem; overflow-wrap: anywhere; }
.share { display: inline-block; width: 4rem; height: .55rem; vertical-align: middle; margin-right: .6rem; }
.share i { display: block; height: 100%; width: calc(var(--w) * 1%); background: var(--train);
  border-radius: .2rem; }
@media (max-width: 38rem) { .heads { grid-template-columns: 1fr 1fr; } .text { padding: .8rem; }
  .share { width: 3rem; }
  .numbers div:last-child:nth-child(odd) { grid-column: 1 / -1; } }
@media print { .pop { display: none !important; } .scroll { max-height: none; overflow: visible; } }
"""
