import fc from 'fast-check'
import type { PoolClient } from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { asSystem, currentRlsContext, runWithRlsContext, type RlsPool } from '../../src/index.ts'
import { contextA, contextB, createTwoTenants, type TwoTenants } from '../fixtures/two-tenants.ts'

let fixture: TwoTenants
let pool: RlsPool

beforeAll(async () => {
  fixture = await createTwoTenants()
  pool = fixture.pool({}, { max: 4 })
})
afterAll(() => fixture.drop())

/** A program of scopes, statements, transactions and savepoints. */
type Step =
  | { readonly do: 'read' }
  | { readonly do: 'fail' }
  | { readonly do: 'scope'; readonly as: 'a' | 'b' | 'nobody' | 'system'; readonly steps: readonly Step[] }
  | { readonly do: 'transaction'; readonly commit: boolean; readonly steps: readonly Step[] }
  | { readonly do: 'savepoint'; readonly release: boolean; readonly steps: readonly Step[] }
  | { readonly do: 'together'; readonly steps: readonly Step[] }

const { step } = fc.letrec<{ step: Step; steps: readonly Step[] }>((tie) => ({
  steps: fc.array(tie('step'), { minLength: 1, maxLength: 4 }),
  step: fc.oneof(
    { maxDepth: 4, depthSize: 'small' },
    fc.constant<Step>({ do: 'read' }),
    fc.constant<Step>({ do: 'fail' }),
    fc.record({
      do: fc.constant('scope' as const),
      as: fc.constantFrom('a', 'b', 'system'),
      steps: tie('steps'),
    }),
    fc.record({ do: fc.constant('transaction' as const), commit: fc.boolean(), steps: tie('steps') }),
    fc.record({ do: fc.constant('savepoint' as const), release: fc.boolean(), steps: tie('steps') }),
    fc.record({ do: fc.constant('together' as const), steps: tie('steps') }),
  ) as fc.Arbitrary<Step>,
}))

type Viewer = 'a' | 'b' | 'nobody' | 'system'
const seenBy: Readonly<Record<Viewer, string>> = {
  a: 'a1 a2',
  b: 'b1 b2',
  system: 'a1 a2 b1 b2',
  nobody: '42501',
}

interface Place {
  readonly client: PoolClient | undefined
  /** Under which login the open transaction runs. */
  readonly login: 'tenant' | 'system' | undefined
  readonly viewer: Viewer
}

const read = async (from: Pick<PoolClient, 'query'>): Promise<string> => {
  try {
    const { rows } = await from.query<{ title: string }>('select title from notes order by title')
    return rows.map(({ title }) => title).join(' ')
  } catch (error) {
    return String((error as { code?: unknown }).code)
  }
}

/** Runs the program; false once its transaction has failed, so that nothing further can be told. */
async function run(steps: readonly Step[], place: Place): Promise<boolean> {
  for (const one of steps) {
    if (!(await runStep(one, place))) return false
  }
  return true
}

async function runStep(one: Step, place: Place): Promise<boolean> {
  const { client, login, viewer } = place
  switch (one.do) {
    case 'read': {
      const crossing = login !== undefined && (login === 'system') !== (viewer === 'system')
      const expected = crossing ? 'ERR_RLS_WRONG_SCOPE' : seenBy[viewer]
      expect(await read(client ?? pool)).toBe(expected)
      return !(client && expected === '42501')
    }
    case 'fail': {
      const crossing = login !== undefined && (login === 'system') !== (viewer === 'system')
      await expect((client ?? pool).query('select 1 / 0')).rejects.toMatchObject({
        code: crossing ? 'ERR_RLS_WRONG_SCOPE' : '22012',
      })
      return client === undefined || crossing
    }
    case 'scope': {
      const inner = () => run(one.steps, { ...place, viewer: one.as })
      const before = currentRlsContext()
      const going =
        one.as === 'system'
          ? await asSystem('property', inner)
          : await runWithRlsContext(one.as === 'a' ? contextA : contextB, inner)
      expect(currentRlsContext()).toBe(before)
      return going
    }
    case 'transaction': {
      if (client) return run(one.steps, place)
      const own = await pool.connect()
      try {
        await own.query('begin')
        await run(one.steps, { ...place, client: own, login: viewer === 'system' ? 'system' : 'tenant' })
        await own.query(one.commit ? 'commit' : 'rollback')
      } finally {
        own.release()
      }
      return true
    }
    case 'savepoint': {
      if (!client || (login === 'system') !== (viewer === 'system')) return run(one.steps, place)
      // Without a context the savepoint itself works, but nothing after it does.
      await client.query('savepoint here')
      const going = await run(one.steps, place)
      await client.query(going && one.release ? 'release savepoint here' : 'rollback to savepoint here')
      return true
    }
    case 'together': {
      if (client) return run(one.steps, place)
      await Promise.all(one.steps.map((each) => runStep(each, place)))
      return true
    }
  }
}

describe('any nesting of scopes, transactions and savepoints', () => {
  it(
    'shows each statement the rows of the scope around it, and restores the outer one',
    { timeout: 60_000 },
    async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 4 }), async (steps) => {
          await run(steps, { client: undefined, login: undefined, viewer: 'nobody' })
          expect(currentRlsContext()).toBeUndefined()
        }),
        { numRuns: 150, interruptAfterTimeLimit: 20_000 },
      )
      expect(await read(pool)).toBe('42501')
    },
  )
})
