import { describe, expect, it } from 'vitest'
import { procedure, service, tenantLimit, type TenantLimitOptions } from '../../src/index.ts'
import { callApp, createTestHost, testUser } from '../../src/testing.ts'

interface Rig extends AsyncDisposable {
  /** Calls in progress, by tenant. */
  readonly open: Map<string, (() => void)[]>
  call(tenantId: string | null): Promise<unknown>
}

function rig(options: TenantLimitOptions): Rig {
  const open = new Map<string, (() => void)[]>()
  const slow = service('slow', {
    wait: procedure({ access: 'public' }, ({ principal }) => {
      const { promise, resolve } = Promise.withResolvers<void>()
      const key = principal.tenantId ?? 'none'
      open.set(key, [...(open.get(key) ?? []), resolve])
      return promise
    }),
  })
  const host = createTestHost({ services: [slow], wrappers: [tenantLimit(options)] })
  return {
    open,
    call: (tenantId) =>
      callApp(
        host,
        slow,
        'wait',
        undefined as never,
        tenantId === null ? {} : { principal: testUser({ tenantId }) },
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
