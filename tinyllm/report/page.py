"""The look of the report: one style sheet and one skeleton.

Everything is in the file, and nothing comes from a network.
"""

STYLE = """
:root { color-scheme: light dark; --paper: #fbfaf7; --card: #fff; --ink: #1d2228; --soft: #59626d;
  --rule: #dfdcd4;
  --train: #3b76b5; --val: #b4500b; --floor: #2d7a4f; --other: #5d4fa3; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171b; --card: #1c2026; --ink: #e6e4df; --soft:
  #a0a8b2;
  --rule: #333941; --train: #7db3ea; --val: #f2a35e; --floor: #74c697; --other: #b3a5f0; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 64rem; margin: 0 auto; padding: 3rem 1.5rem 4rem; }
h1, h2 { font-family: Charter, "Iowan Old Style", Palatino, Georgia, serif; font-weight: 600;
  line-height: 1.15; }
h1 { font-size: 2.4rem; margin: 0 0 .4rem; overflow-wrap: anywhere; }
h2 { font-size: 1.45rem; margin: 3rem 0 1rem; }
.lead { color: var(--soft); margin: 0; max-width: 46rem; overflow-wrap: anywhere; }
.numbers { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: 1px; margin:
  2rem 0;
  padding: 0; background: var(--rule); border: 1px solid var(--rule); border-radius: .6rem; overflow:
  hidden; }
.numbers div { background: var(--card); padding: .9rem 1rem; }
.numbers dt { color: var(--soft); font-size: .8rem; }
.numbers dd { margin: 0; font-size: 1.5rem; font-variant-numeric: tabular-nums; white-space: nowrap; }
.numbers small { display: block; font-size: .8rem; color: var(--soft); }
figure { margin: 0; padding: 1.1rem 1.2rem 2.3rem; background: var(--card); border: 1px solid var(--rule);
  border-radius: .6rem; break-inside: avoid; min-width: 0; }
figcaption { display: flex; flex-wrap: wrap; gap: .2rem .8rem; align-items: baseline; margin-bottom:
  .9rem; }
.unit { color: var(--soft); font-size: .85rem; }
.legend { margin-left: auto; display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; font-size: .85rem; }
.key::before { content: ""; display: inline-block; width: 1.4rem; margin-right: .4rem; vertical-align:
  middle;
  border-top: 2px solid var(--c); }
.key.dots::before { width: .6rem; height: .6rem; border: 0; border-radius: 50%; background: var(--c); }
.key.dashes::before { border-top-style: dashed; }
.train { --c: var(--train); } .val { --c: var(--val); } .floor { --c: var(--floor); } .other { --c:
  var(--other); }
.plot { position: relative; margin: 0 .9rem 0 2.8rem; height: 9rem; }
.tall .plot { height: 22rem; }
svg { display: block; width: 100%; height: 100%; overflow: visible; }
svg path { fill: none; stroke: var(--c); stroke-width: 1.8; vector-effect: non-scaling-stroke;
  stroke-linejoin: round; }
svg path.dots { stroke-width: 7; stroke-linecap: round; }
svg path.dashes { stroke-dasharray: 7 5; }
svg path.grid { stroke: var(--rule); stroke-width: 1; }
.plot span { position: absolute; color: var(--soft); font-size: .78rem; font-variant-numeric:
  tabular-nums; }
.y { right: calc(100% + .5rem); transform: translateY(-50%); }
.x { top: calc(100% + .4rem); transform: translateX(-50%); }
.trio { display: grid; grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)); gap: 1rem;
  margin-top: 1rem; }
.sample { display: grid; grid-template-columns: 7rem 1fr; gap: 0 1.2rem; padding: 1rem 0; border-top:
  1px solid var(--rule); }
.sample h3 { margin: 0; font-size: .9rem; font-weight: 500; color: var(--soft); }
.sample p { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; font-family: Charter, Palatino,
  Georgia, serif;
  max-width: 44rem; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem 1rem .3rem 0; border-bottom: 1px solid var(--rule);
  overflow-wrap: anywhere;
  vertical-align: top; }
th { font-weight: 500; color: var(--soft); }
tbody th { width: 14rem; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(19rem, 1fr)); gap: 0 2.5rem;
  align-items: start; }
pre, .scroll { overflow-x: auto; }
pre { font: .8rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; background: var(--card);
  padding: 1rem;
  border: 1px solid var(--rule); border-radius: .6rem; }
summary { cursor: pointer; color: var(--soft); margin: 1rem 0; }
footer { margin-top: 3rem; color: var(--soft); font-size: .85rem; }
@media (max-width: 38rem) { main { padding: 1.6rem 1rem 3rem; } h1 { font-size: 1.8rem; } .tall .plot {
  height: 16rem; }
  .sample { grid-template-columns: 1fr; } .legend { margin-left: 0; } tbody th { width: 8rem; }
  .numbers { grid-template-columns: 1fr 1fr; } }
@media print { :root { --paper: #fff; --card: #fff; --ink: #000; --soft: #444; --rule: #bbb; --train:
  #3b76b5;
  --val: #b4500b; --floor: #2d7a4f; --other: #5d4fa3; } main { max-width: none; padding: 0; } details {
  display: none; } }
"""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{title} · tinyllm</title>
<style>{style}</style>
</head>
<body><main>
<header><h1>{title}</h1><p class="lead">{lead}</p></header>
{body}
<footer>{footer}</footer>
</main></body>
</html>
"""
