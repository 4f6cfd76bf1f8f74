"""Style and script of the page: nothing from elsewhere, light and dark, screen and paper, wide and narrow.

Colours are chosen for a contrast of at least 4.5 to 1 against the page in both schemes. A system has one colour, `--c`,
and from the second on a dash pattern as well. The script only adds buttons that show one system's panels at a time.
"""

from __future__ import annotations

NUM_SYSTEM_STYLES = 6

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #fbfbf9; --ink: #1d1d1b; --soft: #5d5d57; --line: #d9d9d2; --grid: #e8e8e2; --track: #ecece6;
  --warn: #7a4300; --warn-paper: #fff3dc; --found: #2b7a59; --missed: #b3261e; --false: #8f5f00;
  --s0: #11639c; --s1: #b04a08; --s2: #6a4aa5; --s3: #2a7446; --s4: #a62f6c; --s5: #6a6400;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #151514; --ink: #ebebe6; --soft: #a6a69e; --line: #3a3a36; --grid: #292926; --track: #2a2a27;
    --warn: #ffc877; --warn-paper: #33270f; --found: #63bf97; --missed: #ff8f86; --false: #e0ad4c;
    --s0: #6cb6ec; --s1: #f2a067; --s2: #b7a1ec; --s3: #78c795; --s4: #ee8dbb; --s5: #cdc558;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 78rem; padding: clamp(1rem, 4vw, 3rem); background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  font-variant-numeric: tabular-nums; print-color-adjust: exact; -webkit-print-color-adjust: exact;
  -webkit-text-size-adjust: 100%;
}
h1 { font-size: 1.75rem; font-weight: 600; line-height: 1.2; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.125rem; font-weight: 600; margin: 3.25rem 0 .25rem; padding-top: .75rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1rem; font-weight: 600; margin: 1.5rem 0 .25rem; overflow-wrap: anywhere; }
p { margin: .25rem 0 1rem; max-width: 46rem; }
.soft, figcaption, .unit, dt { color: var(--soft); }
.soft, .legend { font-size: .875rem; }
.warnings { list-style: none; margin: 1.5rem 0 0; padding: .75rem 1rem; background: var(--warn-paper);
  color: var(--warn); border-left: 3px solid currentColor; }
.warnings li + li { margin-top: .25rem; }
.s0 { --c: var(--s0); } .s1 { --c: var(--s1); } .s2 { --c: var(--s2); }
.s3 { --c: var(--s3); } .s4 { --c: var(--s4); } .s5 { --c: var(--s5); }
.dash.s1 { stroke-dasharray: 8 3; } .dash.s2 { stroke-dasharray: 2 3; } .dash.s3 { stroke-dasharray: 10 3 2 3; }
.dash.s4 { stroke-dasharray: 5 2; } .dash.s5 { stroke-dasharray: 12 3 2 3 2 3; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 8.5rem), 1fr)); gap: 1.75rem 1.5rem;
  margin: 1rem 0 0; }
.tiles > div { border-top: 2px solid var(--c); padding-top: .5rem; }
.tiles dt { font-size: .875rem; }
.tiles dd { margin: 0; }
.value { font-size: 2.125rem; font-weight: 300; line-height: 1.2; letter-spacing: -.01em; white-space: nowrap; }
.value .unit { font-size: 1rem; margin-left: .25em; }
.spread { display: block; font-size: .8125rem; color: var(--soft); white-space: nowrap; }
.whisker { display: block; width: 100%; height: 11px; margin: .2rem 0; overflow: visible; }
.whisker line { stroke: var(--track); stroke-width: 2; }
.whisker .range { stroke: var(--c); stroke-width: 7; opacity: .35; }
.whisker circle { fill: var(--c); }
.wide { overflow-x: auto; margin: 1.5rem 0 0; }
table { border-collapse: collapse; width: 100%; }
th { font-weight: 400; text-align: left; }
thead th { color: var(--soft); font-size: .875rem; padding: 0 1.5rem .35rem 0; vertical-align: bottom; }
tbody th, td { border-top: 1px solid var(--grid); padding: .5rem 1.5rem .5rem 0; vertical-align: top; }
.figures td { min-width: 8.5rem; }
.figures tbody th { min-width: 13rem; max-width: 20rem; font-weight: 600; overflow-wrap: anywhere; }
.ranks td { min-width: 6rem; padding-right: .75rem; } .ranks td, .ranks .spread { white-space: nowrap; }
.figures.ranks tbody th { min-width: 9rem; padding-right: .75rem; }
.figures .value { font-size: 1.375rem; font-weight: 400; } .figures.ranks .value { font-size: 1.1875rem; }
.key { display: inline-block; width: 1.75rem; height: .75rem; margin-right: .5rem; overflow: visible; }
.key line { stroke: var(--c); stroke-width: 2.5; }
.rules { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 17rem), 1fr)); gap: .1rem 2rem;
  margin: 2rem 0 0; font-size: .875rem; }
.rules > div { display: flex; gap: .75rem; border-top: 1px solid var(--grid); padding: .3rem 0; }
.rules dt { flex: none; } .rules dd { margin: 0 0 0 auto; text-align: right; overflow-wrap: anywhere; }
.scenario { display: grid; grid-template-columns: minmax(0, 5fr) minmax(0, 7fr); gap: 1rem 2.5rem; align-items: start; }
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); gap: .9rem 1rem; }
.curves { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: 1.5rem 2.5rem; }
.curves figure { max-width: 36rem; }
figure { margin: 0; min-width: 0; break-inside: avoid; }
figcaption { font-size: .875rem; line-height: 1.35; margin-bottom: .35rem; overflow-wrap: anywhere; }
figcaption b { color: var(--ink); font-weight: 600; margin-right: .6em; }
.panels figcaption { font-size: .75rem; display: flex; justify-content: space-between; gap: .5rem; align-items: end;
  margin-bottom: .1rem; min-height: 2.7em; }
.panels figcaption b { font-weight: 400; margin: 0; }
.panels figcaption span { text-align: right; white-space: nowrap; }
.panels i, .bars i { font-style: normal; color: var(--c); }
.plot { display: block; width: 100%; height: auto; overflow: visible; }
svg text { font-size: 12px; fill: var(--soft); }
svg .label { fill: var(--ink); }
.grid { stroke: var(--grid); stroke-width: 1; } .base { stroke: var(--soft); stroke-width: 1; }
.curve { fill: none; stroke: var(--c); stroke-width: 2; stroke-linejoin: round; }
.panels .curve { stroke-width: 1.75; }
.curve.faint { stroke-width: 1; opacity: .38; }
.curve:hover { stroke-width: 3.5; opacity: 1; }
.area { fill: var(--c); opacity: .1; }
.precision { stroke-dasharray: 8 4; } .recall { stroke-dasharray: 2 3; } .f1 { stroke-width: 2.5; }
.curve.precision, .curve.recall { stroke-width: 1.6; }
.mark { stroke: var(--ink); stroke-width: 1; } .mark.given { stroke-dasharray: 3 3; }
.dot { fill: var(--c); stroke: var(--paper); stroke-width: 1.5; }
.dot.given { fill: var(--paper); stroke: var(--c); stroke-width: 2; }
.bars td { width: 24%; } .bars .count { width: 4rem; text-align: right; color: var(--soft); font-size: .875rem; }
.bars tbody th { overflow-wrap: anywhere; }
.bar { display: flex; align-items: center; gap: .6rem; font-size: .875rem; line-height: 1.35; }
.bar::before { content: ""; flex: 1; height: .5rem;
  background: linear-gradient(var(--c), var(--c)) 0 / calc(var(--v) * 100%) 100% no-repeat var(--track); }
.clips { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); gap: 2rem 3rem;
  margin-top: 1rem; }
.clip figcaption > *, .scenario > figure > figcaption > span { display: block; }
.scenario .key { margin-left: -2.25rem; } .scenario > figure > figcaption > span:has(.key) { padding-left: 2.25rem; }
.lanes { display: grid; grid-template-columns: 8.5rem minmax(0, 1fr); column-gap: .75rem; align-items: center; }
.lanes svg { display: block; width: 100%; border-top: 1px solid var(--line); overflow: visible; }
.lanes .name, .lanes .unit { font-size: .8125rem; line-height: 1.15; text-align: right; }
.found { fill: var(--found); stroke: var(--found); stroke-width: 1; }
.missed { fill: none; stroke: var(--missed); stroke-width: 1.5; stroke-dasharray: 4 2.5; pointer-events: all; }
.false { fill: url(#hatch); stroke: var(--false); stroke-width: 1; }
#hatch path { stroke: var(--false); stroke-width: 2; }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1.75rem; max-width: none; margin-top: .5rem; }
.legend svg { vertical-align: -.1rem; margin-right: .5rem; }
.switch { display: flex; flex-wrap: wrap; gap: .5rem; margin: .75rem 0; }
.switch[hidden] { display: none; }
.switch button { font: inherit; font-size: .875rem; color: var(--ink); background: none; border: 1px solid var(--line);
  border-radius: .25rem; padding: .25rem .75rem; cursor: pointer; overflow-wrap: anywhere; }
.switch button[aria-pressed="true"] { border-color: var(--c); box-shadow: inset 0 -3px var(--c); }
:focus-visible { outline: 2px solid var(--s0); outline-offset: 2px; }
@media (max-width: 70rem), print {
  .figures thead { display: none; } .figures tbody th { display: block; max-width: none; padding: .75rem 0 .25rem; }
  .figures tr { display: grid; grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); column-gap: 1.5rem; }
  .figures tbody th { grid-column: 1 / -1; } .figures td { border: 0; padding: .25rem 0 .5rem; min-width: 0; }
  .figures td::before { content: attr(data-label); display: block; font-size: .8125rem; color: var(--soft); }
}
@media (max-width: 60rem) {
  .scenario { grid-template-columns: minmax(0, 1fr); } .scenario > figure { max-width: 36rem; }
}
@media (max-width: 40rem) {
  .plot text { font-size: 15.5px; }
  .bars thead .first, .bars thead .count { display: none; }
  .bars tr { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); column-gap: .75rem; }
  .bars tbody th, .bars tbody .count { grid-row: 1; border-top: 1px solid var(--grid); padding: .5rem 0 0; }
  .bars tbody th { grid-column: 1 / 3; } .bars td.count { grid-column: 3; width: auto; }
  .bars td { width: auto; border: 0; padding: .1rem 0 .5rem; } .bars thead th { padding-right: 0; }
  .bar { gap: .35rem; font-size: .8125rem; }
  .lanes { grid-template-columns: 5.75rem minmax(0, 1fr); column-gap: .5rem; }
  .lanes .name { font-size: .75rem; }
}
@media print {
  :root { --paper: #fff; --ink: #000; --soft: #444; --line: #bbb; --grid: #e2e2e2; --track: #e8e8e8;
    --warn: #5a3200; --warn-paper: #fff; --found: #2b7a59; --missed: #b3261e; --false: #8f5f00;
    --s0: #11639c; --s1: #b04a08; --s2: #6a4aa5; --s3: #2a7446; --s4: #a62f6c; --s5: #6a6400; }
  body { padding: 0; font-size: .8rem; } .switch { display: none; } [data-system][hidden] { display: block !important; }
  h2, h3 { break-after: avoid; } tr { break-inside: avoid; }
}
"""

# Every group of panels with `data-system` gets a row of buttons; without this script all panels are shown.
SCRIPT = """
for (const bar of document.querySelectorAll(".switch")) {
  const panels = [...bar.parentElement.querySelectorAll("[data-system]")];
  const buttons = [...bar.querySelectorAll("button")];
  const show = (system) => {
    for (const panel of panels) panel.hidden = panel.dataset.system !== system;
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.value === system));
  };
  for (const button of buttons) button.addEventListener("click", () => show(button.value));
  bar.hidden = false;
  show(buttons[0].value);
}
"""
