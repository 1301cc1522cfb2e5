import { defineEcosystem, type Ecosystem, type EcosystemOptions, isEcosystem } from '@quintet/core/ecosystem'
import { writeSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { describeError } from '../errors.ts'
import { buildPlan, type LoadedApp } from './build-plan.ts'
import { commandSystem } from './command-system.ts'
import { gatewayVariables } from './gateway-variables.ts'
import { importDefault, loadSystem } from './load-system.ts'
import type { PlannedGateway } from './plan.ts'

/** What the evaluating process writes to its fourth descriptor. */
export type Evaluation = { readonly plan: object } | { readonly problem: string }

/** The body of the short-lived process: loads the ecosystem and every app, writes the plan, and ends. */
export async function evaluate(configFile: string): Promise<never> {
  let evaluation: Evaluation
  try {
    evaluation = { plan: await evaluatePlan(resolve(configFile)) }
  } catch (error) {
    evaluation = { problem: describeError(error) }
  }
  const text = Buffer.from(JSON.stringify(evaluation))
  for (let offset = 0; offset < text.length;) offset += writeSync(3, text, offset)
  // Apps may have opened what keeps a process alive; nothing of it is wanted here.
  process.exit(0)
}

async function evaluatePlan(configFile: string): Promise<object> {
  const ecosystem = toEcosystem(await importDefault(configFile), configFile)
  const enabled = ecosystem.apps.filter((app) => app.enabled)
  const apps = await Promise.all(
    enabled.map(async (app): Promise<LoadedApp> => {
      if (app.command)
        return { app, system: commandSystem(app, app.command, dirname(configFile)), bootstrap: configFile }
      const bootstrap = resolve(dirname(configFile), app.bootstrap ?? '')
      const system = await loadSystem(bootstrap, `apps.${app.name}.bootstrap`)
      if (system.name !== app.name) {
        throw new TypeError(
          `apps.${app.name}: its bootstrap file ${bootstrap} defines the system "${system.name}". Give both the same name.`,
        )
      }
      return { app, system, bootstrap }
    }),
  )
  const plan = buildPlan({ ecosystem, configFile, apps })
  if (plan.gateway) await assertGatewayConfig(plan.gateway)
  return plan
}

/** Asks the gateway itself, so that nothing passes here that it refuses when it starts. */
async function assertGatewayConfig(gateway: PlannedGateway): Promise<void> {
  try {
    const { assertGatewayEnvironment } = await import('@quintet/gateway/system')
    await assertGatewayEnvironment(gatewayVariables(gateway, () => 1))
  } catch (cause) {
    throw new TypeError(`infrastructure.services.gateway.config: ${describeError(cause)}`, { cause })
  }
}

/** Plain options are as good as what `defineEcosystem` made of them. */
function toEcosystem(value: unknown, file: string): Ecosystem {
  if (typeof value !== 'object' || value === null)
    throw new TypeError(`${file}: the default export is not an ecosystem.`)
  return isEcosystem(value) ? value : defineEcosystem(value as EcosystemOptions)
}
