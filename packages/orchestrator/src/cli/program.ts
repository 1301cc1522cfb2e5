import { Command, CommanderError, InvalidArgumentError } from 'commander'
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { binPath } from '../bin-path.ts'
import { sendCommand } from '../control/control-client.ts'
import type { EcosystemStatus } from '../running/ecosystem-status.ts'
import { OrchestratorError } from '../errors.ts'
import { locateState, print, type CommonOptions } from './actions/context.ts'
import type { Sample } from '../metrics/sampler.ts'
import { formatSamples } from '../terminal/format-samples.ts'
import { formatStatus } from '../terminal/format-status.ts'
import { logs, type LogsOptions } from './actions/logs-command.ts'
import type { MigrateOptions } from './actions/database-commands.ts'
import { runUsage } from './actions/run-command.ts'
import type { SettingChangeOptions } from './actions/settings-command.ts'
import { up, type UpOptions } from './actions/up-command.ts'

/** Reads the command line and does what it says. */
export async function runProgram(args: readonly string[]): Promise<void> {
  const program = createProgram()
  try {
    await program.parseAsync([...args], { from: 'user' })
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    // It has said what is wrong already.
    process.exitCode = error.exitCode
  }
}

function createProgram(): Command {
  const program = new Command('quintet')
    .description('Runs an ecosystem of apps: servers, ordered start, restarts, logs.')
    .version(packageVersion(), '-v, --version', 'print the version')
    .exitOverride()
    .configureHelp({ showGlobalOptions: true })
    .option('-c, --config <file>', 'the ecosystem file (default: quintet.config.ts here)')
    .option(
      '--data <folder>',
      'where data, logs and secrets are kept (default: a folder of yours, by the path of the ecosystem file)',
    )
    .option('--json', 'print JSON')

  const common = (command: Command): CommonOptions => command.optsWithGlobals<CommonOptions>()

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
      print(options, status, (each) => formatStatus(each, Date.now()))
    })

  program
    .command('logs [name]')
    .description('print the last lines of an app, a process, or everything')
    .option('-f, --follow', 'go on printing')
    .option('-n, --lines <count>', 'how many lines', toCount, 100)
    .action(async (name: string | undefined, _options, command: Command) =>
      logs(name, command.optsWithGlobals<LogsOptions>()),
    )

  program
    .command('restart <name>')
    .description('restart an app, a process or one instance')
    .option('--deployment', 'new code takes its place: what stops is told so')
    .action(async (name: string, _options, command: Command) => {
      const options = command.optsWithGlobals<CommonOptions & { deployment?: boolean }>()
      const cause = options.deployment ? 'deployment' : 'restart'
      const state = locateState(options)
      const ids = (await sendCommand(state.root, { command: 'restart', name, cause })) as string[]
      print(options, ids, (each) => `restarted: ${each.join(', ')}`)
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
      const samples = (await sendCommand(state.root, { command: 'metrics', name })) as readonly Sample[]
      print(options, samples.slice(-options.lines), formatSamples)
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
    .action(async (_options, command: Command) => {
      const options = common(command)
      const state = locateState(options)
      const result = await sendCommand(state.root, { command: 'down' })
      print(options, result, () => 'stopped')
    })

  program
    .command('routes [app]')
    .description('list every way in with its access rule')
    .action(async (name: string | undefined, _options, command: Command) => {
      const { routes } = await import('./actions/routes-command.ts')
      await routes(name, common(command))
      exitWhenPrinted()
    })

  program
    .command('config [app]')
    .description('show every value of the configuration with its origin; secrets are not shown')
    .action(async (name: string | undefined, _options, command: Command) => {
      const { config } = await import('./actions/config-command.ts')
      await config(name, common(command))
      exitWhenPrinted()
    })

  for (const [word, meant] of [
    ['start', 'up'],
    ['stop', 'down'],
  ] as const) {
    program.command(`${word} [names...]`, { hidden: true }).action(() => {
      throw new OrchestratorError(
        `There is no command "${word}". "quintet ${meant}" does that for everything.`,
        {
          code: 'ERR_ORCHESTRATOR_BAD_COMMAND',
          kind: 'invalid-input',
        },
      )
    })
  }

  addSettingsCommands(program, common)
  addDatabaseCommands(program, common)
  program.command('run').description(`run one system without a supervisor. ${runUsage}`)
  return program
}

function addSettingsCommands(program: Command, common: (command: Command) => CommonOptions): void {
  const load = (): Promise<typeof import('./actions/settings-command.ts')> =>
    import('./actions/settings-command.ts')
  const settings = program
    .command('settings')
    .description('runtime settings of the apps; every process follows a change within a second')
  settings
    .command('list [app]')
    .description('show every setting with its value, who gave it and when')
    .action(async (name: string | undefined, _options, command: Command) => {
      await (await load()).listSettings(name, common(command))
      exitWhenPrinted()
    })
  settings
    .command('get <app> <key>')
    .description('print a value as JSON')
    .action(async (name: string, key: string, _options, command: Command) => {
      await (await load()).getSetting(name, key, common(command))
      exitWhenPrinted()
    })
  const change = (command: Command): Command =>
    command
      .option('--actor <name>', 'who makes the change (default: you, on this machine)')
      .option('--reason <text>', 'why, for the history')
  change(settings.command('set <app> <key> <json>'))
    .description('change a setting')
    .option(
      '--expected-version <version>',
      'only when it was last changed at this version; 0: never',
      toCount,
    )
    .action(async (name: string, key: string, value: string, _options, command: Command) => {
      const options = command.optsWithGlobals<SettingChangeOptions & { expectedVersion?: number }>()
      await (await load()).setSetting(name, key, value, options)
      exitWhenPrinted()
    })
  change(
    settings.command('rollback <app> <key>').argument('<version>', 'a version; 0 for the default', toCount),
  )
    .description('give a setting the value again that it had at a version')
    .action(async (name: string, key: string, version: number, _options, command: Command) => {
      const options = command.optsWithGlobals<SettingChangeOptions>()
      await (await load()).rollbackSetting(name, key, version, options)
      exitWhenPrinted()
    })
  settings
    .command('history <app> <key>')
    .description('show the changes of a setting, the newest first')
    .option('-n, --lines <count>', 'how many', toCount, 20)
    .action(async (name: string, key: string, _options, command: Command) => {
      const options = command.optsWithGlobals<CommonOptions & { lines: number }>()
      await (await load()).settingHistory(name, key, options)
      exitWhenPrinted()
    })
}

function addDatabaseCommands(program: Command, common: (command: Command) => CommonOptions): void {
  const load = (): Promise<typeof import('./actions/database-commands.ts')> =>
    import('./actions/database-commands.ts')
  const migrations = program
    .command('migrate')
    .description("migrations of the databases, under the owner's login")
  const owned = (command: Command): Command =>
    command.option(
      '--owner-url <url>',
      'the owner of the database, where this machine did not make it (default: QUINTET_OWNER_URL)',
    )
  owned(migrations.command('up [app]'))
    .description('run what is pending')
    .action(async (name: string | undefined, _options, command: Command) =>
      (await load()).migrate('up', name, command.optsWithGlobals<MigrateOptions>()),
    )
  owned(migrations.command('down <app>'))
    .option('--force', 'although the app is serving')
    .description('take the last migration back')
    .option('--steps <count>', 'how many', toCount, 1)
    .action(async (name: string, _options, command: Command) =>
      (await load()).migrate('down', name, command.optsWithGlobals<MigrateOptions>()),
    )
  owned(migrations.command('status [app]'))
    .description('show which have run; changes nothing')
    .action(async (name: string | undefined, _options, command: Command) =>
      (await load()).migrate('status', name, command.optsWithGlobals<MigrateOptions>()),
    )
  migrations
    .command('new <app> <title>')
    .description('write an empty one')
    .option('--sql', 'in SQL')
    .action(async (name: string, title: string, _options, command: Command) =>
      (await load()).newMigration(name, title, command.optsWithGlobals<CommonOptions & { sql?: boolean }>()),
    )

  const rls = program.command('rls').description('row-level security of the databases')
  rls
    .command('lint [app]')
    .description('look for holes; exit code 1 when there is one')
    .action(async (name: string | undefined, _options, command: Command) =>
      (await load()).rlsLint(name, common(command)),
    )
  rls
    .command('snapshot <app>')
    .description('print policies and grants as JSON')
    .action(async (name: string, _options, command: Command) =>
      (await load()).rlsSnapshot(name, common(command)),
    )
  rls
    .command('diff <app> <snapshot>')
    .description('compare with a snapshot; exit code 1 when somebody may see more')
    .action(async (name: string, file: string, _options, command: Command) =>
      (await load()).rlsDiff(name, file, common(command)),
    )

  const db = program.command('db').description('the databases and their rows')
  db.command('provision [app]')
    .description('make databases and logins where there are none, and print what the apps need to reach them')
    .option('--rotate', 'give all logins new passwords; what runs with the old ones loses its database')
    .action(async (name: string | undefined, _options, command: Command) =>
      (await load()).provision(name, command.optsWithGlobals<CommonOptions & { rotate?: boolean }>()),
    )
  for (const action of ['backup', 'restore'] as const) {
    const command = db.command(`${action} <app> <file>`)
    if (action === 'restore') command.option('--force', 'although the app is serving')
    command
      .description(action === 'backup' ? 'write every row to a file' : 'replace every row by those of a file')
      .action(async (name: string, file: string, _options, self: Command) =>
        (await load()).database(
          action,
          name,
          file,
          self.optsWithGlobals<CommonOptions & { force?: boolean }>(),
        ),
      )
  }
}

function packageVersion(): string {
  const file = join(dirname(binPath), '../package.json')
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version
}

/** Apps that were loaded to look at them may hold the process open; nothing of it is wanted here. */
function exitWhenPrinted(): void {
  process.stdout.write('', () => process.exit())
}

function toPort(text: string): number {
  const port = Number(text)
  if (Number.isInteger(port) && port >= 0 && port <= 65_535) return port
  throw new InvalidArgumentError('Give a number from 0 to 65535.')
}

function toPorts(text: string): 'fixed' | 'auto' {
  if (text === 'fixed' || text === 'auto') return text
  throw new InvalidArgumentError("Give 'fixed' or 'auto'.")
}

function toCount(text: string): number {
  const count = Number(text)
  if (Number.isSafeInteger(count) && count >= 0) return count
  throw new InvalidArgumentError('Give a whole number.')
}
