import { createHmac, timingSafeEqual, type webcrypto } from 'node:crypto'
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { betterAuth } from 'better-auth'
import { memoryAdapter } from 'better-auth/adapters/memory'
import { createVerifier } from 'fast-jwt'
import { Redis } from 'ioredis'
import { importJWK, jwtVerify } from 'jose'
import { silentLogger } from '@quintet/core'
import { createTrackedCache } from '@quintet/redis'
import {
  createJwtAuthManager,
  createKeyRing,
  createSessionAuthority,
  deriveSecrets,
  type JwtAuthManager,
  type SessionTokens,
} from '@quintet/auth'
import type { Bench, Figure } from './support/bench.ts'
import { median, percentile } from './support/statistics.ts'

/** What each row means. */
export const rows: Bench['rows'] = {
  'session-memory': { about: 'memory of one session held in tracked mode', better: 'lower' },
  'check-strict': { about: 'checks of a token, asking Redis each time, 50 at once', better: 'higher' },
  'check-tracked': { about: 'checks of a token from the tracked cache, 50 at once', better: 'higher' },
  'tracked-cpu': { about: 'CPU of one check from the tracked cache', better: 'lower' },
  'check-fast-jwt': {
    about: 'checks by fast-jwt with its cache and one read of Redis; the ratio is our strict rate by theirs',
    better: 'higher',
  },
  'check-better-auth': {
    about: 'getSession of better-auth; the ratio is our strict rate by theirs',
    better: 'higher',
  },
  'revocation-p99': { about: 'from the revocation to the first refusal in another process', better: 'lower' },
  rotation: { about: 'refreshes of different sessions, 50 at once', better: 'higher' },
  'import-auth': { about: 'loading the built package', better: 'lower' },
}

const concurrency = 50
const issuer = 'https://auth.bench'
const audience = 'bench'
const tenantId = `bench-${process.pid}`

/**
 * Calls per second and CPU microseconds per call, of work that is always in flight so many times. Whole rounds of
 * all contestants alternate, and each one's median counts, so that a busy machine is unfair to nobody.
 */
async function race(
  contestants: Readonly<Record<string, () => Promise<unknown>>>,
  callsPerRound: number,
  rounds = 5,
): Promise<Record<string, { readonly rate: number; readonly cpu: number }>> {
  const measured: Record<string, { rate: number; cpu: number }[]> = {}
  for (let round = 0; round <= rounds; round++) {
    for (const [name, work] of Object.entries(contestants)) {
      const cpu = process.cpuUsage()
      const started = performance.now()
      let left = callsPerRound
      const lane = async (): Promise<void> => {
        while (left-- > 0) await work()
      }
      await Promise.all(Array.from({ length: concurrency }, lane))
      const seconds = (performance.now() - started) / 1_000
      const { user, system } = process.cpuUsage(cpu)
      // The first round warms up.
      if (round > 0)
        (measured[name] ??= []).push({ rate: callsPerRound / seconds, cpu: (user + system) / callsPerRound })
    }
  }
  return Object.fromEntries(
    Object.entries(measured).map(([name, list]) => [
      name,
      { rate: median(list.map(({ rate }) => rate)), cpu: median(list.map(({ cpu }) => cpu)) },
    ]),
  )
}

/** A Redis of our own, so that no other work disturbs. */
async function startRedis(): Promise<{ url: string; stop: () => void }> {
  const port = await freePort()
  const binary = process.env['QUINTET_REDIS_SERVER'] ?? 'redis-server'
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no']
  const server: ChildProcess = spawn(binary, args, { stdio: ['ignore', 'pipe', 'ignore'] })
  if (server.stdout === null) throw new Error('redis-server has no output.')
  for await (const line of createInterface(server.stdout)) if (line.includes('Ready to accept')) break
  return { url: `redis://127.0.0.1:${port}`, stop: () => void server.kill() }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  return port
}

async function trackedManager(
  client: Redis,
  base: Parameters<typeof createJwtAuthManager>[0],
): Promise<JwtAuthManager> {
  let trusted: Promise<void> | undefined
  const manager = createJwtAuthManager({
    ...base,
    freshness: 'tracked',
    track: (options) => {
      const cache = createTrackedCache({ client, maxEntries: 200_000, ...options })
      trusted = cache.whenTrusted()
      return cache
    },
  })
  await trusted
  return manager
}

/** What a careful team writes by hand: jose, one read, one HMAC, and no cache. */
function byHand(
  redis: Redis,
  key: webcrypto.CryptoKey,
  tokens: SessionTokens,
  cnf: string,
): () => Promise<void> {
  const hash = `s:{${tenantId}:alice}:${tokens.session.sessionId}`
  return async () => {
    const { payload } = await jwtVerify(tokens.accessToken, key, { issuer, audience, algorithms: ['ES256'] })
    const [state, refreshId] = await redis.hmget(hash, 'st', 'rt', 'exp')
    const expected = createHmac('sha256', cnf)
      .update(`${tenantId}|${String(payload['sid'])}|${refreshId}`)
      .digest()
    const given = Buffer.from((payload['cnf'] as { fp: string }).fp, 'base64url')
    if (state !== 'a' || !timingSafeEqual(expected, given)) throw new Error('refused')
  }
}

/** The same with fast-jwt and its cache of verified tokens. */
function withFastJwt(redis: Redis, key: string, tokens: SessionTokens, cnf: string): () => Promise<void> {
  const verify = createVerifier({ key, cache: true, allowedIss: issuer, allowedAud: audience })
  const hash = `s:{${tenantId}:alice}:${tokens.session.sessionId}`
  return async () => {
    const payload = verify(tokens.accessToken) as { sid: string; cnf: { fp: string } }
    const [state, refreshId] = await redis.hmget(hash, 'st', 'rt', 'exp')
    const expected = createHmac('sha256', cnf).update(`${tenantId}|${payload.sid}|${refreshId}`).digest()
    if (state !== 'a' || !timingSafeEqual(expected, Buffer.from(payload.cnf.fp, 'base64url')))
      throw new Error('refused')
  }
}

/** better-auth as its users set it up for sessions in Redis, which it reads at each check as ours does. */
async function withBetterAuth(redis: Redis): Promise<() => Promise<void>> {
  const auth = betterAuth({
    baseURL: issuer,
    secret: 'the secret of the bench alone, long enough',
    database: memoryAdapter({ user: [], session: [], account: [], verification: [] }),
    secondaryStorage: {
      get: (key) => redis.get(`better:${key}`),
      getAndDelete: (key) => redis.getdel(`better:${key}`),
      increment: (key) => redis.incr(`better:${key}`),
      set: (key, value) => redis.set(`better:${key}`, value),
      delete: async (key) => void (await redis.del(`better:${key}`)),
    },
    emailAndPassword: { enabled: true },
    rateLimit: { enabled: false },
    telemetry: { enabled: false },
    logger: { disabled: true },
  })
  const account = { email: 'alice@auth.bench', password: 'correct horse battery', name: 'Alice' }
  const answer = await auth.api.signUpEmail({ body: account, asResponse: true })
  const cookie = answer.headers.getSetCookie().map((line) => line.split(';')[0])
  const headers = new Headers({ cookie: cookie.join('; ') })
  return async () => {
    const found = await auth.api.getSession({ headers })
    if (found?.user.email !== account.email) throw new Error('refused')
  }
}

interface Victim {
  readonly tokens: SessionTokens
  readonly end: () => Promise<unknown>
}

/** Milliseconds from sending each revocation to the refusal in another process, which asks in a loop. */
async function revocations(
  manager: { readonly url: string; readonly keys: object; readonly cnf: string },
  nextVictim: () => Promise<Victim>,
  count: number,
): Promise<readonly number[]> {
  const child = spawn(process.execPath, [import.meta.filename, 'refuser'], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, BENCH_REFUSER: JSON.stringify(manager) },
  })
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
  await lines.next()
  const delays: number[] = []
  for (let index = 0; index < count; index++) {
    const { tokens, end } = await nextVictim()
    child.stdin.write(`${tokens.accessToken}\n`)
    if ((await lines.next()).value !== 'accepted')
      throw new Error('The other process did not accept the token.')
    const sentAt = now()
    await end()
    delays.push(Number((await lines.next()).value) - sentAt)
  }
  child.stdin.end()
  await once(child, 'exit')
  return delays
}

/** Comparable between processes of one machine, finer than a millisecond. */
const now = (): number => performance.timeOrigin + performance.now()

async function refuser(): Promise<void> {
  const { url, keys, cnf } = JSON.parse(process.env['BENCH_REFUSER'] ?? '{}') as {
    url: string
    keys: []
    cnf: string
  }
  const redis = new Redis(url, { protocol: 2, maxRetriesPerRequest: 0 })
  const ring = await createKeyRing({ algorithm: 'ES256', keys })
  const manager = await trackedManager(redis, {
    logger: silentLogger,
    sessionRedis: redis,
    keys: ring,
    issuer,
    audience,
    cnf: { secret: cnf },
    lastSeen: false,
  })
  console.log('ready')
  for await (const token of createInterface(process.stdin)) {
    const credentials = { scheme: 'bearer', token } as const
    await manager.authenticate(credentials)
    await manager.authenticate(credentials)
    console.log('accepted')
    for (;;) {
      try {
        await manager.authenticate(credentials)
      } catch {
        console.log(now())
        break
      }
      // Lets the event loop read what Redis has sent; without a pause of its own.
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  await manager.close()
  redis.disconnect()
}

/**
 * Milliseconds that a fresh process takes to import the package as it is published: built, with core and jose
 * beside it.
 */
function importTime(): number {
  const root = mkdtempSync(join(tmpdir(), 'quintet-import-'))
  try {
    for (const name of ['core', 'auth']) install(name, join(root, 'node_modules/@quintet', name))
    const program = `const t = performance.now(); await import('@quintet/auth'); console.log(performance.now() - t)`
    const runs = Array.from({ length: 9 }, () => {
      const args = ['--input-type=module', '-e', program]
      return Number(spawnSync(process.execPath, args, { cwd: root, encoding: 'utf8' }).stdout)
    })
    return median(runs)
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
}

function install(name: string, target: string): void {
  const source = resolve(import.meta.dirname, '../packages', name)
  const tsup = resolve(import.meta.dirname, '../node_modules/.bin/tsup')
  const built = spawnSync(tsup, ['--out-dir', join(target, 'dist'), '--no-clean'], {
    cwd: source,
    encoding: 'utf8',
  })
  if (built.status !== 0) throw new Error(`Building ${name} failed: ${built.stderr}`)
  const manifest = JSON.parse(readFileSync(join(source, 'package.json'), 'utf8')) as {
    publishConfig: { exports: object }
    dependencies: Record<string, string>
  }
  writeFileSync(
    join(target, 'package.json'),
    JSON.stringify({ ...manifest, exports: manifest.publishConfig.exports }),
  )
  for (const dependency of Object.keys(manifest.dependencies)) {
    if (dependency.startsWith('@quintet/')) continue
    const link = join(target, 'node_modules', dependency)
    mkdirSync(dirname(link), { recursive: true })
    symlinkSync(realpathSync(join(source, 'node_modules', dependency)), link)
  }
}

export default async function* measure(): AsyncIterable<Figure> {
  const server = await startRedis()
  const redis = new Redis(server.url, { protocol: 2, maxRetriesPerRequest: 0 })
  // fast-jwt does not know the name Ed25519, and all get the same token.
  const keys = await createKeyRing({ algorithm: 'ES256' })
  const secrets = deriveSecrets('the root secret of the bench, long enough')
  const authority = createSessionAuthority({
    redis,
    keys,
    secrets,
    issuer,
    audience,
    accessTtl: '1h',
    maxSessionsPerUser: 1_000,
  })
  const base = {
    logger: silentLogger,
    sessionRedis: redis,
    keys,
    issuer,
    audience,
    cnf: { secret: secrets.cnf },
    lastSeen: false,
  } as const
  const strict = createJwtAuthManager(base)
  const tracked = await trackedManager(redis, base)
  try {
    // First, while there is no garbage of others to be counted.
    yield await sessionMemory(authority, redis, base)

    const tokens = await authority.signIn({ userId: 'alice', tenantId, roles: ['member'], amr: ['pwd'] })
    const cnf = secrets.cnf.reveal()
    const [stored] = keys.export()
    const { d: _, ...publicJwk } = stored?.jwk ?? {}
    const publicKey = (await importJWK(
      publicJwk as Parameters<typeof importJWK>[0],
      'ES256',
    )) as webcrypto.CryptoKey
    const pem = await publicPem(publicKey)
    const credentials = { scheme: 'bearer', token: tokens.accessToken } as const
    const checks = await race(
      {
        strict: () => strict.authenticate(credentials),
        tracked: () => tracked.authenticate(credentials),
        byHand: byHand(redis, publicKey, tokens, cnf),
        fastJwt: withFastJwt(redis, pem, tokens, cnf),
        betterAuth: await withBetterAuth(redis),
      },
      20_000,
    )
    const rate = (name: string): number => checks[name]?.rate ?? Number.NaN
    const hand = 'jose.jwtVerify + HMGET + HMAC, uncached'
    yield {
      name: 'check-strict',
      value: rate('strict'),
      unit: 'calls/s',
      against: hand,
      ratio: rate('strict') / rate('byHand'),
    }
    yield {
      name: 'check-tracked',
      value: rate('tracked'),
      unit: 'calls/s',
      against: hand,
      ratio: rate('tracked') / rate('byHand'),
    }
    const cpu = checks['tracked']?.cpu ?? Number.NaN
    yield { name: 'tracked-cpu', value: cpu, unit: 'us/call', against: 'a limit of 4 us', ratio: cpu / 4 }
    yield {
      name: 'check-fast-jwt',
      value: rate('fastJwt'),
      unit: 'calls/s',
      against: 'ours (strict) divided by fast-jwt with its cache + HMGET + HMAC',
      ratio: rate('strict') / rate('fastJwt'),
    }

    yield {
      name: 'check-better-auth',
      value: rate('betterAuth'),
      unit: 'calls/s',
      against: 'ours (strict) divided by getSession of better-auth 1.7 with its sessions in Redis',
      ratio: rate('strict') / rate('betterAuth'),
    }

    const nextVictim = async (): Promise<Victim> => {
      const victim = await authority.signIn({ userId: 'victim', tenantId })
      return { tokens: victim, end: () => authority.revoke(victim.session) }
    }
    const delays = await revocations({ url: server.url, keys: keys.export(), cnf }, nextVictim, 500)
    const p99 = percentile(delays, 0.99)
    yield { name: 'revocation-p99', value: p99, unit: 'ms', against: 'a limit of 5 ms', ratio: p99 / 5 }

    const rotating = await Promise.all(
      Array.from({ length: concurrency }, (_each, index) =>
        authority.signIn({ userId: `rotating-${index}`, tenantId }),
      ),
    )
    const free = [...rotating]
    const rotation = await race(
      {
        rotation: async () => {
          const mine = free.shift() as SessionTokens
          free.push(await authority.refresh(mine.refreshToken))
        },
      },
      5_000,
      3,
    )
    const rotations = rotation['rotation']?.rate ?? Number.NaN
    yield {
      name: 'rotation',
      value: rotations,
      unit: 'refreshes/s',
      against: 'a floor of 5000',
      ratio: rotations / 5_000,
    }

    const whole = importTime()
    yield { name: 'import-auth', value: whole, unit: 'ms', against: 'a limit of 40 ms', ratio: whole / 40 }
  } finally {
    await strict.close()
    await tracked.close()
    await authority.close()
    redis.disconnect()
    server.stop()
  }
}

async function publicPem(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await crypto.subtle.exportKey('spki', key)).toString('base64')
  return `-----BEGIN PUBLIC KEY-----\n${der}\n-----END PUBLIC KEY-----\n`
}

/** What a session that is held in tracked mode takes: the token that was verified, its claims, and the session. */
async function sessionMemory(
  authority: ReturnType<typeof createSessionAuthority>,
  redis: Redis,
  base: Parameters<typeof createJwtAuthManager>[0],
): Promise<Figure> {
  const count = 10_000
  const issued: string[] = []
  for (let index = 0; index < count; index++) {
    const { accessToken } = await authority.signIn({ userId: `memory-${index}`, tenantId, roles: ['member'] })
    // A text in one piece: what V8 frees when it joins the parts of one would be counted otherwise.
    issued.push(Buffer.from(accessToken).toString())
  }
  const manager = await trackedManager(redis, {
    ...base,
    tokenCache: { maxEntries: count * 2 + 2 },
  } as typeof base)
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc') as () => void
  const collect = async (): Promise<void> => {
    for (let round = 0; round < 3; round++) {
      await new Promise((resolve) => setImmediate(resolve))
      gc()
    }
  }
  await collect()
  const before = process.memoryUsage().heapUsed
  for (const token of issued) await manager.authenticate({ scheme: 'bearer', token })
  await collect()
  const bytes = (process.memoryUsage().heapUsed - before) / count
  await manager.close()
  const against =
    collect === undefined ? 'nothing; run node with --expose-gc for a figure without garbage' : 'nothing'
  return { name: 'session-memory', value: bytes, unit: 'bytes', against, ratio: null }
}

/** This file is also the program of the other process. */
if (process.argv[2] === 'refuser' && process.argv[1] === import.meta.filename) await refuser()
