import { fork, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { createMigrator, provisionDatabase, type ProvisionedDatabase } from '@quintet/rls/migrations'
import { freePort, until } from '@quintet/test-kit'
import { Client } from 'pg'
import type { Servers, Stack } from './stack.ts'

const root = resolve(import.meta.dirname, '../..')
const apps = ['auth', 'ledger', 'media', 'analytics', 'realtime'] as const

/**
 * What a good team writes by hand with the same guarantees: Fastify apps with jose, a look at the session in Redis on
 * each call, Kysely with `set_config` in a transaction, an outbox to BullMQ, behind nginx. The tables and policies are those of
 * the example apps.
 */
export async function startPeer({ postgresUrl, redisUrl, directory }: Servers): Promise<Stack> {
  const ports = new Map<string, number>()
  for (const app of apps) ports.set(app, await freePort())
  const children: ChildProcess[] = []
  const databases: ProvisionedDatabase[] = []
  for (const app of apps) {
    const database = app === 'realtime' ? undefined : await openDatabase(postgresUrl, app)
    if (database) databases.push(database)
    const child = fork(join(import.meta.dirname, `peer/${app}.ts`), {
      env: {
        ...process.env,
        NODE_ENV: 'production',
        PEER_PORT: String(ports.get(app)),
        PEER_REDIS_URL: redisUrl,
        PEER_DATABASE_URL: database?.url,
        PEER_SYSTEM_URL: database?.systemUrl,
        PEER_ROLE: database?.roles.tenant,
        PEER_JWKS_URL: `http://127.0.0.1:${ports.get('auth')}/.well-known/jwks.json`,
        PEER_DIRECTORY: join(directory, 'peer-objects'),
      },
    })
    children.push(child)
    await once(child, 'message')
  }
  const { nginx, origin } = await startNginx(join(directory, 'peer-nginx'), ports)
  return {
    origin,
    pids: () => Promise.resolve([...children, nginx].map(({ pid }) => pid ?? 0)),
    async [Symbol.asyncDispose]() {
      const ended = [...children, nginx].map((child) => once(child, 'exit'))
      nginx.kill('SIGKILL')
      for (const child of children) child.disconnect()
      await Promise.all(ended)
    },
  }
}

async function openDatabase(adminUrl: string, app: string): Promise<ProvisionedDatabase> {
  const database = await provisionDatabase({ adminUrl, name: `peer_${app}` })
  const folder = join(root, `apps/example-${app}/src/migrations`)
  await createMigrator({ ownerUrl: database.ownerUrl, folder }).up()
  if (app !== 'auth') return database
  const owner = new Client({ connectionString: database.ownerUrl })
  await owner.connect()
  await owner.query(`create table auth_peer_sessions (id uuid primary key, tenant_id uuid not null,
    user_id uuid not null, refresh_hash bytea not null, expires_at timestamptz not null)`)
  await owner.query(`grant select, insert, update, delete on auth_peer_sessions to ${database.roles.system}`)
  await owner.end()
  return database
}

async function startNginx(
  folder: string,
  ports: ReadonlyMap<string, number>,
): Promise<{ nginx: ChildProcess; origin: string }> {
  const port = await freePort()
  mkdirSync(join(folder, 'temp'), { recursive: true })
  const upstreams = [...ports].map(([app, to]) => `upstream ${app} { server 127.0.0.1:${to}; keepalive 32; }`)
  const locations = [...ports.keys()].map(
    (app) =>
      `location /api/${app}/ { proxy_pass http://${app}/; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $remote_addr; proxy_request_buffering off; limit_req zone=all burst=10000 nodelay; }`,
  )
  writeFileSync(
    join(folder, 'nginx.conf'),
    `worker_processes 1; daemon off; master_process off; pid nginx.pid; error_log stderr error;
events { worker_connections 1024; }
http {
  access_log off; client_max_body_size 10g; keepalive_requests 1000000;
  limit_req_zone $binary_remote_addr zone=all:10m rate=10000r/s;
  client_body_temp_path temp/body; proxy_temp_path temp/proxy; fastcgi_temp_path temp/fastcgi; uwsgi_temp_path temp/uwsgi; scgi_temp_path temp/scgi;
  ${upstreams.join('\n  ')}
  server { listen 127.0.0.1:${port};
    ${locations.join('\n    ')}
  }
}
`,
  )
  const nginx = spawn('nginx', ['-p', folder, '-c', join(folder, 'nginx.conf')], { stdio: 'inherit' })
  const origin = `http://127.0.0.1:${port}`
  await until(async () => (await fetch(`${origin}/api/auth/health`)).ok)
  return { nginx, origin }
}
