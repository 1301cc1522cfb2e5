import type { Command } from 'commander'
import { common, exitWhenPrinted } from '../arguments.ts'

/** What apps are made of, without starting them. */
export function addInspectionCommands(program: Command): void {
  program
    .command('routes [app]')
    .description('list every way in with its access rule')
    .action(async (name: string | undefined, _options, command: Command) => {
      const { routes } = await import('../actions/routes-command.ts')
      await routes(name, common(command))
      exitWhenPrinted()
    })

  program
    .command('config [app]')
    .description('show every value of the configuration with its origin; secrets are not shown')
    .action(async (name: string | undefined, _options, command: Command) => {
      const { config } = await import('../actions/config-command.ts')
      await config(name, common(command))
      exitWhenPrinted()
    })
}
