import { createApp } from '@quintet/core'
import { startPrivateRedis, until } from '@quintet/test-kit'
import { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import { maintenanceRedisAcl } from '../../src/index.ts'
import system from '../../src/system/gateway-system.ts'
import { appRoute, startGateway } from '../support/gateway.ts'
import { startUpstream } from '../support/upstream.ts'

describe('the flags of maintenance', () => {
  it('are read by a user that has no other rights', async () => {
    await using upstream = await startUpstream()
    await using server = await startPrivateRedis()
    const admin = new Redis(server.url)
    await admin.call('ACL', 'SETUSER', 'gateway', 'reset', 'on', '>secret', ...maintenanceRedisAcl())
    const app = await createApp(system, {
      env: {
        GATEWAY_ROUTES: JSON.stringify([{ name: 'media', path: '/api/media/', upstreams: [upstream.url] }]),
        GATEWAY_REDIS__URL: server.url.replace('//', '//gateway:secret@'),
      },
      ports: { http: 0 },
    })
    const url = app.transports.get('http')?.url
    expect((await fetch(`${url}/api/media/`)).status).toBe(200)
    await admin.set('platform:maintenance:media', '1')
    await until(async () => (await fetch(`${url}/api/media/`)).status === 503)
    await app.stop()

    const user = new Redis(server.url, { username: 'gateway', password: 'secret' })
    await expect(user.get('platform:other')).rejects.toThrow('NOPERM')
    await expect(user.set('platform:maintenance', '0')).rejects.toThrow('NOPERM')
    await expect(user.keys('*')).rejects.toThrow('NOPERM')
    user.disconnect()
    admin.disconnect()
  })

  it.each(['a b', 'a*', '[a]', ''])('have no rights for the prefix %j', (prefix) => {
    expect(() => maintenanceRedisAcl(prefix)).toThrow('prefix')
  })

  it('are read from a server in cluster mode, which answers no question about several keys', async () => {
    await using upstream = await startUpstream()
    await using server = await startPrivateRedis({ args: ['--cluster-enabled', 'yes'] })
    const admin = new Redis(server.url)
    await admin.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383')
    await until(async () => String(await admin.call('CLUSTER', 'INFO')).includes('cluster_state:ok'))
    await using gateway = await startGateway({
      routes: [appRoute([upstream.url])],
      maintenance: { redis: admin, interval: 20 },
    })
    expect((await fetch(`${gateway.url}/api/app/`)).status).toBe(200)
    await admin.set('platform:maintenance:app', '1')
    await until(async () => (await fetch(`${gateway.url}/api/app/`)).status === 503)
    admin.disconnect()
  })
})
