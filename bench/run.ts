import { readdirSync } from 'node:fs'

/** One figure: what was measured, and how it compares with the same work done by another, in the same run. */
export interface Figure {
  readonly name: string
  readonly value: number
  readonly unit: string
  /** What it was compared with. */
  readonly against: string
  /** Ours divided by the other; null where there is nothing to compare with. */
  readonly ratio: number | null
}

/** A bench file's default export: measures one figure after another. */
export type Bench = () => AsyncIterable<Figure>

const packages = readdirSync(import.meta.dirname)
  .filter((file) => file.endsWith('.ts') && file !== 'run.ts')
  .map((file) => file.slice(0, -3))

const json = process.argv.includes('--json')
const wanted = process.argv.slice(2).filter((argument) => !argument.startsWith('--'))
const unknown = wanted.filter((name) => !packages.includes(name))
if (unknown.length > 0) {
  console.error(`There is no bench for ${unknown.join(', ')}. Benches: ${packages.join(', ')}.`)
  process.exit(2)
}

for (const name of wanted.length > 0 ? wanted : packages) {
  const { default: measure } = (await import(`./${name}.ts`)) as { default: Bench }
  for await (const figure of measure()) {
    console.log(json ? JSON.stringify(figure) : describe(name, figure))
  }
}

function describe(bench: string, { name, value, unit, against, ratio }: Figure): string {
  const comparison = ratio === null ? '' : `${ratio.toFixed(2)} of ${against}`
  return `${`${bench}/${name}`.padEnd(32)} ${`${value.toPrecision(4)} ${unit}`.padEnd(22)} ${comparison}`
}
