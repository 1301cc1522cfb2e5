import { describe, expect, it } from 'vitest'
import { asSystem, currentRlsContext, runWithRlsContext } from '../../src/index.ts'

const tenantId = '00000000-0000-4000-8000-00000000000a'

describe('runWithRlsContext', () => {
  it('opens a frozen copy and closes it again', async () => {
    const input = { tenantId, roles: ['admin'] }
    await runWithRlsContext(input, async () => {
      await Promise.resolve()
      const context = currentRlsContext()
      expect(context).toEqual({ tenantId, userId: null, roles: ['admin'], isSystem: false })
      input.roles.push('root')
      expect(context?.roles).toEqual(['admin'])
      expect(Object.isFrozen(context)).toBe(true)
    })
    expect(currentRlsContext()).toBeUndefined()
  })

  it.each([
    [{ tenantId: '' }, 'tenantId'],
    [{ tenantId: 7 }, 'tenantId'],
    [{ tenantId: undefined }, 'tenantId'],
    [{ tenantId: 'a\0b' }, 'tenantId'],
    [{ tenantId: 'x'.repeat(201) }, 'tenantId'],
    [{ tenantId: 'acme\ud800' }, 'tenantId'],
    [{ tenantId, userId: '\udfff' }, 'userId'],
    [{ tenantId, roles: ['\ud800'] }, 'roles'],
    [{ tenantId, userId: {} }, 'userId'],
    [{ tenantId, roles: 'admin' }, 'roles'],
    [{ tenantId, roles: ['a,b'] }, 'roles'],
    [{ tenantId, isSystem: 'yes' }, 'isSystem'],
  ])('refuses %j', (input, member) => {
    expect(() => runWithRlsContext(input as never, () => 'ran')).toThrow(
      expect.objectContaining({ code: 'ERR_RLS_INVALID_CONTEXT', details: { member } }),
    )
  })

  it('is one per process, also for a second copy of the package', async () => {
    const copy = (await import(
      /* @vite-ignore */ '../../src/context/rls-context.ts?copy=1' as string
    )) as typeof import('../../src/context/rls-context.ts')
    expect(copy.currentRlsContext).not.toBe(currentRlsContext)
    runWithRlsContext({ tenantId }, () => expect(copy.currentRlsContext()?.tenantId).toBe(tenantId))
  })
})

describe('asSystem', () => {
  it('keeps who caused the work, and gives the outer context back', () => {
    runWithRlsContext({ tenantId }, () => {
      asSystem('why', () => expect(currentRlsContext()).toMatchObject({ tenantId, isSystem: true }))
      expect(currentRlsContext()?.isSystem).toBe(false)
    })
    asSystem('why', () => expect(currentRlsContext()).toMatchObject({ tenantId: null, isSystem: true }))
  })
})
