import type { HealthCheck } from '@quintet/core'
import { option, readOptions } from '@quintet/core/kit'
import type { Circuit } from './circuit.ts'
import { describeFailure } from '../errors.ts'

export interface RedisHealthCheckOptions<Name extends string = string> {
  /** @defaultValue `'redis'` */
  readonly name?: string
  /** A failing critical check makes the process not ready. @defaultValue `true` */
  readonly critical?: boolean
  /** The clients it covers. @defaultValue all */
  readonly clients?: readonly Name[]
}

/** What the check needs of one client. */
export interface CheckedClient {
  readonly name: string
  circuit(): Circuit
  ping(): Promise<unknown>
  /** What the boot check holds against its server, asked again as long as there is something. */
  problems(): Promise<readonly string[]>
}

const spec = {
  name: option.text('redis'),
  critical: option.boolean(true),
  clients: option.list(option.text()).optional(),
}

export function createHealthCheck<Name extends string>(
  options: RedisHealthCheckOptions<Name>,
  clients: readonly CheckedClient[],
): HealthCheck {
  const { name, critical } = readOptions<RedisHealthCheckOptions<Name>, typeof spec>(
    options,
    spec,
    'healthCheck',
  )
  return {
    name,
    critical,
    async check() {
      const answers = await Promise.all(clients.map(checkClient))
      const failures = answers.filter(({ ok }) => !ok)
      if (failures.length > 0) throw new Error(failures.map(({ text }) => text).join('; '))
      return answers.map(({ text }) => text).join(', ')
    },
  }
}

async function checkClient(client: CheckedClient): Promise<{ readonly ok: boolean; readonly text: string }> {
  const { state, since, reason } = client.circuit()
  if (state === 'idle') return { ok: true, text: `${client.name} idle` }
  if (state !== 'closed') {
    return {
      ok: false,
      text: `${client.name}: circuit ${state} since ${new Date(since).toISOString()} (${reason ?? 'connecting'})`,
    }
  }
  const begin = performance.now()
  try {
    const [problem] = await client.problems()
    if (problem !== undefined) return { ok: false, text: `${client.name}: ${problem}` }
    await client.ping()
  } catch (error) {
    return { ok: false, text: `${client.name}: ${describeFailure(error)}` }
  }
  return { ok: true, text: `${client.name} ${(performance.now() - begin).toFixed(1)} ms` }
}
