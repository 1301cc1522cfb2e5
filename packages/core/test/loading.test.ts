import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'

const entry = join(import.meta.dirname, '../src/index.ts')
const staticImport = /^(?:import|export)\s+(?!type\b)(?:[^'"]*?\sfrom\s+)?'([^']+)'/gm

/** What is loaded with a module before anything of it runs: the names of modules that are none of its own files. */
async function loadedWith(file: string, seen: Set<string> = new Set()): Promise<Set<string>> {
  const foreign = new Set<string>()
  seen.add(file)
  for (const [, name = ''] of (await readFile(file, 'utf8')).matchAll(staticImport)) {
    if (!name.startsWith('.')) foreign.add(name)
    else if (!seen.has(join(dirname(file), name)))
      for (const each of await loadedWith(join(dirname(file), name), seen)) foreign.add(each)
  }
  return foreign
}

describe('the entry of the package', () => {
  it('loads nothing that takes long, and nothing that a Node which is too old has not', async () => {
    expect([...(await loadedWith(entry))].toSorted()).toEqual(['node:async_hooks', 'node:path', 'node:url'])
  })

  it('loads what starts a process when one is started', async () => {
    const seen = new Set<string>()
    await loadedWith(entry, seen)
    const rooms = new Set([...seen].map((file) => file.slice(join(entry, '..').length + 1)))
    expect([...rooms]).not.toContain('pipeline/create-pipeline.ts')
    expect([...rooms]).not.toContain('app/running-app.ts')
  })
})
