import type { Command } from 'commander'
import type { CommonOptions } from '../actions/context.ts'
import type { SettingChangeOptions } from '../actions/settings-command.ts'
import { common, exitWhenPrinted, toCount } from '../arguments.ts'

/** Runtime settings. */
export function addSettingsCommands(program: Command): void {
  const load = (): Promise<typeof import('../actions/settings-command.ts')> =>
    import('../actions/settings-command.ts')
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
