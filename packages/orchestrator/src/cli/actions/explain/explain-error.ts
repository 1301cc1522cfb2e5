import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { binPath } from '../../../bin-path.ts'
import { badCommand } from '../../../errors.ts'
import { findConfig, type CommonOptions } from '../context.ts'

/** What a README says about an error code. */
export interface ErrorExplanation {
  readonly code: string
  readonly package: string
  readonly kind: string
  readonly when: string
}

/** Those whose codes have another name than the package. */
const packages: Readonly<Record<string, string>> = { infrastructure: 'orchestrator' }

export function isErrorCode(text: string): boolean {
  return /^ERR_[A-Z]+_[A-Z0-9_]+$/.test(text)
}

/**
 * Looks a code up in the table of errors in the README of its package, as it is installed here.
 *
 * @throws OrchestratorError `ERR_ORCHESTRATOR_BAD_COMMAND` when there is no such package, or it has no such code.
 */
export async function explainError(code: string, options: CommonOptions): Promise<ErrorExplanation> {
  const word = code.split('_')[1]?.toLowerCase() ?? ''
  const name = `@quintet/${packages[word] ?? word}`
  const readme = findReadme(name, options)
  if (readme === undefined) throw badCommand(`${code}: ${name} is not installed here.`)
  const rows = errorRows(await readFile(readme, 'utf8'))
  const row = rows.find(([first]) => first === `\`${code}\``)
  if (row) return { code, package: name, kind: row[1] ?? '', when: row.at(-1) ?? '' }
  const known = rows.map(([first = '']) => first.replaceAll('`', ''))
  throw badCommand(`${code}: ${name} has no such error. It has: ${known.join(', ') || 'none'}.`)
}

function errorRows(markdown: string): string[][] {
  return markdown
    .split('\n')
    .filter((line) => line.startsWith('| `ERR_'))
    .map((line) =>
      line
        .slice(1, line.lastIndexOf('|'))
        .split(/(?<!\\)\|/)
        .map((cell) => cell.trim().replaceAll('\\|', '|')),
    )
}

/** Looked for from the ecosystem file, for its apps have packages that we have not, and from here. */
function findReadme(name: string, options: CommonOptions): string | undefined {
  if (name === '@quintet/orchestrator') return join(dirname(binPath), '../README.md')
  return [configPlace(options), binPath]
    .flatMap((from) => createRequire(from).resolve.paths(name) ?? [])
    .map((path) => join(path, name, 'README.md'))
    .find((file) => existsSync(file))
}

function configPlace(options: CommonOptions): string {
  try {
    return findConfig(options)
  } catch {
    return join(process.cwd(), 'package.json')
  }
}
