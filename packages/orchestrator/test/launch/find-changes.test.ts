import { describe, expect, it } from 'vitest'
import { findChanges } from '../../src/launch/find-changes.ts'
import type { StartedWith } from '../../src/launch/started-with.ts'
import type { Plan } from '../../src/index.ts'
import { trioPlan } from '../trio.ts'

const started: StartedWith = { command: ['true'], cwd: '/', addresses: [], ports: {}, environment: {} }
const startedWith = (): StartedWith => started

const plan = await trioPlan()

function changeOne(change: Partial<Plan['processes'][number]>): Plan {
  const processes = plan.processes.map((each) => (each.id === 'one/http' ? { ...each, ...change } : each))
  return { ...plan, processes }
}

describe('changes of a plan', () => {
  it('are none of itself', () => {
    expect(findChanges({ running: plan, next: plan, startedWith })).toEqual({
      started: [],
      stopped: [],
      reloaded: [],
      supervised: [],
      settings: [],
    })
  })

  it('name what differs of what a process is started with, and of its environment the variables alone', () => {
    const next = { ...plan }
    const found = findChanges({
      running: plan,
      next,
      startedWith: (of, id) =>
        of === next && id === 'one/http'
          ? { ...started, command: ['false'], ports: { http: 1 }, environment: { TOKEN: 'secret' } }
          : started,
    })
    expect(found.reloaded).toEqual([{ id: 'one/http', because: ['command', 'ports', 'TOKEN'] }])
  })

  it('leave a process alone of which only the supervision differs', () => {
    const next = changeOne({ critical: false, stopTimeout: 1 })
    const found = findChanges({ running: plan, next, startedWith })
    expect(found.reloaded).toEqual([])
    expect(found.supervised).toEqual([{ id: 'one/http', because: ['critical', 'stopTimeout'] }])
    const more = { ...plan, supervision: { ...plan.supervision, maxRestarts: 9 } }
    expect(findChanges({ running: plan, next: more, startedWith }).settings).toEqual(['supervision'])
  })

  it('are refused where apps would lose their servers, or another project runs', () => {
    const change =
      (next: Plan, running: Plan = plan) =>
      () =>
        findChanges({ running, next, startedWith })
    expect(change({ ...plan, project: 'other' })).toThrow('it is of the project "other", and "trio" runs')
    expect(change({ ...plan, postgres: false })).toThrow('infrastructure.postgres is another one')
    const requires = { postgres: false, redis: true, secrets: [], migrations: null }
    const withRedis = { ...plan, apps: plan.apps.map((app) => ({ ...app, requires })) }
    expect(change(plan, withRedis)).toThrow('no app requires redis any more')
    expect(change(withRedis)().reloaded.map(({ because }) => because)).toContainEqual(['requires'])
  })
})
