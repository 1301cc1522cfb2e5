import { parseArgs } from 'node:util'

export interface DemoOptions {
  /** The gateway's port. The apps take their usual ports with the usual gateway, and free ones with another. */
  readonly port: number
  /** End after the scenario. */
  readonly exit: boolean
  readonly help: boolean
}

export const defaultPort = 8080

export const usage = `Usage: npx -y pnpm@12 demo [--port <port>] [--exit]

  --port <port>   where the gateway listens (${defaultPort}); with a port of your own, the apps take free ones
  --exit          end after the scenario: exit code 0 if every step held, 1 if not
`

/** @throws Error with one line for people when an argument is unknown or makes no sense. */
export function parseOptions(args: readonly string[]): DemoOptions {
  const { values } = parseArgs({
    args: args.filter((argument) => argument !== '--'),
    options: {
      port: { type: 'string', default: String(defaultPort) },
      exit: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false, short: 'h' },
    },
  })
  const port = Number(values.port)
  if (!Number.isInteger(port) || port < 1 || port > 65_535) {
    throw new Error(`--port ${values.port}: a port is a number from 1 to 65535.`)
  }
  return { port, exit: values.exit, help: values.help }
}
