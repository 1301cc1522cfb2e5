import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { OrchestratorError } from '../errors.ts'
import { replaceFile } from './replace-file.ts'

/** Random values that an ecosystem makes once and keeps in a file that only its user can read. */
export interface Secrets {
  /** The secret of that name; made when it is asked for the first time. */
  get(name: string): string
  /** The secret of that name, where it has been made already. */
  find(name: string): string | undefined
  /** Gives several secrets new values at once; undefined forgets one. */
  replace(values: Readonly<Record<string, string | undefined>>): void
  /** The names of those that have been made. */
  readonly names: readonly string[]
  /** A number that is kept beside them, e.g. the port of a server. */
  number(name: string): number | undefined
  keepNumber(name: string, value: number): void
}

interface Content {
  readonly secrets: Readonly<Record<string, string>>
  readonly numbers: Readonly<Record<string, number>>
}

/** @throws OrchestratorError `ERR_ORCHESTRATOR_STATE_DIRECTORY` when the file is there and cannot be read. */
export function openSecrets(file: string): Secrets {
  let content = read(file)
  /** What is not on the disk is not known: a secret that was given out and lost would open nothing. */
  const save = (next: Content): void => {
    replaceFile(file, `${JSON.stringify(next, null, 2)}\n`)
    content = next
  }
  return {
    get(name) {
      const known = content.secrets[name]
      if (known !== undefined) return known
      const value = randomBytes(32).toString('base64url')
      save({ ...content, secrets: { ...content.secrets, [name]: value } })
      return value
    },
    find: (name) => content.secrets[name],
    replace(values) {
      const secrets = Object.entries({ ...content.secrets, ...values }).flatMap(([name, value]) =>
        value === undefined ? [] : [[name, value] as const],
      )
      save({ ...content, secrets: Object.fromEntries(secrets) })
    },
    get names() {
      return Object.keys(content.secrets)
    },
    number: (name) => content.numbers[name],
    keepNumber(name, value) {
      if (content.numbers[name] === value) return
      save({ ...content, numbers: { ...content.numbers, [name]: value } })
    },
  }
}

function read(file: string): Content {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return { secrets: {}, numbers: {} }
    throw refuse(file, (cause as Error).message)
  }
  try {
    const { secrets, numbers } = JSON.parse(text) as Content
    return { secrets: { ...secrets }, numbers: { ...numbers } }
  } catch {
    // Not the parser's message: it quotes what it read.
    throw refuse(file, 'it is not valid JSON')
  }
}

function refuse(file: string, reason: string): OrchestratorError {
  return new OrchestratorError(
    `The secrets of the ecosystem cannot be read from ${file}: ${reason}. Restore the file; with new secrets the databases would no longer open.`,
    { code: 'ERR_ORCHESTRATOR_STATE_DIRECTORY', kind: 'unavailable' },
  )
}
