import { mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { findConfig } from '../../../src/cli/actions/context.ts'

describe('findConfig', () => {
  it('keeps the links in the path of the working folder, so that each release behind "current" is the same ecosystem', () => {
    const folder = mkdtempSync(join(tmpdir(), 'q-'))
    try {
      const current = join(folder, 'current')
      symlinkSync(process.cwd(), current)
      expect(findConfig({}, { PWD: current })).toBe(join(current, 'quintet.config.ts'))
      expect(findConfig({ config: 'x.ts' }, { PWD: current })).toBe(join(current, 'x.ts'))
      expect(findConfig({}, { PWD: folder })).toBe(join(process.cwd(), 'quintet.config.ts'))
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})
