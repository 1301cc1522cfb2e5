import { anonymous, type Principal, silentLogger, systemPrincipal } from '@quintet/core'
import { createPipeline } from '@quintet/core/kit'
import { createLogger } from '@quintet/core/logger'
import { describe, expect, it } from 'vitest'
import {
  createRlsInvocationWrapper,
  currentRlsContext,
  runWithRlsContext,
  type RlsInvocationWrapperOptions,
} from '../../src/index.ts'
import { currentScope } from '../../src/context/rls-context.ts'
import { noteStatement } from '../../src/sql/statement-note.ts'

const tenantId = '00000000-0000-4000-8000-00000000000a'
const userId = '00000000-0000-4000-8000-0000000000a1'
const user: Principal = {
  kind: 'user',
  userId,
  tenantId,
  sessionId: 's',
  roles: ['admin'],
  permissions: [],
  expiresAt: null,
  claims: {},
}

/** Runs a handler for a principal through a real pipeline. */
async function call<Result>(
  principal: Principal,
  handle: () => Promise<Result> | Result,
  options: RlsInvocationWrapperOptions = {},
  logger = silentLogger,
): Promise<Result> {
  const pipeline = createPipeline({
    logger,
    wrappers: [createRlsInvocationWrapper(options)],
    auth: { authenticate: async () => principal },
  })
  const operation = { surface: 'rpc', name: 'notes.list', access: 'public', timeout: 0 } as never
  return pipeline.run(
    {
      operation,
      credentials:
        principal.kind === 'anonymous'
          ? { scheme: 'none' }
          : { scheme: 'attested', principal, by: 'in-process' },
      requestId: 'r',
      signal: new AbortController().signal,
    },
    { input: () => undefined, handle: async () => handle() },
  )
}

describe('createRlsInvocationWrapper', () => {
  it('makes no logger for a call that succeeds', async () => {
    let made = 0
    const logger = {
      ...silentLogger,
      child: () => {
        made++
        return silentLogger
      },
    }
    await call(user, () => 1, {}, logger)
    expect(made).toBe(0)
  })

  it('opens the context of a user', async () => {
    expect(await call(user, currentRlsContext)).toEqual({
      tenantId,
      userId,
      roles: ['admin'],
      isSystem: false,
    })
  })

  it('opens none for an anonymous caller, even inside another context', async () => {
    expect(await call(anonymous, currentRlsContext)).toBeUndefined()
    await runWithRlsContext({ tenantId }, async () => {
      expect(await call(anonymous, currentRlsContext)).toBeUndefined()
    })
  })

  it('holds work of the system for one tenant to that tenant, and gives the rest the system login', async () => {
    expect(await call(systemPrincipal('thumbnails', tenantId), currentScope)).toMatchObject({
      context: { tenantId, isSystem: true },
      systemReason: null,
    })
    expect(await call(systemPrincipal('settlement'), currentScope)).toMatchObject({
      systemReason: 'settlement',
    })
  })

  it('takes the mapping of the app', async () => {
    const other = '00000000-0000-4000-8000-00000000000b'
    const map = (): { tenantId: string } => ({ tenantId: other })
    expect((await call(user, currentRlsContext, { map }))?.tenantId).toBe(other)
    expect(await call(user, currentRlsContext, { map: () => null })).toBeUndefined()
    expect(() => createRlsInvocationWrapper({ mapp: map } as never)).toThrow(/Did you mean "map"/)
  })

  it('maps errors of PostgreSQL and logs the statement', async () => {
    let written = ''
    const logger = createLogger({ destination: { write: (line: string) => void (written += line) } })
    const error = Object.assign(new Error('duplicate key "notes_pkey"'), { code: '23505', severity: 'ERROR' })
    noteStatement(error, 'insert into notes values ($1)')
    const failing = call(
      user,
      () => {
        throw error
      },
      {},
      logger,
    )
    await expect(failing).rejects.toMatchObject({ code: 'ERR_RLS_CONFLICT', kind: 'conflict' })
    await expect(failing).rejects.not.toThrow(/notes/)
    expect(written).toContain('insert into notes values ($1)')
    const mine = new Error('mine')
    await expect(
      call(user, () => {
        throw mine
      }),
    ).rejects.toMatchObject({ cause: mine })
  })
})
