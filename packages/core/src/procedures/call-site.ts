import { relative } from 'node:path'
import { fileURLToPath } from 'node:url'

/**
 * Where a definition stands that has no name yet, e.g. ` (src/ledger.ts:12)`, for the error about it; empty where that
 * cannot be told.
 */
function callSite(): string {
  // Loading this module takes as long as the rest of the package, and a Node that is too old has no such function.
  const { getCallSites } = process.getBuiltinModule('node:util') as Partial<typeof import('node:util')>
  if (getCallSites === undefined) return ''
  const own = fileOf(import.meta.url)
  const folder = own.slice(0, own.lastIndexOf('/'))
  const site = getCallSites(10).find(({ scriptName }) => {
    const file = fileOf(scriptName)
    return file.startsWith('/') && !file.startsWith(`${folder}/`)
  })
  return site === undefined ? '' : ` (${relative(process.cwd(), fileOf(site.scriptName))}:${site.lineNumber})`
}

function fileOf(script: string): string {
  return script.startsWith('file:') ? fileURLToPath(script) : script
}

/** Runs a definition; the errors of its author say where it stands. */
export function atCallSite<Defined>(define: () => Defined): Defined {
  try {
    return define()
  } catch (error) {
    if (error instanceof TypeError) error.message += callSite()
    throw error
  }
}
