import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { procedure, service, withServices } from '../../src/index.ts'
import { attackOperations, type OperationAnswer } from '../../src/testing.ts'

const notes = service('notes', {
  read: procedure({ access: 'authenticated', input: z.object({}) }, () => 'secret'),
  write: procedure({ access: 'authenticated', input: z.object({}) }, () => null),
})
const process = withServices<object>().defineProcess({ services: [notes] })

describe('attackOperations', () => {
  const run = (
    read: (who: string) => OperationAnswer,
    write: (who: string) => OperationAnswer = () => ({ status: 200, text: '' }),
  ): Promise<readonly string[]> =>
    attackOperations({
      processes: [process],
      owner: 'owner',
      actors: { colleague: 'colleague', stranger: 'stranger' },
      cases: {
        'notes.read': () => ({ call: async (who) => read(who), secrets: ['secret'], allowed: ['colleague'] }),
        'notes.write': () => ({ call: async (who) => write(who), state: async () => writes.length }),
      },
    })
  const writes: string[] = []
  const told = { status: 200, text: 'a secret' }
  const refused = { status: 403, text: 'no' }

  it('finds nothing where others are refused', async () => {
    expect(await run((who) => (who === 'stranger' ? refused : told))).toEqual([])
  })

  it('finds what is told, changed, refused to who may, and fails', async () => {
    expect(await run(() => told)).toEqual(['notes.read by stranger was told secret with 200'])
    expect(await run((who) => (who === 'owner' ? told : refused))).toEqual([
      'notes.read by colleague was answered with 403, and may do it',
    ])
    expect(await run(() => refused)).toContain('notes.read by the owner was answered with 403: no')
    expect(await run(() => ({ status: 500, text: '' }))).toContain(
      'notes.read by stranger was answered with 500',
    )
    const changes = await run(
      (who) => (who === 'stranger' ? refused : told),
      (who) => {
        if (who === 'stranger') writes.push(who)
        return { status: 200, text: '' }
      },
    )
    expect(changes).toEqual(['notes.write by stranger changed what is not theirs'])
  })

  it('demands a case for each operation, and none for others', async () => {
    const options = { processes: [process], owner: '', actors: {} }
    const call = async (): Promise<OperationAnswer> => told
    expect(
      await attackOperations({
        ...options,
        cases: { 'notes.read': () => ({ call }), other: () => ({ call }) },
      }),
    ).toEqual(['other is no operation', 'notes.write has no case'])
  })
})
