import type { App } from '../definition/app.ts'
import { isSystem } from '../definition/define-system.ts'
import type { ResolvedProcess, System } from '../definition/system.ts'
import type { Logger } from '../logging/logger.ts'
import { nearestKey, refuseUnknownKeys } from '../options/known-keys.ts'
import { readOptions } from '../options/read-options.ts'
import { appSpec, type AppOptions, type ResolvedAppOptions } from './app-options.ts'
import { assertRuntime } from './assert-runtime.ts'

/**
 * Starts one process of a system; it takes calls when the promise resolves. Touches neither signals nor the exit of
 * the process: that is the business of whoever runs it.
 *
 * Order: configuration, `beforeCreate`, `setup`, auth and wrappers, `afterCreate`, eager services, `beforeStart`,
 * transports and workers, `afterStart`. When a step fails, everything made so far is released in reverse.
 *
 * @throws TypeError when the options make no sense.
 * @throws QuintetError `ERR_CORE_START_FAILED` naming the step that failed or was not done within `startupTimeout`.
 */
export async function createApp<Config, Services>(
  system: System<Config, Services>,
  options: AppOptions = {},
): Promise<App<Services>> {
  assertRuntime()
  if (!isSystem(system)) throw new TypeError('createApp: the first argument must be made by defineSystem().')
  const given = readOptions(options, appSpec, 'createApp')
  const entry = chooseProcess(system, given)
  const logger = given.logger ?? (await makeLogger(system, entry.name, given))
  // Loaded here: what only defines something needs none of it.
  const { ProcessStart } = await import('./process-start.ts')
  return await new ProcessStart<Config, Services>(system, entry, given, logger).run()
}

/** Makes the logger of a process that was given none. pino is loaded here, because it takes as long as this package. */
async function makeLogger(
  system: Pick<System, 'name' | 'logger' | 'dev'>,
  process: string,
  { dev, instance }: ResolvedAppOptions,
): Promise<Logger> {
  const { createSystemLogger } = await import('./system-logger.ts')
  return createSystemLogger(system, {
    level: dev ? system.dev.logLevel : undefined,
    fields: { system: system.name, process, instance },
  })
}

function chooseProcess<Config, Services>(
  system: System<Config, Services>,
  { process: name, ports, sockets }: ResolvedAppOptions,
): ResolvedProcess<Services> {
  const names = system.processes.map((process) => process.name)
  const [only] = system.processes
  const entry =
    name === undefined && names.length === 1 ? only : system.processes.find((each) => each.name === name)
  if (entry === undefined) {
    const nearest = name === undefined ? undefined : nearestKey(name, names)
    const problem = name === undefined ? 'needs a process' : `has no process "${name}"`
    throw new TypeError(
      `createApp: the system "${system.name}" ${problem}. ${nearest ? `Did you mean "${nearest}"?` : `Processes: ${names.join(', ')}.`}`,
    )
  }
  refuseUnknownKeys(ports, Object.keys(entry.transports), 'createApp.ports')
  refuseUnknownKeys(sockets, Object.keys(entry.transports), 'createApp.sockets')
  const deaf = Object.keys(sockets).find((key) => entry.transports[key]?.address === undefined)
  if (deaf !== undefined)
    throw new TypeError(`createApp.sockets.${deaf}: this transport takes no socket. Give it a port.`)
  return entry
}
