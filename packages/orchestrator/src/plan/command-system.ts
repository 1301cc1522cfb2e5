import { defineSystem, type System, type Transport } from '@quintet/core'
import type { EcosystemApp, EcosystemCommand } from '@quintet/core/ecosystem'
import { accessSync, constants, statSync } from 'node:fs'
import { delimiter, resolve } from 'node:path'

/** The process of an app that is a command. */
export const commandProcess = 'main'

/**
 * An app that is a command, as the system that it would be: one process with its ports.
 *
 * @throws TypeError when there is no such program or folder.
 */
export function commandSystem(app: EcosystemApp, command: EcosystemCommand, baseUrl: string): System {
  const path = `apps.${app.name}`
  const cwd = resolve(baseUrl, command.cwd)
  if (!statSync(cwd, { throwIfNoEntry: false })?.isDirectory())
    throw new TypeError(`${path}.cwd: there is no folder ${cwd}.`)
  assertProgram(command.program[0] ?? '', cwd, `${path}.command`)
  const { health, requires } = command
  return defineSystem({
    name: app.name,
    version: '0.0.0',
    requires,
    processes: [
      {
        name: commandProcess,
        module: () => Promise.reject(new TypeError(`${app.name} is a command`)),
        transports: Object.fromEntries(
          Object.entries(command.ports).map(([name, port]) => [name, unopened(port)]),
        ),
        health: health && {
          retries: health.retries,
          ...(health.interval === null ? {} : { interval: health.interval }),
          ...(health.timeout === null ? {} : { timeout: health.timeout }),
        },
      },
    ],
  })
}

/** The command opens it, and not we. */
function unopened(port: number): Transport {
  return {
    name: 'command',
    port,
    start: () => Promise.reject(new TypeError('a port of a command is opened by the command')),
  }
}

function assertProgram(program: string, cwd: string, path: string): void {
  const places = program.includes('/')
    ? [resolve(cwd, program)]
    : (process.env['PATH'] ?? '').split(delimiter).map((folder) => resolve(folder, program))
  if (places.some(isProgram)) return
  throw new TypeError(
    program.includes('/')
      ? `${path}: ${places.join()} is no program that may be run.`
      : `${path}: there is no program "${program}" in the folders of PATH.`,
  )
}

function isProgram(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return statSync(file).isFile()
  } catch {
    return false
  }
}
