import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

/** Every module that an entry loads, and what it imports from elsewhere. Types alone are erased. */
function load(url: URL, seen: Set<string>): readonly string[] {
  if (seen.has(url.href)) return []
  seen.add(url.href)
  const source = readFileSync(fileURLToPath(url), 'utf8')
  const imports = [...source.matchAll(/^(?:import|export)(?! type)[^'"]*? from '([^']+)'/gm)].map(
    ([, from = '']) => from,
  )
  return imports.flatMap((from) => (from.startsWith('.') ? load(new URL(from, url), seen) : [from]))
}

it.each([
  ['client', []],
  ['kit', ['node:async_hooks', 'node:buffer', 'node:crypto', 'node:path', 'node:url']],
])('the entry %s loads of others only %j', (entry, expected) => {
  const seen = new Set<string>()
  const outside = new Set(load(new URL(`../src/${entry}.ts`, import.meta.url), seen))
  expect(seen.size).toBeGreaterThan(5)
  expect([...outside].toSorted()).toEqual(expected)
})
