import { execFile } from 'node:child_process'
import { readdir, readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { statusOf } from '@quintet/core/http'
import { isErrorKind } from '@quintet/core/kit'
import { linksDefaults } from '../src/link.ts'
import { httpLinkDefaults, socketLinkDefaults } from '../src/client.ts'
import { serverError } from '../src/errors.ts'
import { compressionDefaults, httpDefaults, serverErrorCodes, webSocketDefaults } from '../src/index.ts'

const root = new URL('../', import.meta.url)
const readme = await readFile(new URL('README.md', root), 'utf8')

async function run(example: string): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, [
    new URL(`examples/${example}`, root).pathname,
  ])
  return stdout
}

/** The rows of the options table under a heading: the option, and what the README says of its default. */
function optionRows(heading: string): ReadonlyMap<string, string> {
  const section = readme.slice(readme.indexOf(heading)).split('\n## ')[0] ?? ''
  return new Map(
    [...section.matchAll(/^\| `(\w+)` \| ([^|]*) \|/gm)].map(([, name = '', value = '']) => [
      name,
      value.trim(),
    ]),
  )
}

/** A value as the README writes it. */
function shown(value: unknown): string {
  if (typeof value !== 'object' || value === null)
    return typeof value === 'string' ? `'${value}'` : String(value)
  return `{ ${Object.entries(value)
    .map(([key, member]) => `${key}: ${shown(member)}`)
    .join(', ')} }`
}

describe('the README', () => {
  it('names an example with two processes, which runs', async () => {
    expect(readme).toContain('examples/siblings.ts')
    expect(await run('siblings.ts')).toBe('[ 255, 254, 0 ]\n')
  })

  it('states the defaults that the code has', () => {
    const http = optionRows('## `http(options)`')
    for (const [name, value] of Object.entries(httpDefaults))
      expect([name, http.get(name)]).toEqual([name, `\`${shown(value)}\``])
    expect(http.get('compression')).toBe(`\`${shown(compressionDefaults)}\``)
    const socket = optionRows('## `websocket(options)`')
    const { port, host, path, ...rest } = webSocketDefaults
    expect(readme).toContain(
      `| \`port\`, \`host\`, \`path\` | \`${String(port)}\`, \`'${host}'\`, \`'${path}'\` |`,
    )
    for (const [name, value] of Object.entries(rest))
      expect([name, socket.get(name)]).toEqual([name, `\`${shown(value)}\``])
    const links = optionRows('## `createLinks(options)`')
    for (const [name, value] of Object.entries(linksDefaults))
      expect([name, links.get(name)]).toEqual([name, `\`${shown(value)}\``])
    for (const { timeout } of [httpLinkDefaults, socketLinkDefaults])
      expect(readme).toContain(`\`timeout\` (\`'${timeout}'\`)`)
  })

  it('lists the error codes with their kinds, and the code throws each', async () => {
    const rows = [...readme.matchAll(/^\| `(ERR_SERVER_\w+)` \| ([\w-]+) \|/gm)].map(([, code, kind]) => [
      code,
      kind,
    ])
    expect(rows).toEqual(serverErrorCodes.map((code) => [code, serverError(code, '').kind]))
    expect(rows.every(([, kind]) => isErrorKind(kind))).toBe(true)
    const files = (await readdir(new URL('src/', root), { recursive: true })).filter(
      (file) => file.endsWith('.ts') && file !== 'errors.ts',
    )
    const source = (
      await Promise.all(files.map((file) => readFile(new URL(`src/${file}`, root), 'utf8')))
    ).join('\n')
    for (const code of serverErrorCodes) expect([code, source.includes(`'${code}'`)]).toEqual([code, true])
  })

  it('says which status a kind has', () => {
    const sentence = readme.slice(readme.indexOf("An error's kind decides")).split('\n\n')[0] ?? ''
    expect(sentence).toContain(`not-found ${String(statusOf(serverError('ERR_SERVER_NOT_FOUND', '')))}`)
    expect(sentence).toContain(
      `closed and unavailable ${String(statusOf(serverError('ERR_SERVER_CLOSED', '')))}`,
    )
    expect(sentence).toContain(`too-large ${String(statusOf(serverError('ERR_SERVER_TOO_LARGE', '')))}`)
  })
})
