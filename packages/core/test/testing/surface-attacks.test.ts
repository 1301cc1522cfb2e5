import { describe, expect, it } from 'vitest'
import { callProcedure, findProcedure, noCredentials, streamProcedure } from '../../src/kit.ts'
import {
  createAttackHost,
  forgedContextAttacks,
  leavingAttacks,
  surfaceAttacks,
  textAttacks,
  type AttackHost,
  type SurfaceOutcome,
  type SurfaceRequest,
} from '../../src/testing.ts'
import { directCall } from '../direct-call.ts'
import { incomingCall } from '../incoming-call.ts'

function watch(host: AttackHost, token: string | undefined): AsyncGenerator {
  const { procedure, operation } = findProcedure(host, 'target.watch')
  const credentials = token === undefined ? noCredentials : ({ scheme: 'bearer', token } as const)
  return streamProcedure(host, procedure, { ...incomingCall(), operation, credentials }, () => undefined)
}

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

  it('with text and with forged context fail against a surface that believes what it is sent', async () => {
    await using host = createAttackHost()
    const believe = (): Promise<SurfaceOutcome> =>
      Promise.resolve({ ok: true, output: { kind: 'user', userId: 'admin', roles: ['admin'] } })
    const surface = { host, call: believe, callWithText: believe, callForged: believe }
    for (const attack of [...textAttacks, ...forgedContextAttacks]) {
      await expect(attack.run(surface), attack.name).rejects.toThrow()
    }
  })

  it('that leave ask for the signal to abort as canceled, and for nothing to stay in progress', async () => {
    await using host = createAttackHost()
    const [attack] = leavingAttacks
    const call = (request: SurfaceRequest): Promise<SurfaceOutcome> => directCall(host, request)
    const leave = async (): Promise<void> => {
      const { procedure, operation } = findProcedure(host, 'target.endless')
      const leaving = new AbortController()
      const credentials = { scheme: 'bearer', token: 'alice' } as const
      const made = callProcedure(
        host,
        procedure,
        { ...incomingCall(), operation, credentials, signal: leaving.signal },
        () => undefined,
      )
      await host.endlessBegun
      leaving.abort()
      await made
    }
    await attack?.run({ host, call, callAndLeave: leave })
  })
})

describe('a stream of the attack host', () => {
  it.each([undefined, 'revoked', 'superseded', 'expired', 'never-granted'])(
    'is refused to %s',
    async (token) => {
      await using host = createAttackHost()
      await expect(watch(host, token).next()).rejects.toMatchObject({ kind: 'unauthenticated' })
      expect(host.ran).toEqual([])
    },
  )

  it('runs in the scope of its caller from the first event to the last', async () => {
    await using host = createAttackHost()
    const [alice, bob] = [watch(host, 'alice'), watch(host, 'bob')]
    for (let count = 0; count < 3; count++) {
      expect((await alice.next()).value).toEqual({ tenantId: 'tenant-a' })
      expect((await bob.next()).value).toEqual({ tenantId: 'tenant-b' })
    }
    expect((await alice.next()).done).toBe(true)
  })
})
