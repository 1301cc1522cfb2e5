import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { errorIndex, readCodesOfSources, readErrorEntries } from './error-index.ts'

const root = join(import.meta.dirname, '../..')
const entries = await readErrorEntries(root)
const codes = entries.map(({ code }) => code)

describe('the index of errors', () => {
  it('is made from the READMEs of today', async () => {
    expect(await readFile(join(root, 'ERRORS.md'), 'utf8')).toBe(errorIndex(entries))
  })

  it('has every code that the sources know, and no other', async () => {
    expect(codes).toEqual([...(await readCodesOfSources(root))].toSorted())
  })

  it('has every code once', () => {
    expect(codes).toEqual([...new Set(codes)])
  })
})
