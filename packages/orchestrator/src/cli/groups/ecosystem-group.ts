import type { Command } from 'commander'
import { sendCommand } from '../../control/control-client.ts'
import { badCommand } from '../../errors.ts'
import type { Sample } from '../../metrics/sampler.ts'
import type { EcosystemStatus } from '../../running/ecosystem-status.ts'
import { formatSamples } from '../../terminal/format-samples.ts'
import { formatStatus } from '../../terminal/format-status.ts'
import { explainUnknown } from '../actions/running/added-since.ts'
import { locateState, print, type CommonOptions } from '../actions/context.ts'
import { logs, type LogsOptions } from '../actions/logs-command.ts'
import type { ApplyOptions } from '../actions/running/apply-command.ts'
import type { RestartCommandOptions } from '../actions/running/restart-command.ts'
import { up, type UpOptions } from '../actions/up-command.ts'
import { common, toCount, toDuration, toLevel, toMoment, toPattern, toPort, toPorts } from '../arguments.ts'

/** Starting, watching and stopping the ecosystem. */
export function addEcosystemCommands(program: Command): void {
  program
    .command('up')
    .description('start everything')
    .option('-f, --foreground', 'stay, print the logs, and stop everything on Ctrl-C')
    .option('--port <port>', 'the port of the gateway; 0 for any free one', toPort)
    .option('--ports <fixed|auto>', 'auto: give every transport a free port', toPorts, 'fixed')
    .action(async (_options, command: Command) => up(command.optsWithGlobals<UpOptions>()))

  program
    .command('dev')
    .description('as up --foreground, and restart an app when a file in its watch.directory changes')
    .option('--port <port>', 'the port of the gateway; 0 for any free one', toPort)
    .option('--ports <fixed|auto>', 'auto: give every transport a free port', toPorts, 'fixed')
    .action(async (_options, command: Command) => up({ ...command.optsWithGlobals<UpOptions>(), dev: true }))

  program
    .command('status')
    .description('show every process with its state, pid, uptime, restarts, CPU and memory')
    .action(async (_options, command: Command) => {
      const options = common(command)
      const state = locateState(options)
      const status = (await sendCommand(state.root, { command: 'status' })) as EcosystemStatus
      print(options, status, (each) => formatStatus(each, Date.now(), process.stdout.columns))
    })

  program
    .command('logs [name]')
    .description('print the last lines of an app, a process, or everything')
    .option('-f, --follow', 'go on printing')
    .option('-n, --lines <count>', 'how many lines, the newest (default: 100; with --since all)', toCount)
    .option('--since <moment>', 'not before: how long ago (10m), or a date with a time', toMoment)
    .option('--until <moment>', 'only before', toMoment)
    .option('--grep <pattern>', 'only those that match a regular expression', toPattern)
    .option('--level <level>', 'only of this level and graver ones', toLevel)
    .action(async (name: string | undefined, _options, command: Command) =>
      logs(name, command.optsWithGlobals<LogsOptions>()),
    )

  program
    .command('restart <name>')
    .description('restart an app, a process or one instance')
    .option('--deployment', 'new code takes its place: what stops is told so')
    .action(async (name: string, _options, command: Command) => {
      const { restart } = await import('../actions/running/restart-command.ts')
      await restart(name, command.optsWithGlobals<RestartCommandOptions>())
    })

  program
    .command('reload [name]')
    .description(
      'put new generations in the place of the processes of an app, or of all, without a dropped request; exit code 2 when one failed',
    )
    .action(async (name: string | undefined, _options, command: Command) => {
      const { reload } = await import('../actions/running/reload-command.ts')
      await reload(name, common(command))
    })

  program
    .command('apply')
    .description(
      'bring what runs in line with the ecosystem file: only what has changed is started, reloaded or stopped; exit code 2 when something goes on as it was',
    )
    .option('--dry-run', 'only show what would change')
    .action(async (_options, command: Command) => {
      const { apply } = await import('../actions/running/apply-command.ts')
      await apply(command.optsWithGlobals<ApplyOptions>())
    })

  program
    .command('metrics <process>')
    .description(
      'print what a process, "postgres", "redis" or "everything" used, as long as metrics.retention',
    )
    .option('-n, --lines <count>', 'how many samples, the newest', toCount, 20)
    .action(async (name: string, _options, command: Command) => {
      const options = command.optsWithGlobals<CommonOptions & { lines: number }>()
      const state = locateState(options)
      const work = sendCommand(state.root, { command: 'metrics', name })
      const samples = (await explainUnknown(name, options, work)) as readonly Sample[]
      print(options, samples.slice(Math.max(0, samples.length - options.lines)), formatSamples)
    })

  program
    .command('wait <name>')
    .description('wait until an app, a process or all "migrations" are ready, also before everything is up')
    .option('--timeout <duration>', 'how long', toDuration, 60_000)
    .action(async (name: string, _options, command: Command) => {
      const { wait } = await import('../actions/running/wait-command.ts')
      await wait(name, command.optsWithGlobals<CommonOptions & { timeout: number }>())
    })

  program
    .command('events')
    .description('print what has happened since everything was started: changes of state, servers, failures')
    .option('-f, --follow', 'go on printing')
    .action(async (_options, command: Command) => {
      const { events } = await import('../actions/events-command.ts')
      await events(command.optsWithGlobals<CommonOptions & { follow?: boolean }>())
    })

  program
    .command('secret <name>')
    .description('print operator-token, maintenance-token or a secret that apps require')
    .action(async (name: string, _options, command: Command) => {
      const options = common(command)
      const state = locateState(options)
      const secret = (await sendCommand(state.root, { command: 'secret', name })) as string
      print(options, secret, (text) => text)
    })

  program
    .command('down')
    .description('stop everything in order')
    .option('--force', 'end everything at once, also under a supervisor that does not answer')
    .action(async (_options, command: Command) => {
      const { down } = await import('../actions/running/down-command.ts')
      await down(command.optsWithGlobals<CommonOptions & { force?: boolean }>())
    })

  for (const [word, meant] of [
    ['start', 'up'],
    ['stop', 'down'],
  ] as const) {
    program.command(`${word} [names...]`, { hidden: true }).action(() => {
      throw badCommand(`There is no command "${word}". "quintet ${meant}" does that for everything.`)
    })
  }
}
