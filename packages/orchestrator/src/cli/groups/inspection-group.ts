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
    .command('plan')
    .description('show in which order everything starts and stops, and why')
    .action(async (_options, command: Command) => {
      const { showPlan } = await import('../actions/explain/plan-command.ts')
      await showPlan(common(command))
    })

  program
    .command('explain <process>')
    .description(
      'say why a process is as it is and what happens when it crashes; or what an error code means',
    )
    .action(async (what: string, _options, command: Command) => {
      const { explain } = await import('../actions/explain/explain-command.ts')
      await explain(what, common(command))
    })

  program
    .command('gateway')
    .description('the gateway in other forms')
    .command('nginx [folder]')
    .description(
      'write the configuration of an nginx that leads to the apps as the gateway does, or print it',
    )
    .action(async (folder: string | undefined, _options, command: Command) => {
      const { nginx } = await import('../actions/nginx-command.ts')
      await nginx(folder, common(command))
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
