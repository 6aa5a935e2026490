/** The style of the page at /docs: one column on a narrow screen, light or dark as the system is. */
export const docsStyle = `
:root {
  color-scheme: light dark;
  --text: light-dark(#1d2329, #d9dee4); --soft: light-dark(#5b6670, #98a3ae); --page: light-dark(#fff, #14181c);
  --raised: light-dark(#f4f6f8, #1c2228); --line: light-dark(#dde2e7, #2e363e); --link: light-dark(#0b5cad, #7ab8f5);
  --good: light-dark(#14713d, #63c98f); --bad: light-dark(#a8431a, #f0a37c);
}
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; }
body { margin: 0; color: var(--text); background: var(--page); font: 1rem/1.55 system-ui, sans-serif; }
a { color: var(--link); text-decoration-thickness: 1px; text-underline-offset: 2px; }
code, pre { font-family: ui-monospace, "Cascadia Code", Menlo, Consolas, monospace; font-size: 0.875em; }
h1 { margin: 0; font-size: 2.25rem; line-height: 1.2; }
h2 { margin: 3.5rem 0 0.5rem; font-size: 1.5rem; }
h3 { margin: 0 0 0.25rem; font-size: 1.15rem; }
h4 { margin: 1.5rem 0 0.5rem; font-size: 0.8rem; letter-spacing: 0.06em; text-transform: uppercase; color: var(--soft); }
p { margin: 0.5rem 0; }
p code, li code, dd code, dt code, summary code { overflow-wrap: anywhere; }
.lead { font-size: 1.2rem; color: var(--soft); }
.note { color: var(--soft); font-style: italic; }
header { padding: 2rem 1.25rem 1.5rem; max-width: 46rem; }
main { padding: 0 1.25rem 6rem; max-width: 54rem; min-width: 0; }
article { margin: 1.5rem 0; padding: 1.5rem 0 0; border-top: 1px solid var(--line); }
.route { font-size: 1.05rem; }
.get, .post { font-size: 0.75em; letter-spacing: 0.04em; color: var(--good); }
.post { color: var(--bad); }
dl { margin: 0; }
dl > div { padding: 0.5rem 0; border-top: 1px solid var(--line); }
dl > div:first-child { border-top: 0; }
dt > code { font-weight: 600; }
dt em { font-size: 0.85em; color: var(--bad); }
dd { margin: 0.1rem 0 0; }
dd dl { margin: 0.5rem 0 0; padding-left: 1rem; border-left: 2px solid var(--line); }
.type { font-size: 0.9em; color: var(--soft); overflow-wrap: anywhere; }
pre { margin: 0.75rem 0; padding: 0.75rem 1rem; overflow-x: auto; background: var(--raised); border-radius: 6px; line-height: 1.45; }
details { margin: 0.35rem 0; }
summary { cursor: pointer; }
summary b { font-variant-numeric: tabular-nums; }
.good { color: var(--good); }
.bad { color: var(--bad); }
details > :not(summary) { margin-left: 1rem; }
nav { padding: 1.25rem; background: var(--raised); border: solid var(--line); border-width: 1px 0; font-size: 0.875rem; }
nav h2 { margin: 1rem 0 0.25rem; font-size: 0.875rem; }
nav h2:first-child { margin-top: 0; }
nav h2 a { color: inherit; text-decoration: none; }
nav ul { margin: 0; padding: 0; list-style: none; }
nav li a { display: block; padding: 0.15rem 0; color: var(--text); text-decoration: none; }
nav a:hover { text-decoration: underline; }
nav .names { display: flex; flex-wrap: wrap; gap: 0 0.9rem; }
@media (min-width: 64rem) {
  body { display: grid; grid-template: auto 1fr / 22rem minmax(0, 1fr); }
  nav { grid-area: 1 / 1 / 3; position: sticky; top: 0; height: 100vh; overflow-y: auto; border-width: 0 1px 0 0; }
  header { padding: 2.5rem 3rem 0; }
  main { padding: 0 3rem 6rem; }
}
@media print { nav { display: none; } }
`
