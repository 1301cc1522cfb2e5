import { execFile } from 'node:child_process'
import { readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { postgresUrl } from '@quintet/test-kit'
import { Client } from 'pg'
import { describe, expect, it } from 'vitest'
import { rlsPoolDefaults } from '../src/index.ts'
import { lintDefaults } from '../src/catalogue.ts'
import { advisoryLockDefaults, backupDefaults, singletonJobDefaults } from '../src/data.ts'

const root = join(import.meta.dirname, '..')
const readme = await readFile(join(root, 'README.md'), 'utf8')

const sources = async (): Promise<string> => {
  const files = await readdir(join(root, 'src'), { recursive: true })
  const texts = await Promise.all(
    files.filter((file) => file.endsWith('.ts')).map((file) => readFile(join(root, 'src', file), 'utf8')),
  )
  return texts.join('\n')
}

describe('the README', () => {
  it('shows the example that runs', { timeout: 30_000 }, async () => {
    const example = await readFile(join(root, 'examples/tenants.ts'), 'utf8')
    expect(readme).toContain(example.trim())
    try {
      const { stdout } = await promisify(execFile)(process.execPath, [join(root, 'examples/tenants.ts')], {
        env: { ...process.env, DATABASE_URL: postgresUrl() },
      })
      expect(stdout).toBe('acme sees 1, globex sees 0\nnobody: 42501\n')
    } finally {
      const admin = new Client({ connectionString: postgresUrl() })
      await admin.connect()
      await admin.query('drop database if exists notes_example with (force)')
      for (const role of ['tenant', 'login', 'system', 'owner'])
        await admin.query(`drop role if exists notes_example_${role}`)
      await admin.end()
    }
  })

  it('lists the codes that the package throws, and no others', async () => {
    const text = await sources()
    const union = /export type RlsErrorCode =([^]*?)\n\n/.exec(text)?.[1] ?? ''
    const declared = [...union.matchAll(/ERR_RLS_\w+/g)].map(([code]) => code)
    const listed = [...readme.matchAll(/^\| `(ERR_RLS_\w+)`/gm)].map(([, code]) => code)
    expect(listed).toEqual(declared)
    for (const code of declared) expect(text.split(`'${code}'`).length, code).toBeGreaterThan(2)
  })

  it('names every option of the pool with its default', () => {
    for (const [option, value] of Object.entries(rlsPoolDefaults)) {
      expect(readme).toMatch(new RegExp(`\`${option}\`.*\\| \`'?${String(value)}'?\``))
    }
  })

  it('and the doc comments tell the defaults', async () => {
    const text = await sources()
    const told = (name: string): string =>
      new RegExp(
        `@defaultValue \`?([^\`\\n]*?)\`?(?: \\*/)?\\n(?:\\s*\\*/\\n)?\\s*readonly ${name}\\?:`,
      ).exec(text)?.[1] ?? ''
    for (const [name, value] of Object.entries({
      ...rlsPoolDefaults,
      ...advisoryLockDefaults,
      ...lintDefaults,
      ...singletonJobDefaults,
    })) {
      if (name === 'timeout') continue
      expect(told(name), name).toBe(typeof value === 'string' ? `'${value}'` : String(value))
    }
    expect(text).toContain(`0 asks once. @defaultValue \`'${advisoryLockDefaults.timeout}'\``)
    expect(text).toContain(`for the backup in turn.\n   * @defaultValue \`'${backupDefaults.lockTimeout}'\``)
  })
})
