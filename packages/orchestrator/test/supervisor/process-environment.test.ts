import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { openSecrets } from '../../src/state/secrets.ts'
import { maintenanceToken, processEnvironment } from '../../src/supervisor/process-environment.ts'
import { trioPlan } from '../trio.ts'

it('gives the gateway the maintenance token of the ecosystem file, and a random one where that has none', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'q-'))
  const plan = await trioPlan()
  const secrets = openSecrets(join(folder, 'secrets.json'))
  const token = (config: Record<string, unknown>): unknown => {
    const changed = { ...plan, gateway: plan.gateway && { ...plan.gateway, config } }
    const gateway = changed.processes.find((each) => each.id === 'gateway/http')
    if (!gateway) throw new Error('There is no gateway.')
    const environment = processEnvironment(gateway, {
      plan: changed,
      env: {},
      dev: false,
      secrets,
      databases: {},
      redisUrl: null,
      linksDirectory: folder,
      ports: new Map(),
    })
    expect(environment['GATEWAY_MAINTENANCE__TOKEN']).toBe(maintenanceToken(changed, secrets))
    return environment['GATEWAY_MAINTENANCE__TOKEN']
  }
  expect(token({})).toBe(secrets.find('shared:maintenance-token'))
  expect(token({ maintenance: { token: 'of the ecosystem file' } })).toBe('of the ecosystem file')
  rmSync(folder, { recursive: true })
})
