import { badCommand, OrchestratorError } from '../errors.ts'
import type { Plan } from '../plan/plan.ts'
import { isNamed } from '../running/is-named.ts'
import type { RunningEcosystem } from '../running/running-ecosystem.ts'
import type { Servers } from '../servers/servers.ts'
import type { Secrets } from '../state/secrets.ts'
import { maintenanceToken } from '../supervisor/process-environment.ts'
import { describeStatus, everything } from './describe-status.ts'
import type { EventRecord } from './event-record.ts'
import { expectedPorts, type AssignPortsOptions } from '../supervisor/assign-ports.ts'
import { findChanges } from './find-changes.ts'
import type { Outcome } from './outcome.ts'
import type { Supervision } from './supervise.ts'

export interface HandleParts extends Supervision {
  readonly plan: Plan
  readonly dataDirectory: string
  readonly ports: ReadonlyMap<string, Readonly<Record<string, number>>>
  readonly servers: Servers
  readonly secrets: Secrets
  readonly record: EventRecord
  readonly outcome: Outcome
  /** How ports are given out. */
  readonly portOptions: Omit<AssignPortsOptions, 'kept'>
}

/** What commands and programs ask of an ecosystem that runs. */
export function createHandle(parts: HandleParts): RunningEcosystem {
  const { plan, dataDirectory, ports, servers, secrets, record, outcome } = parts
  const { supervisor, logs, sampler, kept } = parts
  const startedAt = Date.now()
  return {
    plan,
    dataDirectory,
    pid: process.pid,
    get gatewayUrl() {
      const id = plan.gateway?.processId
      return id === undefined ? null : `http://127.0.0.1:${ports.get(id)?.['http'] ?? 0}`
    },
    get urls() {
      return Object.fromEntries([...supervisor.processes].map(([id, { urls }]) => [id, urls]))
    },
    async status() {
      await sampler.sampleNew()
      const { latest } = sampler
      const holder = (id: string): ReturnType<NonNullable<typeof kept>['holder']> => kept?.holder(id) ?? null
      return describeStatus({ plan, dataDirectory, supervisor, servers, startedAt, latest, holder })
    },
    logs(id, count = 100) {
      const log = logs.get(id)
      if (!log) throw unknown(id, plan)
      return log.recent(count)
    },
    async logged() {
      await Promise.all([...logs.values()].map((log) => log.flushed()))
    },
    follow(name, onLine) {
      const ids = plan.processes
        .map((each) => each.id)
        .filter((id) => name === undefined || isNamed(id, name))
      if (ids.length === 0) throw unknown(name ?? '', plan)
      const followed = ids.flatMap((id) => logs.get(id) ?? [])
      const subscriptions = ids.map((id) => logs.get(id)?.subscribe((line) => onLine(id, line)))
      return {
        caughtUp: Promise.all(followed.map((log) => log.flushed())).then(() => undefined),
        [Symbol.dispose]: () => {
          for (const each of subscriptions) each?.[Symbol.dispose]()
        },
      }
    },
    get events() {
      return record.events
    },
    onEvent: record.subscribe,
    metrics(name) {
      const names = [everything, ...servers.list.map((server) => server.name), ...supervisor.processes.keys()]
      if (names.includes(name)) return sampler.history(name)
      throw new OrchestratorError(
        `There are no measurements of "${name}". There are those of: ${names.join(', ')}.`,
        { code: 'ERR_ORCHESTRATOR_UNKNOWN_PROCESS', kind: 'not-found' },
      )
    },
    changes(next) {
      const expected = expectedPorts(next, { ...parts.portOptions, kept: ports })
      return findChanges({
        ...{ running: plan, next },
        startedWith: (of, id) => parts.startedWith(of, of === plan ? ports : expected, id),
      })
    },
    retire: (ids) => supervisor.retire(ids),
    reload: (name) => supervisor.reload(name),
    restart: (name, restartOptions) => supervisor.restart(name, restartOptions),
    secret(name) {
      const names = new Set([
        'maintenance-token',
        'operator-token',
        ...plan.apps.flatMap((app) => app.requires.secrets),
      ])
      if (name === 'maintenance-token') return maintenanceToken(plan, secrets)
      if (names.has(name)) return secrets.get(`shared:${name}`)
      throw badCommand(`There is no secret "${name}". There are: ${[...names].join(', ')}.`)
    },
    settled: (signal) => supervisor.settled(signal),
    get failure() {
      return outcome.failure
    },
    stopped: outcome.stopped,
    stop: outcome.stop,
    async kill() {
      supervisor.kill()
      await outcome.stop('killed')
    },
    [Symbol.asyncDispose]: () => outcome.stop(),
  }
}

function unknown(name: string, plan: Plan): OrchestratorError {
  const names = plan.processes.map((each) => each.id).join(', ')
  return new OrchestratorError(`There is no app or process "${name}". There are: ${names}.`, {
    code: 'ERR_ORCHESTRATOR_UNKNOWN_PROCESS',
    kind: 'not-found',
  })
}
