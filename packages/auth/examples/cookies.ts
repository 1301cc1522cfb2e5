import { Redis } from 'ioredis'
import { createSessionCookies } from '@quintet/auth'
import { fetchAuth, fetchFacts } from '@quintet/auth/fetch'
import { createTestAuth } from '@quintet/auth/testing'

const redis = new Redis(process.env['REDIS_URL'] ?? 'redis://127.0.0.1:6379', { maxRetriesPerRequest: 0 })
const auth = await createTestAuth({ redis })
const { authority, manager, clock } = auth
const cookies = createSessionCookies({ csrfSecret: auth.secrets.csrf, refreshPath: '/refresh', clock })

const withCookies = (values: readonly string[]): Response =>
  new Response(null, { status: 204, headers: values.map((value): [string, string] => ['set-cookie', value]) })

const rename = fetchAuth({ manager, cookies }, (_request, { userId }) => Response.json({ renamed: userId }))

async function app(request: Request): Promise<Response> {
  switch (new URL(request.url).pathname) {
    case '/sign-in':
      // After the password, or better a passkey, was verified.
      return withCookies(cookies.set(await authority.signIn({ userId: 'alice', tenantId: auth.tenantId })))
    case '/refresh': {
      const token = cookies.refreshToken(fetchFacts(request)) ?? ''
      return withCookies(cookies.set(await authority.refresh(token)))
    }
    case '/rename':
      return await rename(request)
    default:
      return new Response(null, { status: 404 })
  }
}

// What a browser does with them.
const jar = new Map<string, string>()
async function browse(path: string, headers: Record<string, string> = {}): Promise<Response> {
  const cookie = [...jar].map((pair) => pair.join('=')).join('; ')
  const response = await app(
    new Request(`https://app.example.com${path}`, { method: 'POST', headers: { cookie, ...headers } }),
  )
  for (const line of response.headers.getSetCookie()) {
    const [name = '', value = ''] = (line.split(';')[0] ?? '').split(/=(.*)/s)
    jar.set(name, value)
  }
  return response
}

await browse('/sign-in')
await browse('/refresh')
console.log((await browse('/rename')).status)
console.log(await (await browse('/rename', { 'x-csrf-token': jar.get('__Host-csrf') ?? '' })).text())
await auth.close()
redis.disconnect()
