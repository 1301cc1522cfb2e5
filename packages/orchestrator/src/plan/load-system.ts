import type { System } from '@quintet/core'
import { isSystem } from '@quintet/core/kit'
import { existsSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import { describeError } from '../errors.ts'

/** @throws TypeError when the file exports no system. */
export async function loadSystem(bootstrap: string, path: string): Promise<System> {
  const system = await importDefault(bootstrap).catch((cause: unknown) => {
    throw new TypeError(`${path}: ${describeError(cause)}`)
  })
  if (isSystem(system)) return system
  throw new TypeError(`${path}: the default export of ${bootstrap} is not what defineSystem returns.`)
}

/** @throws TypeError when the file is not there, cannot be loaded or has no default export. */
export async function importDefault(file: string): Promise<unknown> {
  let module: { readonly default?: unknown }
  try {
    module = (await import(pathToFileURL(file).href)) as { readonly default?: unknown }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ERR_MODULE_NOT_FOUND' && !existsSync(file))
      throw new TypeError(`there is no file ${file}.`, { cause: error })
    throw new TypeError(`${file} cannot be loaded: ${describeError(error)}`, { cause: error })
  }
  if (module.default === undefined) throw new TypeError(`${file} has no default export.`)
  return module.default
}
