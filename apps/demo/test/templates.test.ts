import { access, readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { parseEnv } from 'node:util'
import { env, type System } from '@quintet/core'
import { loadConfig } from '@quintet/core/kit'
import { describe, expect, it } from 'vitest'

const apps = ['auth', 'media', 'ledger', 'analytics', 'realtime'] as const

describe.each(apps)('the template example-%s', (app) => {
  const folder = resolve(import.meta.dirname, `../../example-${app}`)
  const read = (file: string): Promise<string> => readFile(join(folder, file), 'utf8')

  it('starts with the variables that its .env.example lists, and with no other', async () => {
    const variables = parseEnv(await read('.env.example'))
    const { default: system } = (await import(join(folder, 'src/bootstrap.ts'))) as { default: System }
    const { schema } = system.config ?? {}
    if (schema === undefined) throw new Error('The system has no configuration.')
    const sources = [env(`${app.toUpperCase()}_`)]
    const { origins } = await loadConfig({ schema, sources, env: variables as Record<string, string> })
    expect(origins.size).toBe(Object.keys(variables).length)
  })

  it('explains each of them in its README', async () => {
    const listed = [...(await read('README.md')).matchAll(/^\| `([A-Z_]+)` \|/gm)].map(([, name]) => name)
    expect(listed.toSorted()).toEqual(Object.keys(parseEnv(await read('.env.example'))).toSorted())
  })

  it('has the files that its README names', async () => {
    const links = [...(await read('README.md')).matchAll(/\]\(([^)#:]+)\)/g)].map(([, link = '']) => link)
    expect(links.length).toBeGreaterThan(3)
    for (const link of links) await expect(access(join(folder, link))).resolves.toBeUndefined()
  })
})
