import { isAbsolute, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { isProcessDefinition } from '../definition/define-process.ts'
import type { ProcessDefinition } from '../definition/process.ts'
import type { ResolvedProcess } from '../definition/system.ts'

/**
 * Imports what one process answers to and works on.
 *
 * @throws TypeError when the module's default export was not made by `defineProcess`.
 */
export async function loadProcess<Services>(
  entry: ResolvedProcess<Services>,
  baseUrl: string | undefined,
): Promise<ProcessDefinition<Services>> {
  const { module } = entry
  const loaded: unknown =
    typeof module === 'function' ? await module() : await import(locate(module, baseUrl))
  const definition =
    typeof loaded === 'object' && loaded !== null && 'default' in loaded ? loaded.default : undefined
  if (isProcessDefinition(definition)) return definition
  const name = typeof module === 'function' ? 'the module function' : module
  throw new TypeError(`${name}: the default export must be made by defineProcess().`)
}

function locate(module: string, baseUrl: string | undefined): string {
  if (module.startsWith('file:')) return module
  return pathToFileURL(isAbsolute(module) ? module : resolve(baseUrl ?? '.', module)).href
}
