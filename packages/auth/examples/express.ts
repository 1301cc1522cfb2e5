import express from 'express'
import { Redis } from 'ioredis'
import { createLogger } from '@quintet/core/logger'
import { createJwtAuthManager, remoteJwks } from '@quintet/auth'
import { expressAuth } from '@quintet/auth/express'

const redis = new Redis(process.env['REDIS_URL'] ?? 'redis://127.0.0.1:6379', { maxRetriesPerRequest: 0 })
const manager = createJwtAuthManager({
  logger: createLogger(),
  sessionRedis: redis,
  keys: remoteJwks('https://auth.example.com/.well-known/jwks.json'),
  cnf: { secret: process.env['CNF_SECRET'] ?? 'only for this example: 32 bytes or more' },
  issuer: 'https://auth.example.com',
  audience: 'media',
})

const app = express()
app.use('/admin', expressAuth({ manager, access: { roles: ['admin'] } }))
app.get('/admin/me', (_request, response) => void response.json(response.locals['principal']))

const server = app.listen(0, async () => {
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : undefined
  const response = await fetch(`http://127.0.0.1:${port}/admin/me`)
  console.log(response.status, response.headers.get('www-authenticate'))
  server.close()
  await manager.close()
  redis.disconnect()
})
