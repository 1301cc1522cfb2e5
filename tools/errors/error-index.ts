import { readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'

/** An error code as the README of its package tells it. */
export interface ErrorEntry {
  readonly code: string
  readonly kind: string
  readonly package: string
  readonly when: string
}

/** Every row of the error tables of the package READMEs, by code. Some tables have the status between kind and reason. */
export async function readErrorEntries(root: string): Promise<readonly ErrorEntry[]> {
  const packages = (await readdir(join(root, 'packages'))).toSorted()
  const entries = await Promise.all(
    packages.map(async (name) => {
      const readme = await readFile(join(root, 'packages', name, 'README.md'), 'utf8')
      return [...readme.matchAll(/^\| `(ERR_\w+)` *\| ([^|]+?) *\|(?: (?:\d+|-) \|)? (.+) \|$/gm)].map(
        ([, code = '', kind = '', when = '']) => ({ code, kind, package: name, when }),
      )
    }),
  )
  return entries.flat().toSorted((a, b) => (a.code < b.code ? -1 : 1))
}

/** Every code of Quintet that a source names. Node.js has codes of that form too, but none with our prefixes. */
export async function readCodesOfSources(root: string): Promise<ReadonlySet<string>> {
  const codes = new Set<string>()
  const packages = await readdir(join(root, 'packages'))
  const prefixes = [...packages.map((name) => name.toUpperCase().replaceAll('-', '_')), 'INFRASTRUCTURE']
  const pattern = new RegExp(`\\b(ERR_(?:${prefixes.join('|')})_[A-Z0-9_]*[A-Z0-9])\\b`, 'g')
  for (const name of packages) {
    const folder = join(root, 'packages', name, 'src')
    for (const file of await readdir(folder, { recursive: true })) {
      if (!file.endsWith('.ts')) continue
      const source = await readFile(join(folder, file), 'utf8')
      for (const [, code = ''] of source.matchAll(pattern)) codes.add(code)
    }
  }
  return codes
}

/** The index of all errors as a Markdown page. */
export function errorIndex(entries: readonly ErrorEntry[]): string {
  const rows = entries.map(
    ({ code, kind, package: name, when }) =>
      `| \`${code}\` | ${kind} | [${name}](packages/${name}/README.md#errors) | ${when} |`,
  )
  return [
    '# Errors',
    '',
    'Every error that Quintet throws or answers with has one of these codes, and a `kind` that decides its HTTP status: see',
    '[core](packages/core/README.md#errors). Made by `node tools/write-errors.ts` from the READMEs of the packages.',
    '',
    '| code | kind | package | when |',
    '|---|---|---|---|',
    ...rows,
    '',
  ].join('\n')
}
