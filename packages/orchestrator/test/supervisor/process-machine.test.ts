import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { PlannedProcess } from '../../src/plan/plan.ts'
import {
  createProcessMachine,
  isAlive,
  type ProcessEvent,
  type ProcessMachine,
} from '../../src/supervisor/process-machine.ts'
import { createFakeClock, type FakeClock } from './fake-clock.ts'

const planned: PlannedProcess = {
  id: 'app/http',
  app: 'app',
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
  health: { interval: 1_000, timeout: 500, retries: 3 },
}
const supervision = {
  strategy: 'one_for_one',
  maxRestarts: 3,
  window: 60_000,
  onSupervisorLoss: null,
  backoff: { type: 'exponential', initial: 1_000, max: 30_000, factor: 2 },
} as const

interface Bench {
  readonly machine: ProcessMachine
  readonly clock: FakeClock
  readonly phases: string[]
  readonly calls: string[]
}

function bench(overrides: Partial<PlannedProcess> = {}): Bench {
  const clock = createFakeClock()
  const phases: string[] = []
  const calls: string[] = []
  const machine = createProcessMachine({
    process: { ...planned, ...overrides },
    supervision,
    clock,
    random: () => 0.5,
    effects: {
      adopt: () => calls.push('adopt'),
      spawn: () => calls.push('spawn'),
      terminate: () => calls.push('terminate'),
      probe: () => calls.push('probe'),
      crashed: () => calls.push('crashed'),
      exhausted: () => calls.push('exhausted'),
      changed: ({ to }) => phases.push(to),
    },
  })
  return { machine, clock, phases, calls }
}

const healthy: ProcessEvent = { type: 'probed', responsive: true, healthy: true, detail: '' }
const sick: ProcessEvent = {
  type: 'probed',
  responsive: true,
  healthy: false,
  detail: 'the database is away',
}
const silent: ProcessEvent = { type: 'probed', responsive: false, healthy: false, detail: 'no answer' }
const crash: ProcessEvent = { type: 'gone', reason: 'exit code 1', success: false }

function startedBench(): Bench {
  const it = bench()
  it.machine.send({ type: 'start' })
  it.machine.send({ type: 'gate', open: true })
  return it
}

function makeReady({ machine }: Bench): void {
  machine.send({ type: 'start' })
  machine.send({ type: 'gate', open: true })
  machine.send({ type: 'listening' })
  machine.send(healthy)
}

describe('process machine', () => {
  it('goes from waiting to ready by way of starting and probing', () => {
    const it = bench()
    makeReady(it)
    expect(it.phases).toEqual(['waiting', 'starting', 'probing', 'ready'])
    expect(it.calls).toEqual(['spawn', 'probe'])
  })

  it('does not start before what it depends on is ready, and starts when that recovers', () => {
    const { machine, calls } = bench()
    machine.send({ type: 'start' })
    expect(machine.phase).toBe('waiting')
    machine.send({ type: 'gate', open: false })
    expect(calls).toEqual([])
    machine.send({ type: 'gate', open: true })
    expect(machine.phase).toBe('starting')
  })

  it('takes over what runs already without waiting for anything, and starts it again when it has ended', () => {
    const it = bench()
    it.machine.send({ type: 'adopt' })
    expect(it.calls).toEqual(['adopt'])
    it.machine.send({ type: 'listening' })
    it.machine.send(healthy)
    expect(it.machine.phase).toBe('ready')
    it.machine.send({ type: 'adopt' })
    it.machine.send(crash)
    it.clock.advance(1)
    expect(it.machine.phase).toBe('waiting')
    it.machine.send({ type: 'gate', open: true })
    expect(it.calls).toEqual(['adopt', 'probe', 'crashed', 'spawn'])
    expect(it.machine.restarts).toBe(1)
  })

  it('takes over what was stopping as that: it is never ready, and starts again when it has ended', () => {
    const it = bench()
    it.machine.send({ type: 'gate', open: true })
    it.machine.send({ type: 'adopt', stopping: true })
    it.machine.send({ type: 'listening' })
    expect(it.machine.phase).toBe('stopping')
    it.machine.send({ type: 'gone', reason: 'exit code 0', success: true })
    expect(it.calls).toEqual(['adopt', 'terminate', 'spawn'])
    expect(it.machine.restarts).toBe(0)
  })

  it('shows a child that stops by itself as stopping, and counts its end as what it is', () => {
    const it = startedBench()
    it.calls.length = 0
    it.machine.send({ type: 'stopping' })
    expect(it.machine.phase).toBe('stopping')
    it.clock.advance(60_000)
    expect(it.calls).toEqual([])
    it.machine.send(crash)
    expect(it.machine.lastFailure).toBe('exit code 1')
    expect(it.machine.phase).toBe('backoff')
  })

  it('ends what it has taken over and hears nothing of', () => {
    const it = bench()
    it.machine.send({ type: 'adopt' })
    it.clock.advance(5_000)
    expect(it.calls).toEqual(['adopt', 'terminate'])
  })

  it('is ready without a probe when it has no health checks', () => {
    const { machine } = bench({ health: false })
    machine.send({ type: 'start' })
    machine.send({ type: 'gate', open: true })
    machine.send({ type: 'listening' })
    expect(machine.phase).toBe('ready')
  })

  it('hears after a suspension of the supervisor what its child has said meanwhile, before it gives up', () => {
    const { machine, clock } = startedBench()
    clock.suspend(7_000)
    clock.advance(0)
    expect(machine.phase).toBe('starting')
    machine.send({ type: 'listening' })
    machine.send(healthy)
    expect(machine.phase).toBe('ready')
  })

  it('gives up also after a suspension when nothing was said', () => {
    const { machine, clock } = startedBench()
    clock.suspend(60_000)
    clock.advance(5_000)
    expect(machine.phase).toBe('stopping')
  })

  it('counts a start that takes longer than startupTimeout as a crash', () => {
    const { machine, clock, calls, phases } = bench()
    machine.send({ type: 'start' })
    machine.send({ type: 'gate', open: true })
    clock.advance(5_000)
    expect(calls).toEqual(['spawn', 'terminate'])
    machine.send({ type: 'gone', reason: 'killed', success: false })
    expect(phases.at(-1)).toBe('backoff')
    expect(machine.lastFailure).toContain('not ready within 5000 ms')
  })

  it('keeps asking while the first probes fail', () => {
    const { machine, clock } = bench()
    machine.send({ type: 'start' })
    machine.send({ type: 'gate', open: true })
    machine.send({ type: 'listening' })
    machine.send(sick)
    expect(machine.phase).toBe('probing')
    clock.advance(100)
    machine.send(healthy)
    expect(machine.phase).toBe('ready')
  })

  it('restarts at once after the first crash of a process that was ready', () => {
    const it = bench()
    makeReady(it)
    it.machine.send(crash)
    expect(it.machine.phase).toBe('backoff')
    it.clock.advance(0)
    expect(it.machine.phase).toBe('starting')
    expect(it.machine.restarts).toBe(1)
  })

  it('waits longer with every further crash, and not at all again after a healthy window', () => {
    const it = bench()
    makeReady(it)
    it.machine.send(crash)
    it.clock.advance(0)
    it.machine.send({ type: 'listening' })
    it.machine.send(healthy)
    it.machine.send(crash)
    it.clock.advance(999)
    expect(it.machine.phase).toBe('backoff')
    it.clock.advance(1)
    expect(it.machine.phase).toBe('starting')
    it.machine.send({ type: 'listening' })
    it.machine.send(healthy)
    for (let second = 0; second < 60; second++) {
      it.clock.advance(1_000)
      it.machine.send(healthy)
    }
    it.machine.send(crash)
    it.clock.advance(0)
    expect(it.machine.phase).toBe('starting')
  })

  it('fails when it crashes more often than maxRestarts within the window', () => {
    const it = bench()
    it.machine.send({ type: 'start' })
    it.machine.send({ type: 'gate', open: true })
    for (let count = 0; count < 3; count++) {
      it.machine.send(crash)
      it.clock.advance(4_000)
    }
    expect(it.machine.phase).toBe('starting')
    it.machine.send(crash)
    expect(it.machine.phase).toBe('failed')
    expect(it.calls.at(-1)).toBe('exhausted')
  })

  it('is started again after the longest backoff for ever when it is the front door', () => {
    const it = bench({ restartsForever: true })
    it.machine.send({ type: 'start' })
    it.machine.send({ type: 'gate', open: true })
    for (let count = 0; count < 4; count++) {
      it.clock.advance(4_000)
      it.machine.send(crash)
    }
    for (let count = 0; count < 50; count++) {
      it.clock.advance(29_999)
      expect(it.machine.phase).toBe('backoff')
      it.clock.advance(1)
      expect(it.machine.phase).toBe('starting')
      it.machine.send(crash)
    }
    expect(it.calls).not.toContain('exhausted')
  })

  it('does not start again after a stop for good, whatever is asked later', () => {
    for (const late of ['start', 'restart'] as const) {
      const it = bench()
      makeReady(it)
      it.machine.send({ type: 'stop', reason: 'quintet down', forGood: true })
      it.machine.send({ type: late, reason: 'asked' })
      it.machine.send({ type: 'gone', reason: 'exit code 0', success: true })
      it.machine.send({ type: late, reason: 'asked' })
      expect(it.machine.phase).toBe('stopped')
    }
  })

  it('fails in the end also when every life is a little longer than the window allows', () => {
    const it = bench()
    makeReady(it)
    let crashes = 0
    while (it.machine.phase !== 'failed' && crashes < 100) {
      it.clock.advance(25_000)
      it.machine.send(crash)
      crashes += 1
      it.clock.advance(30_000)
      it.machine.send({ type: 'listening' })
      it.machine.send(healthy)
    }
    expect(crashes).toBe(7)
  })

  it('becomes unhealthy on a failing report without a restart, and ready again', () => {
    const it = bench()
    makeReady(it)
    for (let probe = 0; probe < 10; probe++) {
      it.clock.advance(1_000)
      it.machine.send(sick)
    }
    expect(it.machine.phase).toBe('unhealthy')
    expect(it.calls).not.toContain('terminate')
    it.clock.advance(1_000)
    it.machine.send(healthy)
    expect(it.machine.phase).toBe('ready')
  })

  it('is restarted when it does not answer `retries` probes in a row', () => {
    const it = bench()
    makeReady(it)
    for (const answer of [silent, silent, sick, silent, silent]) {
      it.clock.advance(1_000)
      it.machine.send(answer)
    }
    expect(it.machine.phase).toBe('unhealthy')
    it.clock.advance(1_000)
    it.machine.send(silent)
    expect(it.machine.phase).toBe('stopping')
    it.machine.send({ type: 'gone', reason: 'killed', success: false })
    expect(it.machine.phase).toBe('backoff')
  })

  it('notices within 20 s by the defaults that it hangs, at the worst moment too', () => {
    const it = bench({ health: { interval: 8_000, timeout: 3_000, retries: 3 } })
    makeReady(it)
    const start = it.clock.monotonic()
    while (it.machine.phase !== 'stopping') {
      const asked = it.calls.filter((call) => call === 'probe').length
      while (it.calls.filter((call) => call === 'probe').length === asked) it.clock.advance(100)
      it.clock.advance(3_000)
      it.machine.send(silent)
    }
    expect(it.clock.monotonic() - start).toBeLessThanOrEqual(20_000)
  })

  it('fails without another try when another try would end the same way', () => {
    const it = bench()
    it.machine.send({ type: 'start' })
    it.machine.send({ type: 'gate', open: true })
    it.machine.send({ type: 'gone', reason: 'no such module', success: false, permanent: true })
    expect(it.machine.phase).toBe('failed')
  })

  it('starts once more when it is told to restart while it stops, and not when it is told to stop', () => {
    const it = bench()
    makeReady(it)
    it.machine.send({ type: 'restart', reason: 'asked' })
    it.machine.send({ type: 'restart', reason: 'asked' })
    it.machine.send({ type: 'gone', reason: 'exit code 0', success: true })
    expect(it.machine.phase).toBe('starting')
    expect(it.calls.filter((call) => call === 'spawn')).toHaveLength(2)
    it.machine.send({ type: 'restart', reason: 'asked' })
    it.machine.send({ type: 'stop', reason: 'asked' })
    it.machine.send({ type: 'gone', reason: 'exit code 0', success: true })
    expect(it.machine.phase).toBe('stopped')
    expect(it.machine.restarts).toBe(0)
  })

  it('completes a task that ends well, and fails one that does not without another try', () => {
    const good = bench({ kind: 'task', health: false })
    good.machine.send({ type: 'start' })
    good.machine.send({ type: 'gate', open: true })
    good.machine.send({ type: 'gone', reason: 'exit code 0', success: true })
    expect(good.machine.phase).toBe('completed')
    const bad = bench({ kind: 'task', health: false })
    bad.machine.send({ type: 'start' })
    bad.machine.send({ type: 'gate', open: true })
    bad.machine.send(crash)
    expect(bad.machine.phase).toBe('failed')
  })

  it('starts a failed process with a fresh budget when it is told to', () => {
    const it = bench()
    it.machine.send({ type: 'start' })
    it.machine.send({ type: 'gate', open: true })
    for (let count = 0; count < 4; count++) {
      it.machine.send(crash)
      it.clock.advance(4_000)
    }
    expect(it.machine.phase).toBe('failed')
    it.machine.send({ type: 'restart', reason: 'asked' })
    it.machine.send(crash)
    expect(it.machine.phase).toBe('backoff')
  })

  it('never has two children, whatever happens in whatever order', () => {
    const event = fc.constantFrom<ProcessEvent | number>(
      { type: 'start' },
      { type: 'gate', open: true },
      { type: 'gate', open: false },
      { type: 'listening' },
      { type: 'stopping' },
      healthy,
      sick,
      silent,
      crash,
      { type: 'gone', reason: 'exit code 0', success: true },
      { type: 'stop', reason: '' },
      { type: 'restart', reason: '' },
      100,
      5_000,
      60_000,
    )
    fc.assert(
      fc.property(fc.array(event, { maxLength: 60 }), (events) => {
        const { machine, clock, calls } = bench()
        let children = 0
        let spawned = 0
        for (const each of events) {
          const hasChild = isAlive(machine.phase) || machine.phase === 'stopping'
          // A child can only go, or say something, when there is one.
          if (
            typeof each !== 'number' &&
            !hasChild &&
            ['gone', 'listening', 'stopping', 'probed'].includes(each.type)
          )
            continue
          if (typeof each === 'number') clock.advance(each)
          else {
            if (each.type === 'gone') children -= 1
            machine.send(each)
          }
          const spawns = calls.filter((call) => call === 'spawn').length
          children += spawns - spawned
          spawned = spawns
          expect(children).toBe(isAlive(machine.phase) || machine.phase === 'stopping' ? 1 : 0)
        }
      }),
    )
  })
})
