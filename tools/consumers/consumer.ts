import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Example } from '../doctest/examples.ts'
import { printedPattern } from '../doctest/run-example.ts'
import { execute } from '../gates/gate.ts'

/** A published package, as its tarball. */
export interface Packed {
  readonly name: string
  readonly tarball: string
  readonly entries: readonly string[]
  readonly peers: Readonly<Record<string, string>>
  /** The other packages of the repository that it depends on, with theirs. */
  readonly siblings: readonly string[]
  /** Those of its README that show what they print. */
  readonly examples: readonly Example[]
}

/** A project outside of the workspace that has installed one package, as its users do. */
export interface Consumer {
  readonly folder: string
  readonly packed: Packed
}

/** What the types and the examples need beside the package and its peers. */
const besides: Readonly<Record<string, string>> = {
  '@types/express': '^5.0.0',
  '@types/node': '^24.0.0',
  '@types/pg': '^8.16.0',
  '@types/ws': '^8.18.0',
  zod: '^4.0.0',
}

/** Installs with npm, which refuses peers that do not fit; the answer is what went wrong. */
export async function install(
  { folder, packed }: Consumer,
  tarballs: ReadonlyMap<string, string>,
  versions: Readonly<Record<string, string>>,
): Promise<string> {
  const own = [packed.name, ...packed.siblings].map((name) => [name, `file:${tarballs.get(name) ?? ''}`])
  const manifest = {
    private: true,
    type: 'module',
    dependencies: { ...besides, ...versions, ...Object.fromEntries(own) },
  }
  await mkdir(folder, { recursive: true })
  await writeFile(join(folder, 'package.json'), JSON.stringify(manifest))
  const { code, output } = await execute(
    'npm',
    ['install', '--no-audit', '--no-fund', '--ignore-scripts', '--prefer-offline', '--loglevel=error'],
    folder,
  )
  return code === 0 ? '' : output
}

/** Imports every entry of the package; the answer is what went wrong. */
export async function importEntries({ folder, packed }: Consumer): Promise<string> {
  const imports = specifiers(packed).map((specifier) => `await import('${specifier}')`)
  await writeFile(join(folder, 'imports.js'), imports.join('\n'))
  return run(folder, 'imports.js')
}

/** Checks the declarations of the package against those of its peers, under both ways to resolve modules. */
export async function checkTypes(consumer: Consumer): Promise<readonly string[]> {
  const { folder, packed } = consumer
  const files = ['entries.ts', ...packed.examples.map((_, index) => exampleName(index))]
  const uses = specifiers(packed).map((specifier, index) => `export * as e${index} from '${specifier}'`)
  await writeFile(join(folder, 'entries.ts'), uses.join('\n'))
  for (const [index, { code }] of packed.examples.entries())
    await writeFile(join(folder, exampleName(index)), `${code}\nexport {}\n`)
  const problems: string[] = []
  for (const [module, moduleResolution] of [
    ['nodenext', 'nodenext'],
    ['esnext', 'bundler'],
  ] as const) {
    const compilerOptions = {
      module,
      moduleResolution,
      target: 'esnext',
      lib: ['esnext', 'dom', 'dom.iterable'],
      types: ['node'],
      strict: true,
      noEmit: true,
      skipLibCheck: false,
    }
    await writeFile(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files }))
    const { output } = await execute('tsc', ['-p', folder, '--pretty', 'false'])
    // The declarations of others are theirs to mend.
    const own = output.split('\n').filter((line) => /error TS/.test(line) && !ofOthers.test(line))
    problems.push(...own.map((line) => `${moduleResolution}: ${line}`))
  }
  return problems
}

const ofOthers = /node_modules\/(?!@quintet\/)/

/** Runs the examples of the README; the answer is what went wrong. */
export async function runExamples({ folder, packed }: Consumer): Promise<readonly string[]> {
  const problems: string[] = []
  for (const [index, { prints, line }] of packed.examples.entries()) {
    const { code, output } = await execute(process.execPath, [exampleName(index)], folder)
    if (code !== 0 || !printedPattern(prints ?? '').test(output))
      problems.push(`README.md:${line}:\n${output.trim()}`)
  }
  return problems
}

function exampleName(index: number): string {
  return `example-${index}.ts`
}

function specifiers({ name, entries }: Packed): readonly string[] {
  return entries.map((entry) => name + entry.slice(1))
}

async function run(folder: string, file: string): Promise<string> {
  const { code, output } = await execute(process.execPath, [file], folder)
  return code === 0 ? '' : output
}
