import { startPrivateRedis, until } from '@quintet/test-kit'
import { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import { appRoute } from '../support/gateway.ts'
import { nginxIsInstalled, startNginx } from '../support/nginx.ts'
import { startUpstream } from '../support/upstream.ts'

describe.runIf(nginxIsInstalled)(
  'an nginx behind a trusted proxy that is in the network of the operators',
  () => {
    it('lets operators through maintenance, and nobody whom the proxy does not name', async () => {
      await using upstream = await startUpstream()
      await using server = await startPrivateRedis()
      const flags = new Redis(server.url)
      await using nginx = await startNginx({
        routes: [appRoute([upstream.url])],
        trustedProxies: ['127.0.0.1'],
        maintenance: {
          redis: { host: '127.0.0.1', port: server.port },
          interval: '100ms',
          allow: { addresses: ['127.0.0.0/8'] },
        },
      })
      const status = async (client: string): Promise<number> =>
        (await fetch(`${nginx.url}/api/app/`, { headers: { 'x-forwarded-for': client } })).status
      await flags.set('platform:maintenance', '1')
      await until(async () => (await status('203.0.113.5')) === 503)
      for (const client of ['203.0.113.5:51234', '[2001:db8::1]:443', 'unknown', '_hidden'])
        expect([client, await status(client)]).toEqual([client, 503])
      expect(await status('127.0.0.9')).toBe(200)
      flags.disconnect()
    })
  },
)
