import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadPlan } from '../../src/index.ts'
import { trioConfig, trioPlan } from '../trio.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quintet-plan-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const [core, ecosystem] = ['index.ts', 'ecosystem.ts'].map((entry) =>
  JSON.stringify(pathToFileURL(join(import.meta.dirname, '../../../core/src', entry)).href),
)

let files = 0
/** Writes an ecosystem of the apps given as `[name, more options of the system]`, and loads its plan. */
async function load(apps: readonly (readonly [string, string, string?])[], more = ''): Promise<unknown> {
  files += 1
  const entries: string[] = []
  for (const [name, system, entry = ''] of apps) {
    const file = `${name}-${files}.ts`
    await writeFile(
      join(folder, file),
      `import { defineSystem } from ${core}
       export default defineSystem({ name: '${name}', version: '1.0.0', processes: [{ name: 'http', module: './x.ts' }], ${system} })`,
    )
    entries.push(`{ name: '${name}', bootstrap: './${file}', ${entry} }`)
  }
  const config = join(folder, `quintet-${files}.config.ts`)
  await writeFile(
    config,
    `import { defineEcosystem } from ${ecosystem}\nexport default defineEcosystem({ project: 'p', apps: [${entries.join(',')}], ${more} })`,
  )
  return loadPlan(config)
}

describe('loadPlan', () => {
  it('gives plain data in start order that survives JSON', async () => {
    const plan = await trioPlan()
    expect(JSON.parse(JSON.stringify(plan))).toEqual(plan)
    expect(plan.processes.map((each) => each.id)).toEqual([
      'one/http',
      'two/http',
      'three/http',
      'gateway/http',
    ])
    expect(plan.processes[2]).toMatchObject({
      dependsOn: [['two/http']],
      critical: false,
      health: { interval: 200, timeout: 200, retries: 2 },
    })
    expect(plan.processes[0]).toMatchObject({ critical: true })
    expect(plan.gateway?.routes.map((route) => route.path)).toEqual(['/api/one/', '/api/two/', '/api/three/'])
    expect(plan.configFile).toBe(trioConfig)
  })

  it('puts the migrations of an app before its processes', async () => {
    const plan = await load([['a', `requires: { postgres: true, migrations: './migrations' }`]])
    expect(plan).toMatchObject({
      processes: [
        { id: 'a/migrate', kind: 'task', dependsOn: [] },
        { id: 'a/http', kind: 'service', dependsOn: [['a/migrate']] },
      ],
    })
  })

  it('leaves out an app that is not enabled', async () => {
    const plan = await load([
      ['a', ''],
      ['b', '', 'enabled: false'],
    ])
    expect(plan).toMatchObject({ apps: [{ name: 'a' }], processes: [{ id: 'a/http' }] })
  })

  const bad: readonly (readonly [string, () => Promise<unknown>, RegExp])[] = [
    [
      'a file that is not there',
      () => loadPlan(join(folder, 'missing.ts')),
      /There is no ecosystem file .*missing\.ts/,
    ],
    [
      'an unknown key, with what was probably meant',
      () => load([['a', '']], 'loging: {}'),
      /unknown key "loging"\. Did you mean "logging"\?/,
    ],
    [
      'a bootstrap file that is not there',
      () => load([['a', '', `bootstrap: './nope.ts'`]]),
      /apps\.a\.bootstrap: there is no file .*nope\.ts/,
    ],
    [
      'a command that is no program',
      () => load([['a', '', `bootstrap: undefined, command: ['no-such-program']`]]),
      /apps\.a\.command: there is no program "no-such-program" in the folders of PATH/,
    ],
    [
      'a command that is no program of its folder',
      () => load([['a', '', `bootstrap: undefined, command: ['./no-such-program']`]]),
      /apps\.a\.command: .*no-such-program is no program that may be run/,
    ],
    [
      'a folder of a command that is not there',
      () => load([['a', '', `bootstrap: undefined, command: ['true'], cwd: './nowhere'`]]),
      /apps\.a\.cwd: there is no folder .*nowhere/,
    ],
    [
      'a bootstrap file that throws',
      () => load([['a', `hooks: (() => { throw new Error('boom') })()`]]),
      /apps\.a\.bootstrap: .*cannot be loaded: boom/,
    ],
    [
      'an app with another name than its system',
      () => load([['a', '', `name: 'b'`]]),
      /apps\.b: its bootstrap file .* defines the system "a"/,
    ],
    [
      'a priority that contradicts dependsOn',
      () =>
        load([
          ['a', ''],
          ['b', 'shutdown: { priority: 15 }', `dependsOn: ['a']`],
        ]),
      /"b" depends on "a" and so stops before it, but its shutdown\.priority 15/,
    ],
    [
      'an app that requires a Redis that the ecosystem forbids',
      () => load([['a', 'requires: { redis: true }']], 'infrastructure: { redis: false }'),
      /infrastructure\.redis: is false, but the app "a" requires it/,
    ],
    [
      'an app that requires a PostgreSQL that the ecosystem forbids',
      () => load([['a', 'requires: { postgres: true }']], 'infrastructure: { postgres: false }'),
      /infrastructure\.postgres: is false, but the app "a" requires it/,
    ],
    [
      'two servers, or a server and a transport, on one port',
      () =>
        load(
          [
            [
              'a',
              `requires: { postgres: true }, processes: [{ name: 'http', module: './x.ts', transports: { http: { name: 'http', port: 5544, start() {} } } }]`,
            ],
          ],
          'infrastructure: { postgres: { port: 5544 } }',
        ),
      /a\/http: port 5544 is that of infrastructure\.postgres already/,
    ],
    [
      'an answer that was cut off, because the process was killed',
      () =>
        load([
          [
            'a',
            `hooks: (() => { process.getBuiltinModule('fs').writeSync(3, '{"plan":'); process.kill(process.pid, 'SIGKILL') })()`,
          ],
        ]),
      /the process that evaluates it was stopped/,
    ],
    [
      'a preset that does not exist',
      () => load([['a', '']], `infrastructure: { services: { gateway: { preset: 'openresty' } } }`),
      /services\.gateway\.preset: "openresty" is not known/,
    ],
    [
      'a port of the gateway that it does not have',
      () =>
        load(
          [['a', '']],
          `infrastructure: { services: { gateway: { preset: 'quintet', ports: { https: 1 } } } }`,
        ),
      /ports: unknown key "https"/,
    ],
    [
      'a value that the gateway refuses',
      () =>
        load(
          [
            [
              'a',
              `processes: [{ name: 'http', module: './x.ts', transports: { http: { name: 'http', port: 0, start() {} } } }]`,
            ],
          ],
          `infrastructure: { services: { gateway: { preset: 'quintet', config: { timeouts: { headers: -1 } } } } }`,
        ),
      /infrastructure\.services\.gateway\.config: gateway\.timeouts\.headers/,
    ],
    [
      'an option of a route that the gateway does not have',
      () =>
        load(
          [
            [
              'a',
              `processes: [{ name: 'http', module: './x.ts', transports: { http: { name: 'http', port: 0, start() {} } } }]`,
            ],
          ],
          `infrastructure: { services: { gateway: { preset: 'quintet', config: { routes: { a: { maxRequestsize: 1 } } } } } }`,
        ),
      /infrastructure\.services\.gateway\.config: [^]*maxRequestsize/,
    ],
    [
      'an option that the gateway does not have',
      () =>
        load(
          [['a', '']],
          `infrastructure: { services: { gateway: { preset: 'quintet', config: { timeout: '1s' } } } }`,
        ),
      /infrastructure\.services\.gateway\.config: unknown key "timeout"\. Did you mean "timeouts"\?/,
    ],
    [
      'an address of a process that does not exist',
      () => load([['a', '', "env: { PEER: '${url:b/http}' }"]]),
      /PEER/,
    ],
    [
      'a gateway that leads nowhere',
      () => load([['a', '']], `infrastructure: { services: { gateway: { preset: 'quintet' } } }`),
      /no app has a transport that it could lead to/,
    ],
  ]
  it.each(bad)('refuses %s', async (_what, attempt, message) => {
    const failure = attempt()
    await expect(failure).rejects.toMatchObject({ code: 'ERR_ORCHESTRATOR_CONFIG_INVALID' })
    await expect(failure).rejects.toThrow(message)
  })
})
