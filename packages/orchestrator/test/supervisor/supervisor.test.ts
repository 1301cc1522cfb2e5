import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { ProcessLog } from '../../src/logs/process-log.ts'
import type { Plan, PlannedApp, PlannedProcess } from '../../src/plan/plan.ts'
import type { ChannelListener } from '../../src/control/process-channels.ts'
import type { ChildOptions } from '../../src/supervisor/child.ts'
import type { EcosystemEvent } from '../../src/running/ecosystem-events.ts'
import { createSupervisor, type Supervisor } from '../../src/supervisor/supervisor.ts'
import { createFakeClock, type FakeClock } from './fake-clock.ts'

const service: PlannedProcess = {
  id: '',
  app: '',
  process: 'http',
  instance: 0,
  kind: 'service',
  command: ['true'],
  cwd: '/',
  env: {},
  ports: {},
  addresses: {},
  isCommand: false,
  asked: null,
  standby: false,
  dependsOn: [],
  stopsBefore: [],
  critical: false,
  restartsForever: false,
  startupTimeout: 5_000,
  stopTimeout: 1_000,
  stopPriority: 0,
  health: false,
}

/** `shop` (a task, a critical `http`, two `worker`s) <- `site` (one process), and the front door. */
interface PlanChange {
  readonly shop?: Partial<PlannedApp>
  readonly strategy?: Plan['supervision']['strategy']
  /** Of `shop/http`. */
  readonly health?: PlannedProcess['health']
}

function makePlan(change: PlanChange): Plan {
  const app = (name: string, more: Partial<PlannedApp> = {}): PlannedApp => ({
    name,
    bootstrap: '',
    prefix: '',
    dependsOn: [],
    critical: false,
    watch: null,
    requires: { postgres: false, redis: false, secrets: [], migrations: null },
    ...more,
  })
  return {
    version: 1,
    project: 'p',
    configFile: '',
    apps: [app('shop', change.shop), app('site', { dependsOn: ['shop'] })],
    processes: [
      { ...service, id: 'shop/migrate', app: 'shop', process: 'migrate', kind: 'task', critical: true },
      {
        ...service,
        id: 'shop/http',
        app: 'shop',
        critical: true,
        dependsOn: [['shop/migrate']],
        health: change.health ?? false,
      },
      { ...service, id: 'shop/worker.0', app: 'shop', process: 'worker', dependsOn: [['shop/migrate']] },
      {
        ...service,
        id: 'shop/worker.1',
        app: 'shop',
        process: 'worker',
        instance: 1,
        dependsOn: [['shop/migrate']],
      },
      { ...service, id: 'site/http', app: 'site', dependsOn: [['shop/http']] },
      { ...service, id: 'gateway/http', app: 'gateway', restartsForever: true },
    ],
    postgres: false,
    redis: false,
    gateway: null,
    supervision: {
      strategy: change.strategy ?? 'one_for_one',
      maxRestarts: 2,
      window: 60_000,
      onSupervisorLoss: null,
      backoff: { type: 'fixed', initial: 1_000, max: 1_000, factor: 1 },
    },
    metrics: { interval: 1_000, retention: 1_000 },
    logging: { level: 'info', maxSize: 1_000, maxFiles: 1, compress: false },
  }
}

interface FakeChild {
  readonly listener: ChannelListener
  readonly gone: ChildOptions['gone']
  /** The number of the last probe. */
  readonly probes: () => number
  terminating: boolean
}

interface Bench {
  readonly supervisor: Supervisor
  readonly clock: FakeClock
  readonly children: Map<string, FakeChild>
  readonly events: EcosystemEvent[]
  readonly escalated: string[]
  phases(): Record<string, string>
  /** Lets the child of a process end. */
  end(id: string, success?: boolean): void
  /** Lets everything come up. */
  bringUp(): Promise<void>
}

function bench(change: PlanChange = {}): Bench {
  const plan = makePlan(change)
  const clock = createFakeClock()
  const children = new Map<string, FakeChild>()
  const events: EcosystemEvent[] = []
  const escalated: string[] = []
  let opened: { readonly listener: ChannelListener; readonly probes: () => number } | undefined
  const log = { note: () => undefined } as unknown as ProcessLog
  const supervisor = createSupervisor({
    plan,
    clock,
    mark: () => ({ variable: 'mark', limit: '100000000000000001' }),
    logs: new Map(plan.processes.map(({ id }) => [id, log])),
    ports: new Map(),
    environment: () => ({}),
    guardian: { add: () => undefined, remove: () => undefined, release: () => undefined },
    channels: {
      path: '',
      open(listener) {
        let last = 0
        opened = { listener, probes: () => last }
        return {
          token: '',
          send(message) {
            if (message.type === 'probe') last = message.probe
            return true
          },
          close: () => undefined,
        }
      },
      close: async () => undefined,
    },
    spawn({ process, gone }) {
      const { id } = process
      if (children.has(id)) throw new Error(`${id} has a child already`)
      const child: FakeChild = {
        ...(opened as NonNullable<typeof opened>),
        gone(ending) {
          children.delete(id)
          gone(ending)
        },
        terminating: false,
      }
      children.set(id, child)
      return {
        pid: undefined,
        serves: () => undefined,
        awaitEnd: () => undefined,
        terminate: () => void (child.terminating = true),
        kill: () => undefined,
      }
    },
    onEvent: (event) => events.push(event),
    onEscalated(id) {
      escalated.push(id)
      void supervisor.stop(`${id} failed`)
    },
  })
  const end = (id: string, success = false): void =>
    children.get(id)?.gone({ reason: success ? 'exit code 0' : 'exit code 1', success })
  return {
    supervisor,
    clock,
    children,
    events,
    escalated,
    phases: () =>
      Object.fromEntries([...supervisor.processes].map(([id, { machine }]) => [id, machine.phase])),
    end,
    async bringUp() {
      supervisor.start()
      end('shop/migrate', true)
      await turn()
      for (const id of ['shop/http', 'shop/worker.0', 'shop/worker.1', 'gateway/http'])
        children.get(id)?.listener.ready({})
      await turn()
      children.get('site/http')?.listener.ready({})
      await turn()
    },
  }
}

/** Lets everything that waits for promises go on. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Crashes a process until its budget is spent. */
async function exhaust({ supervisor, clock, end }: Bench, id: string): Promise<void> {
  for (let crashes = 0; crashes < 10 && supervisor.processes.get(id)?.machine.phase !== 'failed'; crashes++) {
    end(id)
    await turn()
    clock.advance(1_000)
    await turn()
  }
}

/** Ends every child that was told to end, until there is none. */
async function obey(it: Bench): Promise<string[]> {
  const order: string[] = []
  for (;;) {
    await turn()
    const ending = [...it.children].filter(([, child]) => child.terminating).map(([id]) => id)
    if (ending.length === 0) return order
    for (const id of ending) it.end(id, true)
    order.push(...ending)
  }
}

describe('critical', () => {
  it('lets a process that is not critical fail alone, also in a critical app', async () => {
    const it = bench({ shop: { critical: true } })
    await it.bringUp()
    await exhaust(it, 'shop/worker.0')
    expect(it.phases()).toEqual({
      'shop/migrate': 'completed',
      'shop/http': 'ready',
      'shop/worker.0': 'failed',
      'shop/worker.1': 'ready',
      'site/http': 'ready',
      'gateway/http': 'ready',
    })
    expect(it.escalated).toEqual([])
  })

  it('fails the app with a critical process: its other processes stop, everything else goes on', async () => {
    const it = bench()
    await it.bringUp()
    await exhaust(it, 'shop/http')
    await obey(it)
    expect(it.phases()).toEqual({
      'shop/migrate': 'completed',
      'shop/http': 'failed',
      'shop/worker.0': 'stopped',
      'shop/worker.1': 'stopped',
      'site/http': 'ready',
      'gateway/http': 'ready',
    })
    expect(it.events).toContainEqual({
      type: 'escalated',
      id: 'shop/http',
      level: 'app',
      reason: 'exit code 1',
    })
    expect(it.escalated).toEqual([])
  })

  it('starts a failed app again as a whole when it is restarted', async () => {
    const it = bench()
    await it.bringUp()
    await exhaust(it, 'shop/http')
    await obey(it)
    const restarted = it.supervisor.restart('shop')
    await turn()
    for (const [id, child] of it.children) if (id.startsWith('shop/')) child.listener.ready({})
    expect(await restarted).toEqual(['shop/http', 'shop/worker.0', 'shop/worker.1'])
  })

  it('stops everything with a critical app', async () => {
    const it = bench({ shop: { critical: true } })
    await it.bringUp()
    await exhaust(it, 'shop/http')
    await obey(it)
    expect(it.escalated).toEqual(['shop/http'])
    expect(new Set(Object.values(it.phases()))).toEqual(new Set(['stopped']))
  })

  it('never ends the platform for the gateway, which is started again and again', async () => {
    const it = bench({ shop: { critical: true } })
    await it.bringUp()
    await exhaust(it, 'gateway/http')
    expect(it.phases()).toMatchObject({ 'gateway/http': 'starting', 'shop/http': 'ready' })
    expect(it.escalated).toEqual([])
  })
})

describe('a strategy', () => {
  it.each(['one_for_all', 'rest_for_one'] as const)(
    '%s leaves the apps alone when the gateway crashes',
    async (strategy) => {
      const it = bench({ strategy })
      await it.bringUp()
      it.end('gateway/http')
      await turn()
      expect([...it.children].filter(([, child]) => child.terminating)).toEqual([])
      expect(it.phases()).toMatchObject({ 'shop/http': 'ready', 'site/http': 'ready' })
    },
  )
})

describe('settled', () => {
  it('comes when the gateway is past its budget, although it is started again and again', async () => {
    const it = bench()
    await it.bringUp()
    let settled = false
    it.end('gateway/http')
    void it.supervisor.settled().then(() => (settled = true))
    await exhaust(it, 'gateway/http')
    expect(settled).toBe(true)
    const failure = it.supervisor.restart('gateway').catch((error: unknown) => error)
    await obey(it)
    await exhaust(it, 'gateway/http')
    expect(await failure).toMatchObject({ code: 'ERR_ORCHESTRATOR_START_FAILED' })
  })

  it('comes when a process waits for one that is unhealthy and does not recover', async () => {
    const it = bench({ health: { interval: 1_000, timeout: 100, retries: 3 } })
    it.supervisor.start()
    it.end('shop/migrate', true)
    await turn()
    const report = (status: 'pass' | 'fail'): void => {
      const { listener, probes } = it.children.get('shop/http') ?? {}
      listener?.report(probes?.() ?? 0, { status, checks: {} })
    }
    for (const [id, { listener }] of it.children) if (id !== 'shop/http') listener.ready({})
    it.children.get('shop/http')?.listener.ready({})
    report('pass')
    await turn()
    it.clock.advance(1_000)
    report('fail')
    await turn()
    it.end('site/http')
    it.clock.advance(1_000)
    report('fail')
    await turn()
    expect(it.phases()).toMatchObject({ 'shop/http': 'unhealthy', 'site/http': 'waiting' })
    let settled = false
    void it.supervisor.settled().then(() => (settled = true))
    await turn()
    expect(settled).toBe(false)
    for (let second = 0; second < 10; second++) {
      it.clock.advance(1_000)
      report('fail')
      await turn()
    }
    expect(settled).toBe(true)
  })
})

describe('restart', () => {
  it('is refused while everything stops, and the stop ends', async () => {
    const it = bench()
    await it.bringUp()
    const stopped = it.supervisor.stop('quintet down')
    await expect(it.supervisor.restart('shop')).rejects.toMatchObject({
      code: 'ERR_ORCHESTRATOR_NOT_RUNNING',
      message: 'The ecosystem is stopping: nothing is started any more.',
    })
    await obey(it)
    await stopped
  })

  it('does not hold up a stop that comes while it waits', async () => {
    const it = bench()
    await it.bringUp()
    const restarted = it.supervisor.restart('shop').catch((error: unknown) => error)
    await turn()
    const stopped = it.supervisor.stop('quintet down')
    await obey(it)
    await stopped
    expect(await restarted).toMatchObject({ code: 'ERR_ORCHESTRATOR_NOT_RUNNING' })
  })

  it('stops one instance at a time, and goes on when it is ready again', async () => {
    const it = bench()
    await it.bringUp()
    const restarted = it.supervisor.restart('shop/worker')
    await turn()
    const terminating = (): string[] =>
      [...it.children].filter(([, child]) => child.terminating).map(([id]) => id)
    expect(terminating()).toEqual(['shop/worker.0'])
    it.end('shop/worker.0', true)
    await turn()
    expect(it.phases()).toMatchObject({ 'shop/worker.0': 'starting', 'shop/worker.1': 'ready' })
    expect(terminating()).toEqual([])
    it.children.get('shop/worker.0')?.listener.ready({})
    await turn()
    expect(terminating()).toEqual(['shop/worker.1'])
    it.end('shop/worker.1', true)
    await turn()
    it.children.get('shop/worker.1')?.listener.ready({})
    expect(await restarted).toEqual(['shop/worker.0', 'shop/worker.1'])
  })

  it('leaves the other instances alone when the first does not start again', async () => {
    const it = bench()
    await it.bringUp()
    const failure = it.supervisor.restart('shop/worker').catch((error: unknown) => error)
    await turn()
    it.end('shop/worker.0', true)
    await turn()
    it.children.get('shop/worker.0')?.listener.startFailed('there is no such module', true)
    it.end('shop/worker.0')
    expect(await failure).toMatchObject({
      message: expect.stringContaining(
        'shop/worker.0 failed: there is no such module (exit code 1)',
      ) as string,
    })
    expect(it.phases()).toMatchObject({ 'shop/worker.0': 'failed', 'shop/worker.1': 'ready' })
  })

  it('says what did not start, and why', async () => {
    const it = bench()
    await it.bringUp()
    await exhaust(it, 'shop/http')
    await obey(it)
    const failure = it.supervisor.restart('site').catch((error: unknown) => error)
    await obey(it)
    expect(await failure).toMatchObject({
      code: 'ERR_ORCHESTRATOR_START_FAILED',
      message: expect.stringContaining('site/http waits for shop/http, which failed (exit code 1)') as string,
    })
  })

  it('of an app tries a failed task once more', async () => {
    const it = bench()
    it.supervisor.start()
    it.end('shop/migrate')
    await turn()
    expect(it.phases()).toMatchObject({ 'shop/migrate': 'failed', 'shop/http': 'stopped' })
    const restarted = it.supervisor.restart('shop')
    await turn()
    it.end('shop/migrate', true)
    await turn()
    for (const child of it.children.values()) child.listener.ready({})
    await restarted
    expect(it.phases()).toMatchObject({ 'shop/migrate': 'completed', 'shop/http': 'ready' })
  })

  it('of a task that fails leaves what serves alone', async () => {
    const it = bench()
    await it.bringUp()
    const again = it.supervisor.restart('shop/migrate')
    await turn()
    it.end('shop/migrate')
    await expect(again).rejects.toThrow('shop/migrate failed: exit code 1')
    await turn()
    expect(it.phases()).toMatchObject({ 'shop/migrate': 'failed', 'shop/http': 'ready' })
    expect(it.events.some(({ type }) => type === 'escalated')).toBe(false)
  })

  it('tries a failed task again when it is named itself', async () => {
    const it = bench()
    it.supervisor.start()
    it.end('shop/migrate')
    await turn()
    const again = it.supervisor.restart('shop/migrate')
    await turn()
    expect(it.phases()).toMatchObject({ 'shop/migrate': 'starting' })
    it.end('shop/migrate', true)
    expect(await again).toEqual(['shop/migrate'])
    expect(it.phases()).toMatchObject({ 'shop/migrate': 'completed' })
  })
})

describe('the supervisor', () => {
  const ids = makePlan({}).processes.map(({ id }) => id)
  const action = fc.oneof(
    fc.record({ type: fc.constant('crash' as const), id: fc.constantFrom(...ids) }),
    fc.record({ type: fc.constant('done' as const), id: fc.constantFrom(...ids) }),
    fc.record({ type: fc.constant('ready' as const), id: fc.constantFrom(...ids) }),
    fc.record({
      type: fc.constant('restart' as const),
      name: fc.constantFrom('shop', 'site', 'gateway', 'shop/worker', 'shop/worker.1'),
    }),
    fc.record({ type: fc.constant('pass' as const), ms: fc.constantFrom(0, 100, 1_000, 6_000, 60_000) }),
    fc.record({ type: fc.constant('turn' as const) }),
    fc.record({ type: fc.constant('stop' as const) }),
  )

  it('reaches stopped from every state, whatever crashes, restarts and stops are interleaved', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(action, { maxLength: 40 }),
        fc.constantFrom('one_for_one', 'rest_for_one', 'one_for_all'),
        fc.boolean(),
        async (actions, strategy, critical) => {
          const it = bench({ strategy, shop: { critical } })
          const restarts: Promise<unknown>[] = []
          it.supervisor.start()
          for (const each of actions) {
            if (each.type === 'crash') it.end(each.id)
            else if (each.type === 'done') it.end(each.id, true)
            else if (each.type === 'ready') it.children.get(each.id)?.listener.ready({})
            else if (each.type === 'pass') it.clock.advance(each.ms)
            else if (each.type === 'turn') await turn()
            else if (each.type === 'restart')
              restarts.push(it.supervisor.restart(each.name).catch(() => undefined))
            else void it.supervisor.stop('asked')
          }
          const stopped = it.supervisor.stop('the end')
          // More restarts come too late.
          restarts.push(it.supervisor.restart('shop').catch(() => undefined))
          await obey(it)
          it.clock.advance(600_000)
          await obey(it)
          const outcome = await Promise.race([
            Promise.all([stopped, ...restarts]).then(() => 'stopped'),
            turn()
              .then(turn)
              .then(turn)
              .then(() => JSON.stringify(it.phases())),
          ])
          expect(outcome).toBe('stopped')
          expect(it.children.size).toBe(0)
          expect(new Set(Object.values(it.phases()))).toEqual(new Set(['stopped']))
        },
      ),
      { numRuns: 300 },
    )
  }, 60_000)
})
