/** `20261120T214500_add_objects`: sorts by time, and says what it does. */
export function newMigrationName(title: string, now: Date): string {
  const words = title
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '_')
    .replaceAll(/^_+|_+$/g, '')
  if (words === '') throw new TypeError(`new: ${JSON.stringify(title)} is no name for a migration.`)
  return `${now.toISOString().replaceAll(/[-:]|\.\d+Z$/g, '')}_${words}`
}

export function newMigrationText(language: 'ts' | 'sql'): string {
  return language === 'sql' ? sqlText : moduleText
}

const sqlText = `-- What this changes, and why.

-- migrate:down
`

const moduleText = `import type { Kysely } from 'kysely'

export async function up(db: Kysely<unknown>): Promise<void> {
  void db
}

export async function down(db: Kysely<unknown>): Promise<void> {
  void db
}
`
