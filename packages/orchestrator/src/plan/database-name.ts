/** The longest name of a database whose roles, which are named after it, PostgreSQL does not cut. */
export const maxDatabaseName = 51

/** The database of an app; its roles are named after it. */
export function databaseName({ project }: { readonly project: string }, app: string): string {
  return `${project}_${app}`.replaceAll('-', '_')
}

/** @throws TypeError when the name of a database would be too long. */
export function assertDatabaseNames(project: string, apps: readonly string[]): void {
  for (const app of apps) {
    const name = databaseName({ project }, app)
    if (name.length <= maxDatabaseName) continue
    throw new TypeError(
      `apps.${app}: its database would be named ${name}, ${name.length} characters, and PostgreSQL takes ${maxDatabaseName} at most (with the endings of its logins). Shorten the name of the project or of the app.`,
    )
  }
}
