import { readdirSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import type { Bench, Figure } from './support/bench.ts'
import { htmlReport, type Measured } from './support/report.ts'

/*
 * pnpm bench [<package>…] [--all] [--json] [--report [--out <file>]]: measures against peers in the same run, and prints a
 * line for each figure; `--report` also writes one page with tables and plots.
 */

const available = readdirSync(import.meta.dirname)
  .filter((file) => file.endsWith('.ts') && file !== 'run.ts')
  .map((file) => file.slice(0, -3))

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    all: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    report: { type: 'boolean', default: false },
    out: { type: 'string', default: 'bench-report.html' },
  },
})
const unknown = positionals.filter((name) => !available.includes(name))
if (unknown.length > 0 || (positionals.length === 0) !== values.all) {
  if (unknown.length > 0) console.error(`There is no bench for ${unknown.join(', ')}.`)
  console.error(`Name benches, or say --all. Benches: ${available.join(', ')}.`)
  process.exit(2)
}

const measured: Measured[] = []
for (const name of values.all ? available : positionals) {
  const { rows, default: measure } = (await import(`./${name}.ts`)) as Bench
  const figures: Figure[] = []
  for await (const figure of measure()) {
    if (!Object.hasOwn(rows, figure.name))
      throw new Error(`bench ${name}: nothing explains the row ${figure.name}.`)
    figures.push(figure)
    console.log(values.json ? JSON.stringify({ bench: name, ...figure }) : describe(name, figure))
  }
  measured.push({ bench: name, rows, figures })
}
if (values.report) {
  await writeFile(values.out, htmlReport(measured, new Date()))
  console.log(`The report is ${values.out}.`)
}

function describe(bench: string, { name, value, unit, against, ratio }: Figure): string {
  const comparison = ratio === null ? '' : `${ratio.toFixed(2)} of ${against}`
  return `${`${bench}/${name}`.padEnd(32)} ${`${value.toPrecision(4)} ${unit}`.padEnd(22)} ${comparison}`
}
