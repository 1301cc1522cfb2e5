import { parseArgs } from 'node:util'
import { badCommand } from '../../errors.ts'
import { run } from '../../runner/run.ts'

export const runUsage =
  'Usage: quintet run <bootstrap file> [--process <name>] [--instance <number>] [--port <transport>=<port>]…'

/** `quintet run`, without what the other commands need: it is the start of every process of an app. */
export async function runCommand(args: readonly string[]): Promise<void> {
  const { values, positionals } = parse(args)
  const [bootstrap, ...rest] = positionals
  if (values.help) return void process.stdout.write(`${runUsage}\n`)
  if (bootstrap === undefined || rest.length > 0)
    throw badCommand(`run needs exactly one bootstrap file.\n${runUsage}`)
  if (values.instance !== undefined && !/^\d{1,9}$/.test(values.instance)) {
    throw badCommand(`--instance: ${JSON.stringify(values.instance)} is not a whole number, counted from 0.`)
  }
  const instance = values.instance === undefined ? undefined : Number(values.instance)
  await run({
    bootstrap,
    ...(values.process === undefined ? {} : { process: values.process }),
    ...(instance === undefined ? {} : { instance }),
    ...(values.port === undefined ? {} : { ports: Object.fromEntries(values.port.map(parsePort)) }),
  })
}

interface Parsed {
  readonly values: {
    readonly process?: string
    readonly instance?: string
    readonly port?: string[]
    readonly help?: boolean
  }
  readonly positionals: readonly string[]
}

function parse(args: readonly string[]): Parsed {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        process: { type: 'string', short: 'p' },
        instance: { type: 'string' },
        port: { type: 'string', multiple: true },
        help: { type: 'boolean', short: 'h' },
      },
    }) as Parsed
  } catch (error) {
    throw badCommand(`${(error as Error).message}\n${runUsage}`)
  }
}

function parsePort(text: string): [string, number] {
  const match = /^([A-Za-z][\w-]*)=(\d{1,5})$/.exec(text)
  const port = Number(match?.[2])
  if (match?.[1] === undefined || port > 65_535)
    throw badCommand(`--port: ${JSON.stringify(text)} is not of the form http=3002.`)
  return [match[1], port]
}
