import { randomBytes, randomUUID } from 'node:crypto'
import { hash, verify } from '@node-rs/argon2'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { Pool } from 'pg'
import { z } from 'zod'
import {
  audience,
  createServer,
  createVerifier,
  issuer,
  listen,
  redis,
  settings,
  type Caller,
} from './app.ts'

const argon2 = { memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const
const { publicKey, privateKey } = await generateKeyPair('EdDSA')
const jwks = { keys: [{ ...(await exportJWK(publicKey)), kid: '1', alg: 'EdDSA', use: 'sig' }] }
const pool = new Pool({ connectionString: settings.systemUrl, max: 4 })

const Credentials = z.strictObject({
  tenant: z.string().max(64),
  email: z.email(),
  password: z.string().min(12).max(256),
})

const app = createServer()
app.get('/.well-known/jwks.json', () => jwks)

/** Counts attempts by account and by address in one round trip. */
async function admit(account: string, address: string): Promise<string> {
  const key = `peer:attempts:${account}:${address}`
  const counted = await redis.multi().incr(key).expire(key, 900).incr(`peer:address:${address}`).exec()
  if (Number(counted?.[0]?.[1]) > 10) throw Object.assign(new Error('Too many attempts'), { statusCode: 429 })
  return key
}

async function startSession(caller: Caller): Promise<Record<string, unknown>> {
  const [sid, generation, refreshToken] = [randomUUID(), randomUUID(), randomBytes(32).toString('base64url')]
  await pool.query(
    `insert into auth_peer_sessions (id, tenant_id, user_id, refresh_hash, expires_at)
     values ($1, $2, $3, sha256($4::bytea), now() + interval '30 days')`,
    [sid, caller.tenantId, caller.userId, Buffer.from(refreshToken)],
  )
  await redis
    .multi()
    .hset(`peer:session:${sid}`, { user: caller.userId, gen: generation })
    .expire(`peer:session:${sid}`, 2_592_000)
    .exec()
  const accessToken = await new SignJWT({
    sid,
    tid: caller.tenantId,
    gen: generation,
    roles: [...caller.roles],
  })
    .setProtectedHeader({ alg: 'EdDSA', kid: '1' })
    .setSubject(caller.userId)
    .setIssuer(issuer)
    .setAudience(audience)
    .setIssuedAt()
    .setExpirationTime('5m')
    .sign(privateKey)
  return { accessToken, refreshToken, user: { id: caller.userId, tenantId: caller.tenantId } }
}

async function addUser(
  tenantId: string,
  user: z.infer<typeof Credentials>,
  roles: readonly string[],
): Promise<Caller> {
  const passwordHash = await hash(user.password, argon2)
  const { rows } = await pool.query<{ id: string }>(
    `with made as (insert into users (tenant_id, email, name, roles) values ($1, $2, $2, $3) returning id)
     insert into passwords (user_id, hash) select id, $4 from made returning user_id as id`,
    [tenantId, user.email, [...roles], passwordHash],
  )
  return { tenantId, userId: rows[0]?.id ?? '', roles }
}

app.post('/sign-up', async (request) => {
  const user = Credentials.extend({ name: z.string().max(100) }).parse(request.body)
  const { rows } = await pool.query<{ id: string }>('insert into tenants (slug) values ($1) returning id', [
    user.tenant,
  ])
  return startSession(await addUser(rows[0]?.id ?? '', user, ['owner']))
})

app.post('/sign-in', async (request, reply) => {
  const { tenant, email, password } = Credentials.parse(request.body)
  const attempts = await admit(`${tenant}/${email}`, request.ip)
  const { rows } = await pool.query<{ id: string; tenant_id: string; roles: string[]; hash: string }>(
    `select users.id, tenant_id, roles, hash from users join tenants on tenants.id = tenant_id
     join passwords on user_id = users.id where slug = $1 and email = $2`,
    [tenant, email],
  )
  const [user] = rows
  if (user === undefined || !(await verify(user.hash, password)))
    throw Object.assign(new Error('Wrong credentials'), { statusCode: 401 })
  await redis.del(attempts)
  void reply.header('cache-control', 'no-store')
  return startSession({ tenantId: user.tenant_id, userId: user.id, roles: user.roles })
})

const caller = createVerifier()
const invitations = new Map<string, { readonly tenantId: string; readonly email: string }>()
app.post('/rpc/members/invite', async (request) => {
  const { tenantId, roles } = await caller(request)
  if (!roles.includes('owner')) throw Object.assign(new Error('Forbidden'), { statusCode: 403 })
  const { email } = Credentials.pick({ email: true }).parse(request.body)
  const token = randomUUID()
  invitations.set(token, { tenantId, email })
  return { token }
})
app.post('/invitations/accept', async (request) => {
  const { token, password } = Credentials.pick({ password: true })
    .extend({ token: z.string(), name: z.string().max(100) })
    .parse(request.body)
  const invitation = invitations.get(token)
  if (invitation === undefined) throw Object.assign(new Error('Not found'), { statusCode: 404 })
  invitations.delete(token)
  const { tenantId, email } = invitation
  return startSession(await addUser(tenantId, { email, password, tenant: '' }, ['member']))
})
await listen(app)
