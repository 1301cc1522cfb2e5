import type { Command } from 'commander'
import type { CommonOptions } from '../actions/context.ts'
import type { MigrateOptions } from '../actions/database-commands.ts'
import { common, toCount } from '../arguments.ts'

/** Databases: migrations, row-level security, provisioning, backups. */
export function addDatabaseCommands(program: Command): void {
  const load = (): Promise<typeof import('../actions/database-commands.ts')> =>
    import('../actions/database-commands.ts')
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
  owned(migrations.command('repair <app>'))
    .description('take the files for what has run: after a change that the database has already')
    .action(async (name: string, _options, command: Command) =>
      (await load()).migrate('repair', name, command.optsWithGlobals<MigrateOptions>()),
    )
  migrations
    .command('check [app]')
    .description('look for what would block the app in pending ones; exit code 1 when there is something')
    .action(async (name: string | undefined, _options, command: Command) =>
      (await load()).checkMigrations(name, common(command)),
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
    .description('look for holes and for changes by hand; exit code 1 when there is a hole')
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
    .description('compare with a snapshot; exit code 1 when more may be seen')
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
