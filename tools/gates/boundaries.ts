import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { cruise, type ICruiseResult, type IForbiddenRuleType } from 'dependency-cruiser'
import type { Gate } from './gate.ts'

/** Packages that may import core alone, and those that may import the ones before them too. */
const base = ['redis', 'rls', 'health', 'server']
const upper = ['auth', 'queue', 'realtime', 'gateway']

const inPackage = (...names: readonly string[]): string => `^packages/(?:${names.join('|')})/`
const sourcesOf = (...names: readonly string[]): string => `^packages/(?:${names.join('|')})/src/`

const rules: IForbiddenRuleType[] = [
  {
    name: 'no-circles',
    comment: 'Modules that import each other cannot be understood one at a time.',
    severity: 'error',
    from: { path: '^packages/[^/]+/src' },
    to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
  },
  {
    name: 'core-imports-nothing-of-ours',
    severity: 'error',
    from: { path: sourcesOf('core') },
    to: { path: '^(packages|apps|bench|tools)/', pathNot: inPackage('core') },
  },
  ...base.map((name): IForbiddenRuleType => ({
    name: `${name}-imports-core-alone`,
    severity: 'error',
    from: { path: sourcesOf(name) },
    to: { path: '^(packages|apps|bench|tools)/', pathNot: inPackage('core', name) },
  })),
  ...upper.map((name): IForbiddenRuleType => ({
    name: `${name}-imports-no-neighbour`,
    severity: 'error',
    from: { path: sourcesOf(name) },
    to: { path: '^(packages|apps|bench|tools)/', pathNot: inPackage('core', name, ...base) },
  })),
  {
    name: 'nobody-imports-apps-or-bench',
    severity: 'error',
    from: { path: '^packages/' },
    to: { path: '^(apps|bench)/' },
  },
  {
    name: 'no-deep-imports',
    comment: 'Another package is reached through its exports: by its name, never by a path into it.',
    severity: 'error',
    from: { path: '^(packages|apps)/([^/]+)/' },
    to: { path: '^(packages|apps)/([^/]+)/', pathNot: '^$1/$2/', dependencyTypes: ['local'] },
  },
]

/**
 * Every violation of the direction of dependencies below the folder, one a line.
 *
 * @throws Error when the tool saw fewer modules than there are source files: it can read nothing and
 *   report success.
 */
export async function findViolations(root: string): Promise<readonly string[]> {
  const folders = ['packages', 'apps'].filter((folder) => readdirSync(root).includes(folder))
  const { output } = await cruise(folders, {
    baseDir: root,
    parser: 'swc',
    tsPreCompilationDeps: true,
    combinedDependencies: true,
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default'],
      extensions: ['.ts', '.js'],
    },
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '(^|/)(node_modules|dist)/' },
    validate: true,
    ruleSet: { forbidden: rules },
  })
  const result = output as ICruiseResult
  const expected = folders.flatMap((folder) => sourceFiles(join(root, folder))).length
  if (result.summary.totalCruised < expected) {
    throw new Error(
      `dependency-cruiser read ${result.summary.totalCruised} modules of ${expected}: its answer is worth nothing.`,
    )
  }
  return result.summary.violations.map(({ rule, from, to }) => `${rule.name}: ${from} -> ${to}`)
}

function sourceFiles(directory: string): readonly string[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    if (entry.name === 'node_modules' || entry.name === 'dist') return []
    const path = join(directory, entry.name)
    if (entry.isDirectory()) return sourceFiles(path)
    return entry.name.endsWith('.ts') && !entry.name.endsWith('.d.ts') ? [path] : []
  })
}

export const boundaries: Gate = {
  name: 'boundaries',
  async run() {
    return (await findViolations(process.cwd())).join('\n')
  },
}
