import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createTestAuth, type TestAuth } from '@quintet/auth/testing'
import { jwksAnswer } from '@quintet/auth'
import type { RedisClients } from '@quintet/redis'

/** Who signs in at the auth app of a test. */
export interface TestMember {
  readonly tenantId: string
  readonly userId: string
  readonly roles?: readonly string[]
}

/** Stands for the auth app: it signs tokens, keeps sessions in Redis and publishes its keys over HTTP. */
export interface TestIdentity extends AsyncDisposable {
  readonly auth: TestAuth
  readonly jwksUrl: string
  /** The `Authorization` of a session that was just started. */
  signIn(member: TestMember): Promise<{ readonly authorization: string }>
}

/** @param redis where the app under test looks for sessions. */
export async function openTestIdentity(redis: RedisClients): Promise<TestIdentity> {
  const auth = await createTestAuth({ redis: redis.client('sessions') })
  const server = createServer((_, response) => {
    const { headers, body } = jwksAnswer(auth.keys)
    response.writeHead(200, headers).end(body)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    auth,
    jwksUrl: `http://127.0.0.1:${port}/.well-known/jwks.json`,
    signIn: (member) => auth.authorization(member),
    async [Symbol.asyncDispose]() {
      server.close()
      server.closeAllConnections()
      await auth.close()
    },
  }
}
