import fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import { Redis } from 'ioredis'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import { Kysely, PostgresDialect, sql, type Transaction } from 'kysely'
import { Pool } from 'pg'

/** What the bench hands to an app of the peer, in the environment. */
export interface PeerSettings {
  readonly redisUrl: string
  readonly databaseUrl: string
  readonly systemUrl: string
  /** The role that holds the tenants' rights. */
  readonly role: string
  readonly jwksUrl: string
  readonly directory: string
}

export const settings: PeerSettings = {
  redisUrl: process.env['PEER_REDIS_URL'] ?? '',
  databaseUrl: process.env['PEER_DATABASE_URL'] ?? '',
  systemUrl: process.env['PEER_SYSTEM_URL'] ?? '',
  role: process.env['PEER_ROLE'] ?? '',
  jwksUrl: process.env['PEER_JWKS_URL'] ?? '',
  directory: process.env['PEER_DIRECTORY'] ?? '',
}

export const issuer = 'https://auth.peer.example'
export const audience = 'peer'

export interface Caller {
  readonly userId: string
  readonly tenantId: string
  readonly roles: readonly string[]
}

export const redis = new Redis(settings.redisUrl, { maxRetriesPerRequest: 1 })

/** A token's signature, issuer, audience and time, then its session in Redis: on every call. */
export function createVerifier(): (request: FastifyRequest) => Promise<Caller> {
  const keys = createRemoteJWKSet(new URL(settings.jwksUrl))
  return async (request) => {
    const [scheme, token] = request.headers.authorization?.split(' ') ?? []
    if (scheme !== 'Bearer' || token === undefined) throw unauthenticated()
    const { payload } = await jwtVerify(token, keys, { issuer, audience }).catch(() => {
      throw unauthenticated()
    })
    const [userId, generation] = await redis.hmget(`peer:session:${String(payload['sid'])}`, 'user', 'gen')
    if (userId !== payload.sub || generation !== payload['gen']) throw unauthenticated()
    return {
      userId: payload.sub ?? '',
      tenantId: String(payload['tid']),
      roles: payload['roles'] as readonly string[],
    }
  }
}

function unauthenticated(): Error {
  return Object.assign(new Error('Unauthenticated'), { statusCode: 401 })
}

/** Runs statements in a transaction that carries the caller's context, as row-level security needs it. */
export type InTenant<Tables> = <T>(
  caller: Caller,
  run: (trx: Transaction<Tables>) => Promise<T>,
) => Promise<T>

export function openTenantDatabase<Tables>(): InTenant<Tables> {
  const pool = new Pool({ connectionString: settings.databaseUrl, max: 8, statement_timeout: 30_000 })
  const db = new Kysely<Tables>({ dialect: new PostgresDialect({ pool }) })
  return (caller, run) =>
    db.transaction().execute(async (trx) => {
      await sql`select set_config('role', ${settings.role}, true), set_config('app.tenant_id', ${caller.tenantId}, true),
        set_config('app.user_id', ${caller.userId}, true),
        set_config('app.roles', ${caller.roles.join(',')}, true)`.execute(trx)
      return await run(trx)
    })
}

/** Starts the app on the port that it was given. */
export async function listen(app: FastifyInstance): Promise<void> {
  app.get('/health', () => ({ status: 'ok' }))
  await app.listen({ port: Number(process.env['PEER_PORT']), host: '127.0.0.1' })
  process.on('disconnect', () => process.exit())
  process.send?.('ready')
}

export const createServer = (): FastifyInstance => fastify({ trustProxy: '127.0.0.1' })
