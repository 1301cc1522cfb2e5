import { Command, CommanderError } from 'commander'
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { binPath } from '../bin-path.ts'
import { runUsage } from './actions/run-command.ts'
import { addCompletionCommand } from './completion.ts'
import { addDatabaseCommands } from './groups/database-group.ts'
import { addEcosystemCommands } from './groups/ecosystem-group.ts'
import { addInspectionCommands } from './groups/inspection-group.ts'
import { addSettingsCommands } from './groups/settings-group.ts'
import { watchOutput } from './output.ts'

/** Reads the command line and does what it says. */
export async function runProgram(args: readonly string[]): Promise<void> {
  watchOutput()
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
  addEcosystemCommands(program)
  addInspectionCommands(program)
  addSettingsCommands(program)
  addDatabaseCommands(program)
  program.command('run').description(`run one system without a supervisor. ${runUsage}`)
  addCompletionCommand(program)
  return program
}

function packageVersion(): string {
  const file = join(dirname(binPath), '../package.json')
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version
}
