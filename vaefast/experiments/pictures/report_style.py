"""Style sheet of the report: one column, light and dark, no fonts or files from elsewhere."""

CSS = """
:root { color-scheme: light dark; --text: #1b1f24; --soft: #59636e; --line: #d9dee4; --page: #fff; --card: #f5f7f9; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6e9ed; --soft: #9aa5b1; --line: #363d46; --page: #14171b; --card: #1d2228; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 66rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .6rem; }
h2 { font-size: 1.25rem; margin: 2.4rem 0 .8rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); }
p { max-width: 48rem; margin: .5rem 0; }
.note, figcaption, small, .missing, .spread { color: var(--soft); font-size: .88rem; }
small { display: block; font-weight: 400; line-height: 1.45; margin-top: .2rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .95rem; }
th, td { text-align: left; vertical-align: top; padding: .45rem .9rem .45rem 0; border-bottom: 1px solid var(--line); }
thead th { color: var(--soft); font-weight: 500; font-size: .85rem; }
th[scope=rowgroup] { width: 45%; padding-right: 2rem; }
th[scope=row] { font-weight: 500; white-space: nowrap; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; padding-right: 0; }
th.words[scope=row] { white-space: normal; }
thead th.number { white-space: normal; min-width: 5rem; }
h3 { font-size: 1.05rem; margin: 1.8rem 0 .5rem; }
thead .number, tbody .number { padding-left: 1rem; }
.settings { font-size: .9rem; }
.settings th { color: var(--soft); width: 16rem; }
.value { overflow-wrap: anywhere; }
code { font: .88em ui-monospace, monospace; background: var(--card); padding: .1em .35em; border-radius: 4px; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); gap: 1.5rem; }
figure { margin: 0; background: var(--card); border-radius: 8px; padding: .75rem; }
figure img { display: block; max-width: 100%; height: auto; margin: 0 auto; border-radius: 3px; }
.wide { margin-bottom: 1rem; }
figcaption { margin-top: .5rem; }
details { margin-top: 1rem; }
summary { cursor: pointer; }
"""
