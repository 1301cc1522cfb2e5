import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { validateAbsent } from '../../src/procedures/schema.ts'

describe('an input that is not given', () => {
  it('is an object without members, where the schema wants one', async () => {
    expect(await validateAbsent(z.object({ page: z.number().optional() }))).toEqual({})
    expect(await validateAbsent(z.object({ size: z.number().default(20) }))).toEqual({ size: 20 })
  })

  it('stays none where the schema takes none', async () => {
    expect(await validateAbsent(z.object({ page: z.number() }).optional())).toBeUndefined()
    expect(await validateAbsent(z.unknown())).toBeUndefined()
  })

  it('is refused with the members that are missing, or with what is expected instead of an object', async () => {
    await expect(validateAbsent(z.object({ title: z.string() }))).rejects.toMatchObject({
      code: 'ERR_CORE_INVALID_INPUT',
      details: { issues: [{ pointer: '/title' }] },
    })
    await expect(validateAbsent(z.string())).rejects.toMatchObject({
      details: {
        issues: [
          { pointer: '', message: expect.stringContaining('expected string, received undefined') as string },
        ],
      },
    })
  })
})
