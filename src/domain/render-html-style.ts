/** Colours have a contrast of 4.5 as text and 3 as bars, on light and on dark. */
export const STYLE = `
:root { color-scheme: light dark;
  --page: #ffffff; --card: #f6f8fa; --line: #d0d7de; --text: #1b1f24; --muted: #57606a; --link: #0a5bc4;
  --good: #116329; --good-bg: #dafbe1; --warn: #7a4d00; --warn-bg: #fff3c4; --bad: #a40e26; --bad-bg: #ffe3e0;
  --stop: #6e7781; --restore-data: #0969da; --verify-parts: #0f7c83; --restore-replica: #8250df; --validate: #b06f00 }
@media (prefers-color-scheme: dark) { :root {
  --page: #0d1117; --card: #161b22; --line: #30363d; --text: #e6edf3; --muted: #9da7b1; --link: #79b8ff;
  --good: #7ee787; --good-bg: #12301c; --warn: #e9bd4d; --warn-bg: #332a10; --bad: #ffa8a1; --bad-bg: #3a1619;
  --stop: #9198a1; --restore-data: #4493f8; --verify-parts: #39c5cf; --restore-replica: #b083f0; --validate: #d29922 } }
* { box-sizing: border-box }
body { margin: 0; background: var(--page); color: var(--text); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; overflow-wrap: anywhere }
main { max-width: 1080px; margin: 0 auto; padding: 24px 20px 48px }
h1 { margin: 0; font-size: 28px; line-height: 1.25; display: flex; flex-wrap: wrap; gap: 8px 12px; align-items: center }
h2 { margin: 36px 0 10px; font-size: 19px; line-height: 1.3 }
p { margin: 8px 0 } ul { margin: 8px 0; padding-left: 20px } li { margin: 4px 0 }
code, pre { font: 13px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace }
small, .note, .over { color: var(--muted) } .note { font-size: 14px } .over { margin: 0 0 4px }
.badge { display: inline-block; padding: 1px 10px; border-radius: 99px; font-size: 14px; font-weight: 600; white-space: nowrap; background: var(--card); border: 1px solid var(--line) }
h1 .badge { font-size: 17px; padding: 3px 14px }
.good { color: var(--good) } .badge.good { background: var(--good-bg); border-color: transparent }
.warn { color: var(--warn) } .badge.warn { background: var(--warn-bg); border-color: transparent }
.bad { color: var(--bad) } .badge.bad { background: var(--bad-bg); border-color: transparent }
.box { margin: 16px 0; padding: 12px 16px; border-radius: 8px; border: 1px solid var(--line); background: var(--card) }
.box.bad { background: var(--bad-bg); border-color: transparent; color: var(--text) } .box p { margin: 4px 0 }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); gap: 12px; margin: 20px 0 }
.cards > div { padding: 12px 16px; border: 1px solid var(--line); border-radius: 8px; background: var(--card) }
.cards dt { color: var(--muted); font-size: 14px } .cards dd { margin: 0 } .cards dd:first-of-type { font-size: 22px; font-weight: 600; line-height: 1.35 }
.facts { display: grid; grid-template-columns: max-content 1fr; gap: 4px 16px; margin: 12px 0 } .facts dt { color: var(--muted) } .facts dd { margin: 0 }
table { width: 100%; border-collapse: collapse; font-size: 14px } caption { text-align: left; color: var(--muted); padding: 4px 0 }
th, td { padding: 6px 10px 6px 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line) }
thead th { color: var(--muted); font-weight: 500; vertical-align: bottom; overflow-wrap: normal } tbody th { font-weight: 500 }
.tables td:nth-child(4), .tables td:nth-child(5) { font-variant-numeric: tabular-nums; white-space: nowrap } .tables td:nth-child(3) span { white-space: nowrap }
.chart { table-layout: fixed } .chart th:first-child { width: 30% } .chart thead th:last-child { width: 112px }
.chart th, .chart td { border: 0; padding: 3px 10px 3px 0; vertical-align: middle } .chart .group th { padding-top: 14px; color: var(--muted) }
.chart tbody th { white-space: nowrap; overflow: hidden; text-overflow: ellipsis } .chart td:last-child { padding-right: 0 }
svg { display: block; width: 100% } .track { height: 14px; background: var(--card); border-radius: 3px } .scale { height: 16px; overflow: visible }
.scale text { fill: var(--muted); font-size: 12px } line { stroke: var(--line) }
.legend { display: flex; flex-wrap: wrap; gap: 4px 16px; font-size: 14px } .legend span { display: inline-flex; align-items: center; gap: 6px } .key { width: 12px; height: 12px }
.stop { fill: var(--stop) } .restore-data { fill: var(--restore-data) } .verify-parts { fill: var(--verify-parts) } .restore-replica { fill: var(--restore-replica) } .validate { fill: var(--validate) }
details { margin: 12px 0 } summary { cursor: pointer; color: var(--link); font-weight: 500 } :focus-visible { outline: 2px solid var(--link); outline-offset: 2px }
pre { margin: 12px 0; padding: 12px; border: 1px solid var(--line); border-radius: 8px; background: var(--card); white-space: pre-wrap; font-size: 12.5px }
footer { margin-top: 40px; color: var(--muted); font-size: 13px }
@media (max-width: 700px) {
  main { padding: 16px 14px 40px } h1 { font-size: 23px } .cards { grid-template-columns: 1fr 1fr; gap: 8px } .cards > div { padding: 10px 12px } .cards dd:first-of-type { font-size: 18px }
  .facts { grid-template-columns: 1fr; gap: 0 } .facts dd { margin-bottom: 8px }
  .chart th:first-child { width: 36% } .chart thead th:last-child { width: 72px } .chart td, .chart th { font-size: 12.5px; padding-right: 6px } .chart tbody th { white-space: normal }
  .tables thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%) }
  .tables, .tables tbody, .tables tr, .tables th, .tables td { display: block; border: 0; padding: 0 }
  .tables tr { padding: 10px 0; border-bottom: 1px solid var(--line) } .tables td { padding-left: 96px; position: relative; min-height: 21px }
  .tables td::before { position: absolute; left: 0; color: var(--muted) } .tables th { padding-bottom: 2px }
  .tables td:nth-child(2)::before { content: "was → did" } .tables td:nth-child(3)::before { content: "outcome" } .tables td:nth-child(4)::before { content: "rows" }
  .tables td:nth-child(5)::before { content: "parts" } .tables td:nth-child(6)::before { content: "evidence" } .tables td:empty { display: none } }
@media print { body { font-size: 11px } main { max-width: none; padding: 0 } h2 { break-after: avoid } tr, .box, .cards > div { break-inside: avoid } thead { display: table-header-group }
  * { print-color-adjust: exact } details::details-content { content-visibility: visible; block-size: auto } }
`;
