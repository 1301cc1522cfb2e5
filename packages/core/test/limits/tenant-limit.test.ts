import { describe, expect, it } from 'vitest'
import { procedure, service, tenantLimit, type TenantLimitOptions } from '../../src/index.ts'
import { callApp, createTestHost, testUser } from '../../src/testing.ts'

interface Rig extends AsyncDisposable {
  /** Calls in progress, by tenant. */
  readonly open: Map<string, (() => void)[]>
  call(tenantId: string | null, userId?: string, name?: 'wait' | 'upload'): Promise<unknown>
}

let users = 0

function rig(options: TenantLimitOptions): Rig {
  const open = new Map<string, (() => void)[]>()
  const wait = procedure({ access: 'public' }, ({ principal }) => {
    const { promise, resolve } = Promise.withResolvers<void>()
    const key = principal.tenantId ?? 'none'
    open.set(key, [...(open.get(key) ?? []), resolve])
    return promise
  })
  const slow = service('slow', { wait, upload: wait })
  const host = createTestHost({ services: [slow], wrappers: [tenantLimit(options)] })
  return {
    open,
    call: (tenantId, userId = `user-${++users}`, name = 'wait') =>
      callApp(
        host,
        slow,
        name,
        undefined as never,
        tenantId === null ? {} : { principal: testUser({ tenantId, userId }) },
      ),
    [Symbol.asyncDispose]: () => host.close(),
  }
}

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

describe('tenantLimit', () => {
  it('lets the calls of one tenant wait for each other, and those of others through', async () => {
    await using limited = rig({ concurrency: 2, waiting: 1 })
    const mine = [limited.call('acme'), limited.call('acme'), limited.call('acme')]
    const others = [limited.call('globex'), limited.call(null), limited.call(null), limited.call(null)]
    await expect(limited.call('acme')).rejects.toMatchObject({ code: 'ERR_CORE_RATE_LIMITED' })
    await settle()
    expect([limited.open.get('acme')?.length, limited.open.get('globex')?.length]).toEqual([2, 1])
    expect(limited.open.get('none')?.length).toBe(3)
    limited.open.get('acme')?.[0]?.()
    await mine[0]
    await settle()
    expect(limited.open.get('acme')?.length).toBe(3)
    for (const end of [...limited.open.values()].flat()) end()
    await Promise.all([...mine, ...others])
  })

  it('gives a user half of the places of the tenant, and lets no colleague wait behind their calls', async () => {
    await using limited = rig({ concurrency: 4, waiting: 6 })
    const greedy = Array.from({ length: 5 }, () => limited.call('acme', 'greedy'))
    await expect(limited.call('acme', 'greedy')).rejects.toMatchObject({ kind: 'rate-limited' })
    await settle()
    expect(limited.open.get('acme')?.length).toBe(2)
    const colleague = limited.call('acme', 'colleague')
    await settle()
    expect(limited.open.get('acme')?.length).toBe(3)
    while ((limited.open.get('acme')?.length ?? 0) > 0) {
      for (const end of limited.open.get('acme')?.splice(0) ?? []) end()
      await settle()
      await settle()
    }
    await Promise.all([...greedy, colleague])

    await using own = rig({ concurrency: 4, userConcurrency: 3 })
    const calls = Array.from({ length: 4 }, () => own.call('acme', 'greedy'))
    await settle()
    expect(own.open.get('acme')?.length).toBe(3)
    for (const end of own.open.get('acme') ?? []) end()
    await settle()
    for (const end of own.open.get('acme') ?? []) end()
    await Promise.all(calls)
  })

  it('refuses what has waited too long for a place', async () => {
    await using limited = rig({ concurrency: 1, maxWait: 50 })
    const first = limited.call('acme')
    await expect(limited.call('acme')).rejects.toMatchObject({
      code: 'ERR_CORE_RATE_LIMITED',
      retryAfter: expect.any(Number) as number,
    })
    limited.open.get('acme')?.[0]?.()
    await first
  })

  it('keeps the places of what lasts apart', async () => {
    await using limited = rig({
      concurrency: 2,
      waiting: 0,
      apart: { 'slow.upload': { concurrency: 1, waiting: 0 } },
    })
    const upload = limited.call('acme', undefined, 'upload')
    await expect(limited.call('acme', undefined, 'upload')).rejects.toMatchObject({ kind: 'rate-limited' })
    const calls = [limited.call('acme'), limited.call('acme')]
    await settle()
    expect(limited.open.get('acme')?.length).toBe(3)
    for (const end of limited.open.get('acme') ?? []) end()
    await Promise.all([upload, ...calls])
    expect(() => tenantLimit({ apart: { upload: { concurency: 1 } } } as never)).toThrow('concurrency')
  })

  it('holds a tenant to its pace', async () => {
    await using limited = rig({ rate: 2, period: '1h' })
    const calls = [limited.call('acme'), limited.call('acme'), limited.call('globex')]
    await expect(limited.call('acme')).rejects.toMatchObject({
      kind: 'rate-limited',
      retryAfter: expect.any(Number) as number,
    })
    await settle()
    for (const end of [...limited.open.values()].flat()) end()
    await Promise.all(calls)
  })

  it('refuses options that are unknown', () => {
    expect(() => tenantLimit({ concurency: 1 } as never)).toThrow('concurrency')
  })
})
