import type { MigrationStatus } from './status.ts'

/** One line per migration, for a terminal. */
export function formatMigrationStatus(status: readonly MigrationStatus[]): string {
  if (status.length === 0) return 'There are no migrations.'
  const width = Math.max(...status.map(({ name }) => name.length))
  return status
    .map(({ name, state, appliedAt }) =>
      `${name.padEnd(width)}  ${state.padEnd(7)}  ${appliedAt?.toISOString() ?? ''}`.trimEnd(),
    )
    .join('\n')
}
