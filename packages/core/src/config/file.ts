import { readFile } from 'node:fs/promises'
import { isAbsolute, resolve } from 'node:path'
import { refuseUnknownKeys } from '../options/known-keys.ts'
import type { ConfigSource, ConfigTree } from './source.ts'

export interface FileSourceOptions {
  /** A file that does not exist counts as empty. @defaultValue false */
  readonly optional?: boolean
}

/**
 * A JSON file (RFC 8259) as a source of configuration. A relative path is resolved against the bootstrap file's folder.
 */
export function file(path: string, options: FileSourceOptions = {}): ConfigSource {
  refuseUnknownKeys(options, ['optional'], 'file')
  if (typeof path !== 'string' || path === '') throw new TypeError('file: needs the path of a JSON file.')
  return {
    label: path,
    values: 'typed',
    async read({ baseUrl }) {
      const location = isAbsolute(path) ? path : resolve(baseUrl ?? '.', path)
      let text: string
      try {
        text = await readFile(location, 'utf8')
      } catch (error) {
        const isMissing = (error as NodeJS.ErrnoException).code === 'ENOENT'
        if (isMissing && options.optional === true) return undefined
        throw new Error(
          isMissing
            ? `does not exist (${location}). Pass { optional: true } if it need not.`
            : `cannot be read: ${String(error)}`,
          {
            cause: error,
          },
        )
      }
      const tree = parseJson(text)
      if (typeof tree === 'object' && tree !== null && !Array.isArray(tree)) return tree as ConfigTree
      throw new Error('must hold a JSON object.')
    },
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    // The engine's message quotes the text around the mistake, and that may be a secret.
    const position = /position (\d+)/.exec(String(error))?.[1]
    const line = position === undefined ? undefined : text.slice(0, Number(position)).split('\n').length
    // oxlint-disable-next-line preserve-caught-error
    throw new Error(`is not valid JSON${line === undefined ? '' : ` (line ${line})`}.`)
  }
}
