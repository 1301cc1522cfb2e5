import { AsyncLocalStorage } from 'node:async_hooks'
import { getEventListeners } from 'node:events'
import { describe, expect, it, vi } from 'vitest'
import {
  anonymous,
  currentInvocation,
  QuintetError,
  silentLogger,
  systemPrincipal,
  type Invocation,
  type InvocationWrapper,
  type Principal,
} from '../../src/index.ts'
import { createPipeline, type CallSteps, type PipelineOptions, type SettledCall } from '../../src/kit.ts'
import { createTokenAuth, testUser } from '../../src/testing.ts'
import { incomingCall, untilAborted } from '../incoming-call.ts'
import { recordedLogger } from '../recorded-logger.ts'

const pipelineWith = (options: Partial<PipelineOptions> = {}) =>
  createPipeline({ logger: silentLogger, ...options })
const bearer = (token: string) => ({ scheme: 'bearer', token }) as const
const answer = { input: () => 20, handle: (input: number) => input + 1 }

function timers(): number {
  return process.getActiveResourcesInfo().filter((resource) => resource === 'Timeout').length
}

describe('run', () => {
  it('shows where a call comes from, as its surface says', async () => {
    const pipeline = createPipeline({ logger: silentLogger })
    const client = { address: '203.0.113.9', userAgent: 'curl/8' }
    const steps = { input: () => 1, handle: (_input: number, invocation: Invocation) => invocation.client }
    expect(await pipeline.run(incomingCall({ client }), steps)).toBe(client)
    expect(await pipeline.run(incomingCall(), steps)).toEqual({ address: null, userAgent: null })
  })

  it('goes through the steps in order', async () => {
    const steps: string[] = []
    const pipeline = pipelineWith({
      auth: {
        async authenticate() {
          steps.push('authenticate')
          return testUser()
        },
      },
      wrappers: [
        async (_invocation, next) => {
          steps.push('outer')
          const result = await next()
          steps.push('outer done')
          return result
        },
        async (_invocation, next) => {
          steps.push('inner')
          return await next()
        },
      ],
      observers: [{ onSettled: () => void steps.push('settled') }],
    })
    const access = { allow: () => steps.push('authorize') > 0, description: 'anyone' }
    const result = await pipeline.run(incomingCall({ credentials: bearer('t'), access }), {
      input: () => steps.push('input'),
      handle: async () => {
        await Promise.resolve()
        steps.push('handle')
        return 'result'
      },
    })
    expect(result).toBe('result')
    expect(steps).toEqual([
      'authenticate',
      'authorize',
      'input',
      'outer',
      'inner',
      'handle',
      'outer done',
      'settled',
    ])
  })

  it('gives the handler what the server knows of the call', async () => {
    const user = testUser({ userId: 'ada' })
    const pipeline = pipelineWith({ auth: createTokenAuth({ t: user }) })
    const call = incomingCall({
      credentials: bearer('t'),
      traceparent: '00-a-b-01',
      deadline: Date.now() + 60_000,
    })
    await pipeline.run(call, {
      input: () => undefined,
      handle: (_input, invocation) => {
        expect(invocation.principal).toBe(user)
        expect(invocation).toMatchObject({
          requestId: 'r-1',
          traceparent: '00-a-b-01',
          deadline: call.deadline,
        })
        expect(currentInvocation()).toBe(invocation)
      },
    })
    expect(currentInvocation()).toBeUndefined()
  })

  it('makes a logger that names the call and the caller', async () => {
    const logger = recordedLogger()
    const pipeline = createPipeline({ logger, auth: createTokenAuth({ t: testUser({ userId: 'ada' }) }) })
    await pipeline.run(incomingCall({ credentials: bearer('t') }), {
      input: () => undefined,
      handle: (_input, invocation) => invocation.logger.info({ extra: 1 }, 'hello'),
    })
    expect(logger.lines).toEqual([
      {
        level: 'info',
        message: 'hello',
        fields: {
          requestId: 'r-1',
          operation: 'objects.list',
          tenantId: 'tenant-a',
          userId: 'ada',
          extra: 1,
        },
      },
    ])
  })

  describe('credentials', () => {
    const unverified = [
      ['that cannot be checked at all', undefined],
      ['that are not known', createTokenAuth()],
      ['for which the manager answers with an anonymous caller', { authenticate: async () => anonymous }],
      [
        'that cannot be checked now',
        {
          authenticate: () =>
            Promise.reject(
              new QuintetError('Redis is away.', { code: 'ERR_TEST_AWAY', kind: 'unavailable' }),
            ),
        },
      ],
    ] as const
    const principalOf: CallSteps<undefined, Principal> = {
      input: () => undefined,
      handle: (_input, { principal }) => principal,
    }

    it.each(unverified)('%s are as good as none on a public operation', async (_what, auth) => {
      const pipeline = pipelineWith(auth === undefined ? {} : { auth })
      expect(await pipeline.run(incomingCall({ credentials: bearer('t') }), principalOf)).toBe(anonymous)
    })

    it.each(unverified)(
      '%s are refused where it asks for strictness, and everywhere else',
      async (_what, auth) => {
        const pipeline = pipelineWith(auth === undefined ? {} : { auth })
        const call = incomingCall({ credentials: bearer('t') })
        const operations = [
          { ...call.operation, freshness: 'strict' as const },
          { ...call.operation, access: 'authenticated' as const },
        ]
        for (const operation of operations)
          await expect(pipeline.run({ ...call, operation }, principalOf)).rejects.toMatchObject({
            kind: expect.stringMatching(/^(?:unauthenticated|unavailable)$/),
          })
      },
    )

    it('are not taken for none when the manager is broken', async () => {
      const broken = { authenticate: () => Promise.reject(new Error('a defect')) }
      await expect(
        pipelineWith({ auth: broken }).run(incomingCall({ credentials: bearer('t') }), principalOf),
      ).rejects.toMatchObject({ kind: 'internal' })
    })

    it('asks for a session read where the operation does', async () => {
      const asked: (string | undefined)[] = []
      const pipeline = pipelineWith({
        auth: {
          async authenticate(_credentials, { freshness }) {
            asked.push(freshness)
            return testUser()
          },
        },
      })
      const call = incomingCall({ credentials: bearer('t') })
      await pipeline.run(call, answer)
      await pipeline.run({ ...call, operation: { ...call.operation, freshness: 'strict' } }, answer)
      expect(asked).toEqual([undefined, 'strict'])
    })

    it('waits for nothing where the manager recalls the caller, unless the session is to be read', async () => {
      const asked: string[] = []
      const auth = {
        recall: () => {
          asked.push('recall')
          return testUser()
        },
        async authenticate() {
          asked.push('authenticate')
          return testUser()
        },
      }
      const call = incomingCall({ credentials: bearer('t'), access: 'authenticated' })
      const pipeline = pipelineWith({ auth })
      let handled = false
      const ran = pipeline.run(call, { input: () => 1, handle: () => void (handled = true) })
      expect(handled).toBe(true)
      await ran
      await pipeline.run({ ...call, operation: { ...call.operation, freshness: 'strict' } }, answer)
      expect(asked).toEqual(['recall', 'authenticate'])
    })

    it('authenticates whom the manager does not recall, and takes no anonymous caller for recalled', async () => {
      const call = incomingCall({ credentials: bearer('t'), access: 'authenticated' })
      const known = { recall: () => undefined, authenticate: async () => testUser() }
      expect(await pipelineWith({ auth: known }).run(call, answer)).toBe(21)
      const nameless = { recall: () => anonymous, authenticate: async () => testUser() }
      await expect(pipelineWith({ auth: nameless }).run(call, answer)).rejects.toMatchObject({
        kind: 'unauthenticated',
      })
    })

    it('takes an anonymous caller whom a surface attests for what it is', async () => {
      const credentials = { scheme: 'attested', principal: anonymous, by: 'link' } as const
      expect(await pipelineWith().run(incomingCall({ credentials }), answer)).toBe(21)
      await expect(
        pipelineWith().run(incomingCall({ credentials, access: 'authenticated' }), answer),
      ).rejects.toMatchObject({ kind: 'unauthenticated' })
    })

    it('takes what a surface attests, until it has expired', async () => {
      const attested = (expiresAt: number | null, by: 'link' | 'in-process' | 'envelope') =>
        pipelineWith().run(
          incomingCall({
            access: 'authenticated',
            credentials: { scheme: 'attested', principal: testUser({ expiresAt }), by },
          }),
          answer,
        )
      expect(await attested(null, 'link')).toBe(21)
      expect(await attested(Date.now() + 60_000, 'in-process')).toBe(21)
      await expect(attested(Date.now() - 1, 'link')).rejects.toMatchObject({ details: { reason: 'expired' } })
      await expect(attested(Date.now() - 1, 'in-process')).rejects.toMatchObject({ kind: 'unauthenticated' })
      expect(await attested(Date.now() - 1, 'envelope')).toBe(21)
    })

    it('fails closed when a predicate throws', async () => {
      const access = {
        description: 'broken',
        allow: () => {
          throw new Error('broken')
        },
      }
      const pipeline = pipelineWith({ auth: createTokenAuth({ t: testUser() }) })
      await expect(
        pipeline.run(incomingCall({ access, credentials: bearer('t') }), answer),
      ).rejects.toMatchObject({
        kind: 'internal',
      })
    })

    it('keeps the system out of what is for users', async () => {
      const credentials = { scheme: 'attested', principal: systemPrincipal('jobs'), by: 'link' } as const
      await expect(
        pipelineWith().run(incomingCall({ access: 'authenticated', credentials }), answer),
      ).rejects.toMatchObject({ kind: 'forbidden' })
      expect(await pipelineWith().run(incomingCall({ access: 'system', credentials }), answer)).toBe(21)
    })
  })

  describe('deadlines', () => {
    it('answers at the deadline of the operation, and aborts the signal', async () => {
      let signal: AbortSignal | undefined
      const pipeline = pipelineWith()
      const late = pipeline.run(incomingCall({ timeout: 10 }), {
        input: () => undefined,
        handle: (_input, invocation) => {
          signal = invocation.signal
          return untilAborted(invocation.signal)
        },
      })
      await expect(late).rejects.toMatchObject({ code: 'ERR_CORE_DEADLINE_EXCEEDED', kind: 'timeout' })
      expect(signal?.reason).toMatchObject({ code: 'ERR_CORE_DEADLINE_EXCEEDED' })
    })

    it('takes the earlier of the deadlines of the caller and the operation', async () => {
      const seen: (number | null)[] = []
      const steps = {
        input: () => 0,
        handle: (_input: number, { deadline }: Invocation) => void seen.push(deadline),
      }
      const clock = { now: () => 1_000, monotonic: () => 0 }
      const pipeline = pipelineWith({ clock })
      await pipeline.run(incomingCall({ timeout: 500 }), steps)
      await pipeline.run(incomingCall({ timeout: 500, deadline: 1_200 }), steps)
      await pipeline.run(incomingCall({ timeout: 500, deadline: 9_000 }), steps)
      await pipeline.run(incomingCall({ deadline: 9_000 }), steps)
      await pipeline.run(incomingCall(), steps)
      expect(seen).toEqual([1_500, 1_200, 1_500, 9_000, null])
    })

    it('does not start a call whose deadline is over or is none', async () => {
      let ran = false
      const steps = { input: () => void (ran = true), handle: () => 1 }
      for (const deadline of [Date.now() - 1, 0, -1, Number.NaN, Number.NEGATIVE_INFINITY]) {
        await expect(pipelineWith().run(incomingCall({ deadline }), steps)).rejects.toMatchObject({
          kind: 'timeout',
        })
      }
      expect(ran).toBe(false)
    })

    it('does not take a deadline far away for one that is over', async () => {
      const before = timers()
      expect(await pipelineWith().run(incomingCall({ deadline: Date.now() + 2 ** 40 }), answer)).toBe(21)
      expect(await pipelineWith().run(incomingCall({ deadline: Number.POSITIVE_INFINITY }), answer)).toBe(21)
      expect(timers()).toBe(before)
    })

    it('counts a late handler as in progress until it has ended, and reports the call once', async () => {
      const settled: SettledCall[] = []
      const end = Promise.withResolvers<string>()
      const pipeline = pipelineWith({
        observers: [{ onSettled: (call) => settled.push(call) }],
        maxConcurrentCalls: 1,
      })
      const late = pipeline.run(incomingCall({ timeout: 5 }), { input: () => 0, handle: () => end.promise })
      await expect(late).rejects.toMatchObject({ kind: 'timeout' })
      expect(pipeline.active).toBe(1)
      await expect(pipeline.run(incomingCall(), answer)).rejects.toMatchObject({
        code: 'ERR_CORE_OVERLOADED',
      })
      end.resolve('too late')
      await expect.poll(() => pipeline.active).toBe(0)
      expect(settled.map((call) => call.outcome)).toEqual(['timeout', 'unavailable'])
    })

    it('includes the time that authentication takes', async () => {
      const pipeline = pipelineWith({
        auth: { authenticate: (_credentials, { signal }) => untilAborted(signal) },
      })
      await expect(
        pipeline.run(incomingCall({ timeout: 10, credentials: bearer('t') }), answer),
      ).rejects.toMatchObject({ code: 'ERR_CORE_DEADLINE_EXCEEDED' })
      await expect.poll(() => pipeline.active).toBe(0)
    })

    it('leaves no timer behind', async () => {
      const before = timers()
      const pipeline = pipelineWith()
      const failing = { input: () => 0, handle: () => Promise.reject(new Error('no')) }
      const calls = Array.from({ length: 50 }, (_, index) =>
        pipeline.run(incomingCall({ timeout: 60_000 }), index % 2 === 0 ? answer : failing),
      )
      await Promise.allSettled(calls)
      expect(timers()).toBe(before)
    })

    it('leaves no timer behind for a call that is refused at once, and reports it once', async () => {
      const before = timers()
      const settled: string[] = []
      const pipeline = pipelineWith({ observers: [{ onSettled: (call) => settled.push(call.outcome) }] })
      const call = incomingCall({ access: 'authenticated', timeout: 60_000 })
      await pipeline.run(call, answer).catch(() => {})
      expect(timers()).toBe(before)
      expect(settled).toEqual(['unauthenticated'])
    })

    it.each(['authentication', 'input'])(
      'does not run the handler when the deadline has passed in %s',
      async (step) => {
        const slow = Promise.withResolvers<void>()
        let ran = false
        const pipeline = pipelineWith({
          auth: {
            async authenticate() {
              if (step === 'authentication') await slow.promise
              return testUser()
            },
          },
        })
        const call = pipeline.run(incomingCall({ timeout: 5, credentials: bearer('t') }), {
          input: () => (step === 'input' ? slow.promise : undefined),
          handle: () => void (ran = true),
        })
        await expect(call).rejects.toMatchObject({ kind: 'timeout' })
        slow.resolve()
        await expect.poll(() => pipeline.active).toBe(0)
        expect(ran).toBe(false)
      },
    )

    it('logs what a late handler throws, and that alone', async () => {
      const end = Promise.withResolvers<never>()
      const logger = recordedLogger()
      const pipeline = createPipeline({ logger })
      const late = pipeline.run(incomingCall({ timeout: 5 }), { input: () => 0, handle: () => end.promise })
      await expect(late).rejects.toMatchObject({ kind: 'timeout' })
      end.reject(new Error('late failure'))
      await expect.poll(() => pipeline.active).toBe(0)
      expect(logger.lines.map(({ level, message }) => `${level}: ${message}`)).toEqual([
        'warn: objects.list took longer than its deadline.',
        'warn: a handler failed after its deadline',
      ])
    })
  })

  describe('the signal', () => {
    it('aborts when the caller goes away', async () => {
      const caller = new AbortController()
      const started = Promise.withResolvers<void>()
      const call = pipelineWith().run(incomingCall({ signal: caller.signal }), {
        input: () => 0,
        handle: (_input, { signal }) => {
          started.resolve()
          return untilAborted(signal)
        },
      })
      await started.promise
      caller.abort()
      await expect(call).rejects.toMatchObject({ code: 'ERR_CORE_CANCELED', kind: 'canceled' })
    })

    it('leaves no listener on the signal of the caller', async () => {
      const caller = new AbortController()
      let kept: Invocation | undefined
      await pipelineWith().run(incomingCall({ signal: caller.signal }), {
        input: () => 0,
        handle: (_input, invocation) => {
          void invocation.signal
          kept = invocation
        },
      })
      expect(getEventListeners(caller.signal, 'abort')).toEqual([])
      void kept?.signal
      expect(getEventListeners(caller.signal, 'abort')).toEqual([])
    })

    it('is not made, nor is that of the caller read, when nobody asks for it', async () => {
      let reads = 0
      const call = {
        ...incomingCall(),
        get signal() {
          reads++
          return new AbortController().signal
        },
      }
      await pipelineWith().run(call, answer)
      expect(reads).toBe(0)
      await pipelineWith().run(call, { input: () => 0, handle: (_input, { signal }) => signal.aborted })
      expect(reads).toBe(1)
    })

    it('answers with the reason for the abort, not with what the handler made of it', async () => {
      const call = pipelineWith().run(incomingCall({ timeout: 1_000_000, signal: AbortSignal.abort() }), {
        input: () => 0,
        handle: (_input, { signal }) => fetch('http://127.0.0.1:9', { signal }),
      })
      await expect(call).rejects.toMatchObject({ code: 'ERR_CORE_CANCELED' })
    })
  })

  describe('wrappers', () => {
    const misuse: Record<string, InvocationWrapper> = {
      'calls next twice': async (_invocation, next) => {
        await next()
        return await next()
      },
      'never calls next': async () => undefined as never,
      'does not wait for next': async (_invocation, next) => {
        void next().catch(() => {})
        return undefined as never
      },
    }
    it.each(Object.entries(misuse))('fail the call when one %s', async (_name, wrapper) => {
      const call = pipelineWith({ wrappers: [wrapper] }).run(incomingCall(), {
        input: () => 0,
        handle: async () => {
          await new Promise((resolve) => setImmediate(resolve))
          return 'result'
        },
      })
      await expect(call).rejects.toMatchObject({ kind: 'internal', code: 'ERR_CORE_INTERNAL' })
    })

    it('may refuse, and may answer for a handler that failed', async () => {
      const refuse: InvocationWrapper = () =>
        Promise.reject(new QuintetError('Not in this tenant.', { code: 'ERR_X', kind: 'forbidden' }))
      await expect(pipelineWith({ wrappers: [refuse] }).run(incomingCall(), answer)).rejects.toMatchObject({
        code: 'ERR_X',
      })
      const seen: unknown[] = []
      const watch: InvocationWrapper = async (_invocation, next) => {
        try {
          return await next()
        } catch (error) {
          seen.push(error)
          throw error
        }
      }
      const failure = new Error('no')
      await pipelineWith({ wrappers: [watch] })
        .run(incomingCall(), { input: () => 0, handle: () => Promise.reject(failure) })
        .catch(() => {})
      expect(seen).toEqual([failure])
    })

    it('do not run for a caller who is refused, nor for bad input', async () => {
      let ran = 0
      const wrapper: InvocationWrapper = (_invocation, next) => {
        ran++
        return next()
      }
      const pipeline = pipelineWith({ wrappers: [wrapper] })
      await pipeline.run(incomingCall({ access: 'authenticated' }), answer).catch(() => {})
      await pipeline
        .run(incomingCall(), { input: () => Promise.reject(new Error('bad')), handle: () => 1 })
        .catch(() => {})
      expect(ran).toBe(0)
    })
  })

  describe('settling', () => {
    it('tells observers what became of each call', async () => {
      const settled: SettledCall[] = []
      const pipeline = pipelineWith({ auth: createTokenAuth({ t: testUser({ userId: 'ada' }) }) })
      pipeline.addObserver({ onSettled: (call) => settled.push(call) })
      await pipeline.run(incomingCall({ credentials: bearer('t') }), answer)
      await pipeline.run(incomingCall({ access: 'authenticated' }), answer).catch(() => {})
      await pipeline
        .run(incomingCall(), { input: () => 0, handle: () => Promise.reject(new Error()) })
        .catch(() => {})
      expect(settled).toMatchObject([
        { outcome: 'ok', errorCode: undefined, tenantId: 'tenant-a', userId: 'ada', requestId: 'r-1' },
        { outcome: 'unauthenticated', errorCode: 'ERR_CORE_UNAUTHENTICATED', tenantId: null, userId: null },
        { outcome: 'internal', errorCode: 'ERR_CORE_INTERNAL' },
      ])
      expect(settled.every((call) => call.durationMs >= 0)).toBe(true)
    })

    it.each<[string, () => unknown]>([
      [
        'throws',
        () => {
          throw new Error('no')
        },
      ],
      ['rejects', () => Promise.reject(new Error('no'))],
    ])('survives an observer that %s', async (_how, onSettled) => {
      const logger = recordedLogger()
      const observers = [{ onSettled }]
      expect(await createPipeline({ logger, observers }).run(incomingCall(), answer)).toBe(21)
      await vi.waitFor(() =>
        expect(logger.lines.map((line) => line.message)).toEqual(['an invocation observer failed']),
      )
    })

    it('writes one line per failed call, as loud as the failure deserves', async () => {
      const logger = recordedLogger()
      const pipeline = createPipeline({ logger })
      const fail = (thrown: unknown) =>
        pipeline.run(incomingCall(), { input: () => 0, handle: () => Promise.reject(thrown) }).catch(() => {})
      const cause = new Error('connection lost')
      await fail(new QuintetError('No.', { code: 'ERR_X', kind: 'invalid-input' }))
      await fail(new QuintetError('No.', { code: 'ERR_X', kind: 'forbidden' }))
      await fail(new QuintetError('Down.', { code: 'ERR_X', kind: 'unavailable', cause }))
      await fail(cause)
      await pipeline.run(incomingCall(), answer)
      expect(logger.lines.map(({ level }) => level)).toEqual(['debug', 'info', 'warn', 'error'])
      expect(logger.lines[2]?.fields).toMatchObject({
        code: 'ERR_X',
        kind: 'unavailable',
        cause: 'connection lost',
      })
      expect(logger.lines[3]?.fields).toMatchObject({
        requestId: 'r-1',
        operation: 'objects.list',
        surface: 'rpc',
        err: cause,
      })
    })

    it('keeps what a handler threw from the caller', async () => {
      const error = await pipelineWith()
        .run(incomingCall(), { input: () => 0, handle: () => Promise.reject(new Error('password=hunter2')) })
        .catch((thrown: unknown) => thrown)
      expect(error).toMatchObject({ message: 'Something failed on our side.', details: undefined })
    })

    it('copes with everything that can be thrown', async () => {
      for (const thrown of [undefined, null, 0, 'text', Symbol('x'), Object.create(null)]) {
        await expect(
          pipelineWith().run(incomingCall(), { input: () => 0, handle: () => Promise.reject(thrown) }),
        ).rejects.toMatchObject({ code: 'ERR_CORE_INTERNAL' })
      }
    })
  })

  it('refuses calls beyond its limit, with a hint when to come back', async () => {
    const end = Promise.withResolvers<void>()
    const pipeline = pipelineWith({ maxConcurrentCalls: 2 })
    const hold = { input: () => 0, handle: () => end.promise }
    const running = [pipeline.run(incomingCall(), hold), pipeline.run(incomingCall(), hold)]
    await expect(pipeline.run(incomingCall(), answer)).rejects.toMatchObject({
      code: 'ERR_CORE_OVERLOADED',
      kind: 'unavailable',
      retryAfter: 1_000,
    })
    end.resolve()
    await Promise.all(running)
    expect(await pipeline.run(incomingCall(), answer)).toBe(21)
    expect(() => pipelineWith({ maxConcurrentCalls: 0 })).toThrow(
      'createPipeline.maxConcurrentCalls: 0 is not a whole number of at least 1',
    )
  })
})

describe('stream', () => {
  const numbers = (count: number) => ({
    input: () => count,
    async *handle(limit: number) {
      for (let index = 0; index < limit; index++) {
        await Promise.resolve()
        yield index
      }
    },
  })

  it('gives the items in order and ends', async () => {
    const settled: string[] = []
    const pipeline = pipelineWith({ observers: [{ onSettled: (call) => settled.push(call.outcome) }] })
    const items: number[] = []
    for await (const item of pipeline.stream(incomingCall(), numbers(3))) items.push(item)
    expect(items).toEqual([0, 1, 2])
    expect(settled).toEqual(['ok'])
    expect(pipeline.active).toBe(0)
  })

  it('keeps the wrappers open until the end, and runs the generator inside them', async () => {
    const scope = new AsyncLocalStorage<string>()
    const events: string[] = []
    const wrapper: InvocationWrapper = async (_invocation, next) => {
      events.push('open')
      try {
        return await scope.run('inside', next)
      } finally {
        events.push('closed')
      }
    }
    const stream = pipelineWith({ wrappers: [wrapper] }).stream(incomingCall(), {
      input: () => 0,
      async *handle() {
        yield scope.getStore()
        await new Promise((resolve) => setImmediate(resolve))
        yield scope.getStore()
        yield currentInvocation()?.requestId
      },
    })
    for await (const item of scope.run('outside', () => stream)) events.push(String(item))
    expect(events).toEqual(['open', 'inside', 'inside', 'r-1', 'closed'])
  })

  it('produces only what is asked for', async () => {
    let produced = 0
    const stream = pipelineWith().stream(incomingCall(), {
      input: () => 0,
      async *handle() {
        for (;;) yield produced++
      },
    })
    expect((await stream.next()).value).toBe(0)
    await new Promise((resolve) => setImmediate(resolve))
    expect(produced).toBe(1)
    await stream.return()
  })

  it('lets the handler clean up before a consumer that breaks off goes on', async () => {
    const events: string[] = []
    const pipeline = pipelineWith()
    const stream = pipeline.stream(incomingCall(), {
      input: () => 0,
      async *handle(_input, { signal }) {
        try {
          yield 1
          yield 2
        } finally {
          await Promise.resolve()
          events.push(signal.aborted ? 'aborted' : 'cleaned up')
        }
      },
    })
    for await (const item of stream) {
      events.push(`got ${item}`)
      break
    }
    events.push('after')
    expect(events).toEqual(['got 1', 'aborted', 'after'])
    expect(pipeline.active).toBe(0)
  })

  it('refuses before the handler runs', async () => {
    let ran = false
    const stream = pipelineWith().stream(incomingCall({ access: 'authenticated' }), {
      input: () => 0,
      async *handle() {
        ran = true
        yield 1
      },
    })
    await expect(stream.next()).rejects.toMatchObject({ kind: 'unauthenticated' })
    expect(ran).toBe(false)
    expect(await stream.next()).toEqual({ done: true, value: undefined })
  })

  it('gives what was produced before a failure, then the failure', async () => {
    const logger = recordedLogger()
    const pipeline = createPipeline({ logger })
    const stream = pipeline.stream(incomingCall(), {
      input: () => 0,
      async *handle() {
        yield 1
        throw new Error('password=hunter2')
      },
    })
    expect((await stream.next()).value).toBe(1)
    await expect(stream.next()).rejects.toMatchObject({
      code: 'ERR_CORE_INTERNAL',
      message: 'Something failed on our side.',
    })
    expect(logger.lines.map((line) => line.level)).toEqual(['error'])
    expect(pipeline.active).toBe(0)
  })

  it.each(['a handler that listens', 'a handler that does not'])('ends at its deadline: %s', async (kind) => {
    const end = Promise.withResolvers<void>()
    const pipeline = pipelineWith()
    const stream = pipeline.stream(incomingCall({ timeout: 10 }), {
      input: () => 0,
      async *handle(_input, { signal }) {
        yield 1
        await (kind === 'a handler that listens' ? untilAborted(signal) : end.promise)
      },
    })
    await stream.next()
    await expect(stream.next()).rejects.toMatchObject({ code: 'ERR_CORE_DEADLINE_EXCEEDED' })
    end.resolve()
    await expect.poll(() => pipeline.active).toBe(0)
  })

  it('ends when the caller goes away, also in the midst of waiting', async () => {
    const caller = new AbortController()
    const end = Promise.withResolvers<void>()
    const pipeline = pipelineWith()
    const stream = pipeline.stream(incomingCall({ signal: caller.signal }), {
      input: () => 0,
      async *handle() {
        yield 1
        await end.promise
      },
    })
    await stream.next()
    const next = stream.next()
    caller.abort()
    await expect(next).rejects.toMatchObject({ code: 'ERR_CORE_CANCELED' })
    end.resolve()
    await expect.poll(() => pipeline.active).toBe(0)
  })

  it('does not start when nobody asks for an item', async () => {
    const pipeline = pipelineWith()
    const stream = pipeline.stream(incomingCall(), numbers(3))
    await stream.return()
    expect(pipeline.active).toBe(0)
  })
})

describe('authorize', () => {
  it('answers with the caller, without wrappers', async () => {
    const user = testUser()
    const never: InvocationWrapper = () => Promise.reject(new Error('ran'))
    const pipeline = pipelineWith({ auth: createTokenAuth({ t: user }), wrappers: [never] })
    expect(
      await pipeline.authorize(incomingCall({ access: 'authenticated', credentials: bearer('t') })),
    ).toBe(user)
    await expect(pipeline.authorize(incomingCall({ access: 'authenticated' }))).rejects.toMatchObject({
      kind: 'unauthenticated',
    })
  })
})

describe('a call that lasts', () => {
  const revoked = {
    code: 'ERR_CORE_UNAUTHENTICATED',
    kind: 'unauthenticated',
    details: { reason: 'revoked' },
  }
  /** An auth manager that counts who is watched. */
  const watching = (): { auth: ReturnType<typeof createTokenAuth>; readonly watched: number } => {
    const auth = createTokenAuth({ t: testUser({ expiresAt: Date.now() + 60_000 }) })
    const { watch } = auth
    let watched = 0
    auth.watch = (principal, onEnd) => {
      watched++
      const watcher = watch?.call(auth, principal, onEnd)
      return {
        [Symbol.dispose]() {
          watched--
          watcher?.[Symbol.dispose]()
        },
      }
    }
    return {
      auth,
      get watched() {
        return watched
      },
    }
  }

  it('ends when the session of its caller is revoked, and not when its token is replaced', async () => {
    const sessions = watching()
    const pipeline = pipelineWith({ auth: sessions.auth })
    const call = pipeline.run(incomingCall({ credentials: bearer('t') }), {
      input: () => undefined,
      handle: (_input, { signal }) => untilAborted(signal),
    })
    const stream = pipeline.stream(incomingCall({ credentials: bearer('t') }), {
      input: () => undefined,
      handle: async function* (_input, { signal }) {
        yield 1
        await untilAborted(signal)
      },
    })
    await stream.next()
    await expect.poll(() => sessions.watched, { timeout: 5_000 }).toBe(2)
    sessions.auth.end('t', 'superseded')
    expect(pipeline.active).toBe(2)
    await expect.poll(() => sessions.watched, { timeout: 5_000 }).toBe(2)
    sessions.auth.end('t', 'revoked')
    await expect(call).rejects.toMatchObject(revoked)
    await expect(stream.next()).rejects.toMatchObject(revoked)
    expect([pipeline.active, sessions.watched]).toEqual([0, 0])
  })

  it('is told of its session alone where it is called in the name of one', async () => {
    const sessions = watching()
    const pipeline = pipelineWith({ auth: sessions.auth })
    const ends = Array.from({ length: 3 }, () => Promise.withResolvers<void>())
    const attested = { scheme: 'attested', principal: testUser(), by: 'envelope' } as const
    const calls = [bearer('t'), attested, { scheme: 'none' } as const].map((credentials, index) =>
      pipeline.run(incomingCall({ credentials }), {
        input: () => undefined,
        handle: () => ends[index]?.promise,
      }),
    )
    await expect.poll(() => sessions.watched, { timeout: 5_000 }).toBe(1)
    for (const { resolve } of ends) resolve()
    await Promise.all(calls)
    expect(sessions.watched).toBe(0)
  })
})

describe('watch', () => {
  it('tells when the session of a principal ends', async () => {
    const user = testUser()
    const auth = createTokenAuth({ t: user })
    const ends: string[] = []
    pipelineWith({ auth }).watch(user, (end) => ends.push(end))
    auth.end('t', 'revoked')
    auth.end('t', 'revoked')
    expect(ends).toEqual(['revoked'])
    expect(pipelineWith().watch(user, () => {})).toBeUndefined()
  })
})

describe('drain', () => {
  it('refuses new calls and waits for those in progress', async () => {
    const end = Promise.withResolvers<string>()
    const pipeline = pipelineWith()
    const running = pipeline.run(incomingCall(), { input: () => 0, handle: () => end.promise })
    let drained = false
    const draining = pipeline.drain(new AbortController().signal).then(() => (drained = true))
    await expect(pipeline.run(incomingCall(), answer)).rejects.toMatchObject({
      code: 'ERR_CORE_STOPPING',
      kind: 'unavailable',
      retryAfter: 1_000,
    })
    expect(drained).toBe(false)
    end.resolve('done')
    expect(await running).toBe('done')
    await draining
  })

  it('aborts what is in progress when its own signal does', async () => {
    const limit = new AbortController()
    const pipeline = pipelineWith()
    const running = pipeline.run(incomingCall(), {
      input: () => 0,
      handle: (_input, { signal }) => untilAborted(signal),
    })
    const draining = pipeline.drain(limit.signal)
    limit.abort()
    await draining
    await expect(running).rejects.toMatchObject({ code: 'ERR_CORE_STOPPING' })
  })

  it('aborts also what asks for its signal only afterwards', async () => {
    const begin = Promise.withResolvers<void>()
    const pipeline = pipelineWith()
    const running = pipeline.run(incomingCall(), {
      input: () => 0,
      handle: async (_input, invocation) => {
        await begin.promise
        return invocation.signal.aborted
      },
    })
    await pipeline.drain(AbortSignal.abort())
    begin.resolve()
    expect(await running).toBe(true)
  })

  it('resolves at once when nothing is in progress', async () => {
    await pipelineWith().drain(new AbortController().signal)
  })
})
