import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { sendCommand } from '../../control/control-client.ts'
import { badCommand, describeError, isCode, OrchestratorError } from '../../errors.ts'
import type { Plan, PlannedGateway } from '../../plan/plan.ts'
import type { EcosystemStatus } from '../../running/ecosystem-status.ts'
import { loadContext, print, type CommonOptions, type LoadedContext } from './context.ts'

/**
 * Writes the configuration of an nginx that leads to the apps as the gateway does, into a folder, or prints the main file.
 * The flags of maintenance are not part of it: they need the Lua module and a way to Redis.
 */
export async function nginx(folder: string | undefined, options: CommonOptions): Promise<void> {
  const context = await loadContext(options)
  const { gateway } = context.plan
  if (gateway === null)
    throw badCommand(
      'The ecosystem file has no gateway (infrastructure.services.gateway) that nginx could stand for.',
    )
  const files = await generate(gateway, context.plan, await portsOf(context))
  if (folder === undefined) return print(options, files, (all) => (all['nginx.conf'] ?? '').trimEnd())
  const target = resolve(folder)
  for (const [name, content] of Object.entries(files)) {
    const file = join(target, name)
    await mkdir(dirname(file), { recursive: true })
    await writeFile(file, content)
  }
  print(options, { folder: target, files: Object.keys(files) }, (written) =>
    [...written.files.map((name) => join(written.folder, name)), `nginx -p ${target} -c nginx.conf`].join(
      '\n',
    ),
  )
}

type FindPort = (processId: string, transport: string) => number

async function generate(
  { processId, routes, config }: PlannedGateway,
  plan: Plan,
  portOf: FindPort,
): Promise<Readonly<Record<string, string>>> {
  const { generateNginxConfig } = await import('@quintet/gateway/nginx')
  const { maintenance: _maintenance, ...shared } = config
  try {
    return generateNginxConfig({
      ...shared,
      port: plan.processes.find(({ id }) => id === processId)?.ports['http'] || 8080,
      routes: routes.map(({ upstreams, ...route }) => ({
        ...route,
        upstreams: upstreams.map((each) => `http://127.0.0.1:${portOf(each.processId, each.transport)}`),
      })),
    })
  } catch (cause) {
    if (cause instanceof OrchestratorError) throw cause
    throw badCommand(`infrastructure.services.gateway.config: ${describeError(cause)}`, cause)
  }
}

/** Those of the running processes; where nothing runs, those that the systems name. */
async function portsOf({ plan, state }: LoadedContext): Promise<FindPort> {
  const status = await sendCommand(state.root, { command: 'status' }).catch((error: unknown) => {
    if (!isCode(error, 'ERR_ORCHESTRATOR_NOT_RUNNING')) throw error
  })
  const running = (status as EcosystemStatus | undefined)?.processes ?? []
  return (processId, transport) => {
    const url = running.find(({ id }) => id === processId)?.urls[transport]
    const port = url
      ? Number(new URL(url).port)
      : plan.processes.find(({ id }) => id === processId)?.ports[transport]
    if (port) return port
    throw badCommand(
      `${processId} has no port of its own for "${transport}": give it one in its transport, or start the ecosystem first ("quintet up").`,
    )
  }
}
