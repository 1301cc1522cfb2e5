import { expect, it } from 'vitest'
import { z } from 'zod'
import { uuidv7 } from '../../src/ids/uuid-v7.ts'

it('is a UUID of version 7 that sorts by time', () => {
  const ids = [1, 2, 1_700_000_000_000, 1_700_000_000_001, 2 ** 48 - 1].map((now) => uuidv7(now))
  for (const id of ids) expect(z.uuidv7().safeParse(id).success).toBe(true)
  expect(ids.toSorted()).toEqual(ids)
  expect(uuidv7(5)).not.toBe(uuidv7(5))
})
