import { readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { isQuintetError } from '@quintet/core'
import { describe, expect, it } from 'vitest'
import { describeError, OrchestratorError } from '../src/errors.ts'
import { InfrastructureError } from '../src/infrastructure.ts'

const source = join(import.meta.dirname, '../src')
const pattern = /ERR_(?:ORCHESTRATOR|INFRASTRUCTURE)_[A-Z_]+/g

describe('errors', () => {
  it('are recognised as errors of Quintet', () => {
    expect(
      isQuintetError(new OrchestratorError('x', { code: 'ERR_ORCHESTRATOR_NOT_RUNNING', kind: 'not-found' })),
    ).toBe(true)
    expect(isQuintetError(new InfrastructureError('x', { code: 'ERR_INFRASTRUCTURE_START_FAILED' }))).toBe(
      true,
    )
  })

  it('have codes that are declared, used and in the README, all three', async () => {
    const declarations = await Promise.all(
      ['errors.ts', 'infrastructure/errors.ts'].map((file) => readFile(join(source, file), 'utf8')),
    )
    const declared = new Set(declarations.join('').match(pattern))
    const files = (await readdir(source, { recursive: true })).filter(
      (file) => file.endsWith('.ts') && !file.endsWith('errors.ts'),
    )
    const texts = await Promise.all(files.map((file) => readFile(join(source, file), 'utf8')))
    const thrown = new Set(
      texts
        .join('')
        .match(new RegExp(`code: '(${pattern.source})'|\\?\\? '(${pattern.source})'`, 'g'))
        ?.map((match) => /ERR_\w+/.exec(match)?.[0] ?? ''),
    )
    // That of what a command refuses is written once.
    if (texts.some((text) => text.includes('throw badCommand('))) thrown.add('ERR_ORCHESTRATOR_BAD_COMMAND')
    const readme = await readFile(join(import.meta.dirname, '../README.md'), 'utf8')
    const documented = new Set(readme.match(pattern))
    expect([...thrown].toSorted()).toEqual([...declared].toSorted())
    expect([...documented].toSorted()).toEqual([...declared].toSorted())
  })

  it('are told in a few lines, each cause once', () => {
    const error = new Error('cannot start', {
      cause: new Error('the disk is full', { cause: new Error('the disk is full') }),
    })
    expect(describeError(error)).toBe('cannot start\n  because: the disk is full')
  })
})
