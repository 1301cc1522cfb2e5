import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize, relative } from 'node:path'
import { parseSync } from 'oxc-parser'
import type { Gate } from './gate.ts'
import { filesPerFolder, rooms } from './rooms.ts'

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
  /** Types are erased when the code runs; what is imported later is resolved when everything has been loaded. */
  readonly kind: 'code' | 'types' | 'later'
}

/** The rooms of one package by name, with their levels. */
type Levels = ReadonlyMap<string, number>

const levelsOf: ReadonlyMap<string, Levels> = new Map(
  Object.entries(rooms).map(([name, lines]) => [
    name,
    new Map(lines.flatMap((line, level) => line.split(' ').map((room) => [room, level] as const))),
  ]),
)

/**
 * Every violation of the direction of dependencies below the folder, one a line: imports against the order of the
 * packages or of the rooms in one, paths into another package, apps or bench imported by a package, sources that
 * import each other, and folders with too many files.
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
  const circles = findCircles(imports.filter((each) => countsForCircles(each)))
  return [
    ...violations,
    ...circles.map((circle) => `no-circles: ${circle.join(' -> ')}`),
    ...crowdedFolders(files),
  ]
}

function countsForCircles({ from, kind }: Import): boolean {
  const inside = /^packages\/([^/]+)\/src\//.exec(from)?.[1]
  if (inside === undefined || kind === 'later') return false
  return kind === 'code' || levelsOf.has(inside)
}

function crowdedFolders(files: readonly string[]): readonly string[] {
  const ordered = files.filter(
    (file) => levelsOf.has(file.split('/')[1] ?? '') && file.startsWith('packages/'),
  )
  return [...Map.groupBy(ordered, (file) => dirname(file))]
    .filter(([, inside]) => inside.length > filesPerFolder)
    .map(([folder, inside]) => `no-crowded-folders: ${folder} holds ${inside.length} files`)
}

function violationsOf({ from, to }: Import): readonly string[] {
  const [fromFolder, fromPackage = ''] = from.split('/')
  const [toFolder, toPackage = '', ...inside] = to.split('/')
  if (fromFolder === toFolder && fromPackage === toPackage) {
    const levels = fromFolder === 'packages' ? levelsOf.get(fromPackage) : undefined
    return levels === undefined ? [] : roomViolations(levels, from, to)
  }
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

/** Imports between the rooms of one package: only downwards, and none of an entry. */
function roomViolations(levels: Levels, from: string, to: string): readonly string[] {
  if (!inSource(from) || !inSource(to)) return []
  const fromRoom = roomOf(levels, from)
  const toRoom = roomOf(levels, to)
  if (fromRoom === toRoom && fromRoom !== undefined) return []
  if (fromRoom === undefined) return isEntry(from) ? [] : ['room-has-no-level']
  if (toRoom === undefined) return ['rooms-do-not-import-entries']
  const isDown = (levels.get(toRoom) ?? 0) < (levels.get(fromRoom) ?? 0)
  return isDown ? [] : [`${fromRoom}-is-not-above-${toRoom}`]
}

/** The room that a source stands in: the longest listed path that leads to it. */
function roomOf(levels: Levels, file: string): string | undefined {
  const path = file.split('/').slice(3).join('/')
  const around = [...levels.keys()].filter((room) => path === room || path.startsWith(`${room}/`))
  return around.toSorted((a, b) => b.length - a.length)[0]
}

function isEntry(file: string): boolean {
  return file.split('/').length === 4
}

function inSource(file: string): boolean {
  return file.split('/')[2] === 'src'
}

function readImports(root: string, file: string): readonly Import[] {
  const source = readFileSync(join(root, file), 'utf8')
  const { module, errors } = parseSync(file, source)
  if (errors.length > 0) throw new Error(`${file} cannot be parsed: ${errors[0]?.message}`)
  const statics = module.staticImports.map(({ moduleRequest, entries }) => ({
    specifier: moduleRequest.value,
    kind:
      entries.length > 0 && entries.every(({ isType }) => isType) ? ('types' as const) : ('code' as const),
  }))
  const reExports = module.staticExports.flatMap(({ entries }) =>
    entries.flatMap(({ moduleRequest, isType }) =>
      moduleRequest
        ? [{ specifier: moduleRequest.value, kind: isType ? ('types' as const) : ('code' as const) }]
        : [],
    ),
  )
  const dynamics = module.dynamicImports.flatMap(({ moduleRequest }) => {
    const literal = /^(['"`])(.+)\1$/.exec(source.slice(moduleRequest.start, moduleRequest.end))
    return literal?.[2] === undefined ? [] : [{ specifier: literal[2], kind: 'later' as const }]
  })
  return [...statics, ...reExports, ...dynamics].flatMap(({ specifier, kind }) => {
    const to = resolveImport(file, specifier)
    return to === undefined ? [] : [{ from: file, to, kind }]
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
