import { describe, expect, it } from 'vitest'
import { createAttackHost, surfaceAttacks } from '../../src/testing.ts'
import { directCall } from '../direct-call.ts'

describe('surfaceAttacks', () => {
  it.each(surfaceAttacks)('$name: the pipeline itself stands it', async (attack) => {
    await using host = createAttackHost()
    await attack.run({ host, call: (request) => directCall(host, request) })
    expect(host.pipeline.active).toBe(0)
  })

  it('fail against a surface that answers everybody', async () => {
    await using host = createAttackHost()
    const open = surfaceAttacks.map((attack) =>
      attack.run({ host, call: () => Promise.resolve({ ok: true, output: {} }) }).then(
        () => attack.name,
        () => undefined,
      ),
    )
    expect((await Promise.all(open)).filter((name) => name !== undefined)).toEqual([])
  })
})
