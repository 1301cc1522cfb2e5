import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { redisUrl } from '@quintet/test-kit'
import {
  AuthError,
  authErrorCodes,
  jwtAuthManagerDefaults,
  keyRingDefaults,
  remoteJwksDefaults,
  sessionAuthorityDefaults,
  tokenVerifierDefaults,
} from '../src/index.ts'

const root = resolve(import.meta.dirname, '..')
const readme = readFileSync(resolve(root, 'README.md'), 'utf8')
const run = (file: string) =>
  spawnSync(process.execPath, [resolve(root, 'examples', file)], {
    encoding: 'utf8',
    env: { ...process.env, REDIS_URL: redisUrl() },
  })

describe('the README', () => {
  it('lists every error code with its kind, and no other', () => {
    const rows = [...readme.matchAll(/^\| `(ERR_AUTH_\w+)` \| ([a-z-]+) \|/gm)].map(([, code, kind]) => [
      code,
      kind,
    ])
    const known = authErrorCodes.map((code) => [code, new AuthError(code).kind])
    expect(rows.toSorted()).toEqual(known.toSorted())
  })

  it('shows every adapter as it is run', () => {
    const example = readFileSync(resolve(root, 'examples/adapters.ts'), 'utf8')
    const shown = example.slice(example.indexOf('// Web requests'), example.indexOf('// From here on'))
    expect(shown.length).toBeGreaterThan(1_000)
    expect(readme).toContain(shown.trim())
  })

  it('names the defaults that the code has', () => {
    const { accessTtl, idle, absolute, grace, maxSessionsPerUser, clientId, commandTimeout } =
      sessionAuthorityDefaults
    const rows: readonly [string, unknown][] = [
      ...Object.entries({ accessTtl, idle, absolute, grace, clientId }),
      ['lastSeen', jwtAuthManagerDefaults.lastSeen],
      ['watchInterval', jwtAuthManagerDefaults.watchInterval],
      ['freshness', jwtAuthManagerDefaults.freshness],
      ['clockTolerance', tokenVerifierDefaults.clockTolerance],
    ]
    for (const [name, value] of rows) expect(readme).toContain(`| \`${name}\` | \`'${String(value)}'\` |`)
    expect(readme).toContain(`| \`maxSessionsPerUser\` | ${maxSessionsPerUser} |`)
    expect(readme).toContain(`| \`commandTimeout\` | ${commandTimeout} ms |`)
    expect(readme).toContain(`| \`maxTokenLength\` | ${tokenVerifierDefaults.maxTokenLength} |`)
    const spelled = [keyRingDefaults.prepublish, keyRingDefaults.retain, remoteJwksDefaults.cacheTtl]
    for (const value of [...spelled, remoteJwksDefaults.cooldown, remoteJwksDefaults.staleIfError]) {
      expect(readme).toContain(`\`'${value}'\``)
    }
  })
})

describe('the examples', () => {
  it('adapters refuses and admits in front of every framework', () => {
    const { stdout, stderr, status } = run('adapters.ts')
    const http = ['fetch', 'hono', 'node', 'express', 'fastify']
    expect(stderr).toBe('')
    expect(stdout.trim().split('\n')).toEqual([
      ...http.map((name) => `${name} 401 Bearer realm="api" {"userId":"alice"}`),
      'ws 401 chat {"userId":"alice"}',
      'ws 4401 revoked',
    ])
    expect(status).toBe(0)
  })

  it('cookies lets a browser in, and a change only with its CSRF token', () => {
    const { stdout, stderr, status } = run('cookies.ts')
    expect([stderr, stdout, status]).toEqual(['', '403\n{"renamed":"alice"}\n', 0])
  })

  it('sessions signs up, in and out and refreshes with every framework, and no cache keeps an answer', () => {
    const { stdout, stderr } = run('sessions.ts')
    expect(stderr).toBe('')
    const frameworks = ['fetch', 'hono', 'node', 'express', 'fastify']
    expect(stdout.trim().split('\n')).toEqual(frameworks.map((name) => `${name} 200 no-store 401`))
  })

  it('express challenges an anonymous caller', () => {
    const { stdout, stderr } = run('express.ts')
    expect(stderr).toBe('')
    expect(stdout).toBe('401 Bearer realm="api"\n')
  })
})
