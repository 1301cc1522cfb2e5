import { randomBytes } from 'node:crypto'
import { createApp, silentLogger, type System } from '@quintet/core'
import { createQueue, type Queue } from '@quintet/queue'
import { createRedisClients, type RedisClients } from '@quintet/redis'
import { startPrivateRedis } from '@quintet/test-kit'
import type { AppDatabase } from './app-database.ts'
import { openTestIdentity, type TestIdentity } from './test-identity.ts'

export interface StartAppOptions {
  /** The folder of the app's bootstrap file. */
  readonly baseUrl: string
  /** Which process of the app. @defaultValue the only one */
  readonly process?: string
  readonly database?: AppDatabase
  /** Further environment variables. */
  readonly env?: Readonly<Record<string, string>>
}

/** A process of an app as its supervisor starts it, with an identity to sign in at and a Redis of its own. */
export interface StartedApp extends AsyncDisposable {
  /** By the key of the transport in the process entry. */
  url(transport?: string): string
  readonly identity: TestIdentity
  /** The queue that the app reads, as the other apps see it. */
  readonly jobs: Queue
  /** Of the Redis that the app works with. */
  readonly redis: RedisClients
}

/** Starts one process of a specialist app. Its configuration is read from the environment, as in production. */
export async function startApp<Config, Services>(
  system: System<Config, Services>,
  { baseUrl, process, database, env = {} }: StartAppOptions,
): Promise<StartedApp> {
  await using resources = new AsyncDisposableStack()
  const { url } = resources.use(await startPrivateRedis())
  const redis = resources.use(await createRedisClients({ url }))
  const identity = resources.use(await openTestIdentity(redis))
  const secret = randomBytes(32).toString('base64url')
  const jobs = resources.use(createQueue({ connection: redis.client('queue'), secret }))
  const prefix = system.name.toUpperCase()
  const app = await createApp(system, {
    baseUrl,
    ...(process !== undefined && { process }),
    logger: silentLogger,
    ports: Object.fromEntries(transportsOf(system, process).map((name) => [name, 0])),
    env: {
      [`${prefix}_REDIS__URL`]: url,
      [`${prefix}_IDENTITY__ISSUER`]: identity.auth.issuer,
      [`${prefix}_IDENTITY__AUDIENCE`]: identity.auth.audience,
      [`${prefix}_IDENTITY__JWKS_URL`]: identity.jwksUrl,
      [`${prefix}_SECRETS__CNF`]: identity.auth.secrets.cnf.reveal(),
      [`${prefix}_SECRETS__JOBS`]: secret,
      ...(database && {
        [`${prefix}_DATABASE__URL`]: database.url,
        [`${prefix}_DATABASE__SYSTEM_URL`]: database.systemUrl,
      }),
      ...env,
    },
  })
  resources.defer(() => app.stop())
  const owned = resources.move()
  return {
    url: (transport = 'http') => app.transports.get(transport)?.url ?? '',
    identity,
    jobs,
    redis,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

function transportsOf<Config, Services>(
  system: System<Config, Services>,
  process: string | undefined,
): readonly string[] {
  const entry = system.processes.find(({ name }) => process === undefined || name === process)
  return Object.keys(entry?.transports ?? {})
}
