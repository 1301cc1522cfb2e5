import { mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openSecrets } from '../../src/state/secrets.ts'

let file: string
beforeEach(async () => {
  file = join(await mkdtemp(join(tmpdir(), 'quintet-secrets-')), 'secrets.json')
})
afterEach(() => rm(join(file, '..'), { recursive: true, force: true }))

describe('openSecrets', () => {
  it('makes a secret once and keeps it where only its user can read it', async () => {
    const first = openSecrets(file).get('shared:cnf')
    expect(Buffer.from(first, 'base64url')).toHaveLength(32)
    expect(openSecrets(file).get('shared:cnf')).toBe(first)
    expect(openSecrets(file).get('shared:jobs')).not.toBe(first)
    expect((await stat(file)).mode & 0o777).toBe(0o600)
  })

  it('gives out no secret that it could not keep', async () => {
    const secrets = openSecrets(file)
    await mkdir(`${file}.new`)
    // The failed attempt takes away what stood in its way.
    expect(() => secrets.get('shared:cnf')).toThrow('cannot be written')
    expect(secrets.find('shared:cnf')).toBeUndefined()
    expect(openSecrets(file).find('shared:cnf')).toBeUndefined()
    expect(secrets.get('shared:cnf')).toBe(openSecrets(file).find('shared:cnf'))
  })

  it('forgets a secret', () => {
    const secrets = openSecrets(file)
    secrets.get('old')
    secrets.replace({ old: undefined, new: 'x' })
    expect(openSecrets(file).names).toEqual(['new'])
  })

  it('refuses a file that it cannot read, without showing what is in it', async () => {
    await writeFile(file, '{"secrets":{"shared:cnf":"hidden"')
    expect(() => openSecrets(file)).toThrow(/secrets\.json: it is not valid JSON/)
    expect(() => openSecrets(file)).not.toThrow(/hidden/)
  })
})
