import { request } from 'node:http'
import { describe, expect, it } from 'vitest'
import { readForwarded, parseAddressList } from '@quintet/core/http'
import { appRoute, startGateway } from '../support/gateway.ts'
import { nginxIsInstalled, startNginx } from '../support/nginx.ts'
import { startUpstream, type Echo } from '../support/upstream.ts'

const proxies = parseAddressList(['127.0.0.1'], 'proxies')

/** What a trusted proxy may say; a list where it says it in two header lines, of which nginx before 1.23 reads the first alone. */
const words: readonly Readonly<Record<string, string | readonly string[]>>[] = [
  {},
  { 'x-forwarded-for': '203.0.113.9:51234' },
  { 'x-forwarded-for': '[2001:db8::1]:443' },
  { 'x-forwarded-proto': 'https', 'x-forwarded-host': 'shop.example', 'x-forwarded-prefix': '/front' },
  { 'x-forwarded-proto': 'https, http', 'x-forwarded-host': 'evil.example, shop.example:8443' },
  { 'x-forwarded-proto': ['http', 'HTTPS'], 'x-forwarded-host': ['evil.example', 'shop.example'] },
  { 'x-forwarded-prefix': '/evil, /front/door/' },
  { 'x-forwarded-prefix': ['/evil', '/front'] },
  { 'x-forwarded-proto': 'ftp', 'x-forwarded-host': 'a:b:c', 'x-forwarded-prefix': '/a@b' },
  { 'x-forwarded-proto': 'https x', 'x-forwarded-host': 'user@host', 'x-forwarded-prefix': '/../a' },
  { 'x-forwarded-host': '[::1]:8080', 'x-forwarded-prefix': `/${'a'.repeat(600)}` },
]

describe.runIf(nginxIsInstalled)('what a trusted proxy says', () => {
  it.each([
    ['the gateway', startGateway, words],
    ['the generated nginx', startNginx, words.filter((said) => Object.values(said).every(isOneLine))],
  ] as const)('is read by %s as by the apps behind it', async (_, start, said) => {
    await using upstream = await startUpstream()
    await using door = await start({
      routes: [appRoute([upstream.url], { stripPrefix: false })],
      trustedProxies: ['127.0.0.1'],
    })
    for (const headers of said) {
      const { address, protocol, host, prefix } = readForwarded(headers, '127.0.0.1', proxies)
      const seen = (await ask(`${door.url}/api/app/x`, headers)).headers
      expect({ headers, ...read(seen) }).toEqual({
        headers,
        client: address,
        protocol: protocol ?? 'http',
        host: host ?? new URL(door.url).host,
        prefix,
      })
    }
  })
})

function isOneLine(value: string | readonly string[]): boolean {
  return typeof value === 'string'
}

function read(headers: Echo['headers']): Readonly<Record<string, string | undefined>> {
  return {
    client: headers['x-forwarded-for']?.split(',')[0],
    protocol: headers['x-forwarded-proto'],
    host: headers['x-forwarded-host'],
    prefix: headers['x-forwarded-prefix'] ?? '',
  }
}

/** Not by fetch, which joins header lines. */
function ask(url: string, headers: (typeof words)[number]): Promise<Echo> {
  const { promise, resolve, reject } = Promise.withResolvers<Echo>()
  const asked = request(url, { headers: headers as Record<string, string | string[]> }, (response) => {
    let text = ''
    response.on('data', (chunk: Buffer) => (text += chunk.toString()))
    response.on('end', () => resolve(JSON.parse(text) as Echo))
  })
  asked.on('error', reject).end()
  return promise
}
