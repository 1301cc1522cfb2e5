import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import type { ProcessDefinition, System } from '@quintet/core'
import { nameProcedures } from '@quintet/core/kit'
import { createDocument, type OpenApiDocument } from '@quintet/server'
import { Validator } from '@seriousme/openapi-schema-validator'
import { generate } from 'orval'
import { generateApi } from 'swagger-typescript-api'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

/** An app with an operation that clients call by the name that a generator gives it. */
const apps = [
  ['auth', 'accountMe', 'postSignIn'],
  ['media', 'objectsList', 'getRenderImage'],
  ['ledger', 'ledgerTransfer', 'ledgerAccounts'],
  ['analytics', 'statsCounts', 'statsCounts'],
  ['realtime', 'channelsMine', 'channelsMine'],
] as const

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'openapi-'))
})
afterAll(() => rm(folder, { recursive: true }))

/** The document that the app serves at `/openapi.json`. */
async function documentOf(app: string): Promise<OpenApiDocument> {
  const source = resolve(import.meta.dirname, `../../example-${app}/src`)
  const { default: system } = (await import(join(source, 'bootstrap.ts'))) as { default: System }
  const entry = system.processes.find(({ transports }) => 'http' in transports)
  const { default: definition } = (await import(join(source, entry?.module as string))) as {
    default: ProcessDefinition
  }
  const { services, routes } = definition
  const document = createDocument({ system, procedures: nameProcedures(services), routes })
  return JSON.parse(JSON.stringify(document)) as OpenApiDocument
}

describe.each(apps)('the OpenAPI document of %s', (app, procedure, other) => {
  it('passes a public validator', async () => {
    expect(await new Validator().validate((await documentOf(app)) as never)).toEqual({ valid: true })
  })

  it('is understood by two public generators of clients', async () => {
    const spec = await documentOf(app)
    const [target, client] = [join(folder, `${app}.json`), join(folder, `${app}.ts`)]
    await writeFile(target, JSON.stringify(spec))
    const { files } = await generateApi({ spec: spec as never, silent: true, output: false })
    await generate({
      input: { target },
      output: { target: client, client: 'fetch', mode: 'single' },
    } as never)
    for (const code of [files[0]?.fileContent ?? '', await readFile(client, 'utf8')]) {
      expect(code).toContain(procedure)
      expect(code).toContain(other)
    }
  })
})
