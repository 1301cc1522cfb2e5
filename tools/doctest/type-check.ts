import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { parseSync } from 'oxc-parser'
import { execute } from '../gates/gate.ts'
import type { Example } from './examples.ts'
import type { DocumentedPackage } from './packages.ts'

/** The folder of a package, beside its sources, where its examples are written as modules. */
const folder = '.doctest'

/** Names that examples use without a word, from elsewhere than Quintet. */
const wellKnown: ReadonlyMap<string, string> = new Map([
  ['z', `import { z } from 'zod'`],
  ['createServer', `import { createServer } from 'node:http'`],
  ['Hono', `import { Hono } from 'hono'`],
  ['it', `import { it } from 'vitest'`],
])

interface Module {
  readonly example: Example
  readonly path: string
  /** What stands before the first line: imports and declarations, in one line. */
  header: string
}

/**
 * Type-checks examples, all in one run of the compiler, and answers with what is wrong by file and line of the page
 * that shows them. In an excerpt, what Quintet exports is imported, and every other unknown name is taken as `any`.
 */
export async function typeCheck(
  root: string,
  packages: readonly DocumentedPackage[],
): Promise<readonly string[]> {
  const modules = packages.flatMap((each) =>
    each.examples.map((example, index) => moduleOf(each, example, index)),
  )
  try {
    await write(root, modules)
    await writeConfig(root, packages)
    const missing = namesMissing(await compile(root, modules))
    const imports = await importsOf(root, packages)
    for (const module of modules) {
      if (!module.example.isExcerpt) continue
      const names = missing.get(module) ?? new Set<string>()
      module.header = [...names].map((name) => declarationOf(name, module.example, imports)).join('; ')
    }
    await write(root, modules)
    const problems = await compile(root, modules)
    return problems.map(
      ({ module: { example }, line, text }) => `${example.file}:${example.line + line}: ${text}`,
    )
  } finally {
    for (const { directory } of packages)
      await rm(join(root, directory, folder), { recursive: true, force: true })
    await rm(join(root, config), { force: true })
  }
}

const config = '.doctest.tsconfig.json'

function moduleOf({ directory }: DocumentedPackage, example: Example, index: number): Module {
  const path = join(directory, folder, example.path ?? `example-${index}.ts`)
  return { example, path, header: '' }
}

async function write(root: string, modules: readonly Module[]): Promise<void> {
  for (const { example, path, header } of modules) {
    await mkdir(dirname(join(root, path)), { recursive: true })
    await writeFile(join(root, path), `${header}\n${example.code}\nexport {}\n`)
  }
}

async function writeConfig(root: string, packages: readonly DocumentedPackage[]): Promise<void> {
  const entries = packages.flatMap(({ entries: each }) => [...each])
  const compilerOptions = {
    noEmit: true,
    composite: false,
    declaration: false,
    rewriteRelativeImportExtensions: false,
    allowUnusedLabels: true,
    noImplicitAny: false,
    noUncheckedIndexedAccess: false,
    paths: Object.fromEntries(entries.map(([name, file]) => [name, [`./${file}`]])),
  }
  const include = packages.map(({ directory }) => `${directory}/${folder}/**/*.ts`)
  await writeFile(
    join(root, config),
    JSON.stringify({ extends: './tsconfig.base.json', compilerOptions, include }),
  )
}

interface Problem {
  readonly module: Module
  /** From the first line of the example, which is 0; -1 is the header. */
  readonly line: number
  readonly text: string
}

async function compile(root: string, modules: readonly Module[]): Promise<readonly Problem[]> {
  const { code, output } = await execute('tsc', ['-p', config, '--pretty', 'false'], root)
  const byPath = new Map(modules.map((module) => [module.path, module]))
  const found = [...output.matchAll(/^([^\s(][^(]*)\((\d+),\d+\): (error [^\n]*(?:\n {2}[^\n]*)*)/gm)]
  if (code !== 0 && found.length === 0) throw new Error(`The compiler cannot check the examples: ${output}`)
  // What is wrong in the sources, with these looser settings, is for the gate of the types.
  return found.flatMap(([, path = '', line, text = '']) => {
    const module = byPath.get(path)
    return module === undefined ? [] : [{ module, line: Number(line) - 2, text }]
  })
}

/** TS2304, TS2503, TS2552, TS2593 and TS18004: a name that nothing declares. */
function namesMissing(problems: readonly Problem[]): ReadonlyMap<Module, ReadonlySet<string>> {
  const names = new Map<Module, Set<string>>()
  for (const { module, text } of problems) {
    const name = /error TS(?:2304|2503|2552|2593|18004): [^']*'([\w$]+)'/.exec(text)?.[1]
    if (name !== undefined) names.set(module, (names.get(module) ?? new Set()).add(name))
  }
  return names
}

/** A statement that imports a name, and the source file of the entry that exports it. */
interface Import {
  readonly file: string
  readonly statement: string
}

async function importsOf(
  root: string,
  packages: readonly DocumentedPackage[],
): Promise<ReadonlyMap<string, readonly Import[]>> {
  const imports = new Map<string, readonly Import[]>()
  for (const [entry, file] of packages.flatMap(({ entries }) => [...entries])) {
    const { module } = parseSync(file, await readFile(join(root, file), 'utf8'))
    for (const { exportName, isType } of module.staticExports.flatMap(({ entries }) => entries)) {
      const { name } = exportName
      if (name === null) continue
      const statement = `import { ${isType ? 'type ' : ''}${name} } from '${entry}'`
      imports.set(name, [...(imports.get(name) ?? []), { file, statement }])
    }
  }
  return imports
}

/** Of several entries that export a name, the one that shows the example goes first, then those of its package. */
function declarationOf(
  name: string,
  { file }: Example,
  imports: ReadonlyMap<string, readonly Import[]>,
): string {
  const candidates = imports.get(name) ?? []
  const [, home = ''] = file.split('/')
  const chosen =
    candidates.find((each) => each.file === file) ??
    candidates.find((each) => each.file.startsWith(`packages/${home}/`)) ??
    candidates[0]
  return wellKnown.get(name) ?? chosen?.statement ?? `declare const ${name}: any; type ${name} = any`
}
