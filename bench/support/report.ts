import { cpus, totalmem } from 'node:os'
import type { Figure, Row } from './bench.ts'

/** The figures of one bench, with what their rows mean. */
export interface Measured {
  readonly bench: string
  readonly rows: Readonly<Record<string, Row>>
  readonly figures: readonly Figure[]
}

/** One page, whole in itself: a table for each bench, and each ratio as a bar to the left or right of 1. */
export function htmlReport(measured: readonly Measured[], date: Date): string {
  const [cpu] = cpus()
  const machine = `${cpu?.model.trim() ?? 'unknown CPU'}, ${cpus().length} cores, ${Math.round(totalmem() / 2 ** 30)} GiB, Node.js ${process.version}`
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Quintet: figures</title>
<style>
  body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem }
  table { border-collapse: collapse; width: 100% }
  th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #8884; vertical-align: top }
  td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
  td small { color: #777 }
  .better { fill: #2a8c55 } .worse { fill: #c8542b }
</style>
<h1>Figures</h1>
<p>${escape(date.toISOString())}, ${escape(machine)}. A ratio is ours divided by the other, both measured in this run; bars reach
to the right where ours is better, each gridline is a factor of 2.</p>
${measured.map(section).join('\n')}
</html>
`
}

function section({ bench, rows, figures }: Measured): string {
  const lines = figures.map((figure) => {
    const row = rows[figure.name]
    return `<tr><td>${escape(figure.name)}<br><small>${escape(row?.about ?? '')}</small></td>
<td class="number">${format(figure.value)} ${escape(figure.unit)}</td>
<td class="number">${figure.ratio === null ? '' : format(figure.ratio)}</td>
<td>${escape(figure.against)}</td><td>${figure.ratio === null ? '' : bar(figure.ratio, row?.better ?? 'lower')}</td></tr>`
  })
  return `<h2>${escape(bench)}</h2>
<table><tr><th>row</th><th>ours</th><th>ratio</th><th>against</th><th></th></tr>
${lines.join('\n')}
</table>`
}

/** A bar on a logarithmic scale from a sixteenth to sixteen times, with 1 in the middle. */
function bar(ratio: number, better: Row['better']): string {
  const half = 80
  const gain = Math.log2(ratio) * (better === 'higher' ? 1 : -1)
  const length = Math.min(Math.abs(gain) / 4, 1) * half
  const x = gain >= 0 ? half : half - length
  const grid = Array.from({ length: 9 }, (_, n) => {
    const at = (n * half) / 4
    return `<line x1="${at}" x2="${at}" y1="0" y2="16" stroke="#8886" stroke-width="${n === 4 ? 2 : 0.5}"/>`
  })
  return `<svg width="${2 * half}" height="16" role="img" aria-label="${format(ratio)}">${grid.join('')}<rect class="${
    gain >= 0 ? 'better' : 'worse'
  }" x="${x.toFixed(1)}" y="3" width="${length.toFixed(1)}" height="10"/></svg>`
}

function format(value: number): string {
  return value.toLocaleString('en', { maximumSignificantDigits: 3 })
}

function escape(text: string): string {
  return text.replaceAll(/[&<>"]/g, (character) => `&#${character.codePointAt(0) ?? 0};`)
}
