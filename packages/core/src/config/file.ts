import { isAbsolute, resolve } from 'node:path'
import { option } from '../options/options.ts'
import { readOptions } from '../options/read-options.ts'
import type { ConfigSource } from './source.ts'

export interface FileSourceOptions {
  /** A file that does not exist counts as empty. @defaultValue false */
  readonly optional?: boolean
}

/**
 * A JSON file (RFC 8259) as a source of configuration. A relative path is resolved against the bootstrap file's folder.
 */
export function file(path: string, options: FileSourceOptions = {}): ConfigSource {
  const { optional } = readOptions(options, { optional: option.boolean(false) }, 'file')
  if (typeof path !== 'string' || path === '') throw new TypeError('file: needs the path of a JSON file.')
  return {
    label: path,
    values: 'typed',
    placeOf: (keys) => `"${keys.join('.')}" in ${path}`,
    async read({ baseUrl }) {
      // Loaded at the first file: a definition that only names one needs none of it.
      const { readConfigFile } = await import('./read-config-file.ts')
      return readConfigFile(isAbsolute(path) ? path : resolve(baseUrl ?? '.', path), optional)
    },
  }
}
