import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize, relative } from 'node:path'
import { parseSync } from 'oxc-parser'
import type { Gate } from './gate.ts'

/** What the sources of a package may import of ours; the packages of a row never import each other. */
const base = ['redis', 'rls', 'health', 'server']
const mayImport: Readonly<Record<string, readonly string[]>> = {
  core: [],
  ...Object.fromEntries(base.map((name) => [name, ['core']])),
  ...Object.fromEntries(['auth', 'queue', 'realtime', 'gateway'].map((name) => [name, ['core', ...base]])),
  orchestrator: ['core', ...base, 'auth', 'queue', 'realtime', 'gateway'],
}

interface Import {
  readonly from: string
  /** The file, or for another package of ours its folder. */
  readonly to: string
  /** Erased when the code runs. */
  readonly typeOnly: boolean
}

/**
 * Every violation of the direction of dependencies below the folder, one a line: imports against the order of the
 * packages, paths into another package, apps or bench imported by a package, and sources that import each other.
 *
 * @throws Error for a file that cannot be parsed: what was not read was not checked.
 */
export function findViolations(root: string): readonly string[] {
  const files = ['packages', 'apps'].flatMap((folder) =>
    existsSync(join(root, folder)) ? sourceFiles(root, folder) : [],
  )
  const imports = files.flatMap((file) => readImports(root, file))
  const violations = imports.flatMap((each) =>
    violationsOf(each).map((rule) => `${rule}: ${each.from} -> ${each.to}`),
  )
  const circles = findCircles(
    imports.filter(({ from, typeOnly }) => !typeOnly && /^packages\/[^/]+\/src\//.test(from)),
  )
  return [...violations, ...circles.map((circle) => `no-circles: ${circle.join(' -> ')}`)]
}

function violationsOf({ from, to }: Import): readonly string[] {
  const [fromFolder, fromPackage = ''] = from.split('/')
  const [toFolder, toPackage = '', ...inside] = to.split('/')
  if (fromFolder === toFolder && fromPackage === toPackage) return []
  const found: string[] = []
  if (inside.length > 0) found.push('no-deep-imports')
  if (fromFolder === 'packages' && toFolder !== 'packages') {
    // Tests may use the tools of the repository, such as the test kit.
    if (toFolder !== 'tools' || from.includes('/src/')) found.push('packages-import-packages-alone')
  } else if (
    from.startsWith('packages/') &&
    from.includes('/src/') &&
    !mayImport[fromPackage]?.includes(toPackage)
  ) {
    found.push(`${fromPackage}-does-not-import-${toPackage}`)
  }
  return found
}

function readImports(root: string, file: string): readonly Import[] {
  const source = readFileSync(join(root, file), 'utf8')
  const { module, errors } = parseSync(file, source)
  if (errors.length > 0) throw new Error(`${file} cannot be parsed: ${errors[0]?.message}`)
  const statics = module.staticImports.map(({ moduleRequest, entries }) => ({
    specifier: moduleRequest.value,
    typeOnly: entries.length > 0 && entries.every(({ isType }) => isType),
  }))
  const reExports = module.staticExports.flatMap(({ entries }) =>
    entries.flatMap(({ moduleRequest, isType }) =>
      moduleRequest ? [{ specifier: moduleRequest.value, typeOnly: isType }] : [],
    ),
  )
  const dynamics = module.dynamicImports.flatMap(({ moduleRequest }) => {
    const literal = /^(['"`])(.+)\1$/.exec(source.slice(moduleRequest.start, moduleRequest.end))
    // Not a circle: it is resolved when everything has been loaded.
    return literal?.[2] === undefined ? [] : [{ specifier: literal[2], typeOnly: true }]
  })
  return [...statics, ...reExports, ...dynamics].flatMap(({ specifier, typeOnly }) => {
    const to = resolveImport(file, specifier)
    return to === undefined ? [] : [{ from: file, to, typeOnly }]
  })
}

/** Where an import leads, from the root: a file for a relative one, the folder for one of our packages. */
function resolveImport(file: string, specifier: string): string | undefined {
  if (specifier.startsWith('.')) return normalize(join(dirname(file), specifier))
  const name = /^@quintet\/([^/]+)/.exec(specifier)?.[1]
  if (name === undefined) return undefined
  if (name === 'test-kit') return 'tools/test-kit'
  return mayImport[name] === undefined ? `apps/${name}` : `packages/${name}`
}

/** Each file that leads back to itself, with the way there; one line per circle. */
function findCircles(imports: readonly Import[]): readonly (readonly string[])[] {
  const graph = Map.groupBy(imports, ({ from }) => from)
  const done = new Set<string>()
  const circles: string[][] = []
  const visit = (file: string, trail: readonly string[]): void => {
    const start = trail.indexOf(file)
    if (start >= 0) {
      circles.push([...trail.slice(start), file])
      return
    }
    if (done.has(file)) return
    for (const { to } of graph.get(file) ?? []) visit(to, [...trail, file])
    done.add(file)
  }
  for (const file of graph.keys()) visit(file, [])
  return circles
}

function sourceFiles(root: string, folder: string): readonly string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts') && !entry.name.endsWith('.d.ts'))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .filter((path) => !/(^|\/)(node_modules|dist)\//.test(path))
}

export const boundaries: Gate = {
  name: 'boundaries',
  async run() {
    return findViolations(process.cwd()).join('\n')
  },
}
