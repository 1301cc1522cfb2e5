/** The roles of one app's database. */
export interface DatabaseRoles {
  /** Login that owns the tables and runs migrations. */
  readonly owner: string
  /** NOLOGIN role that holds the tenants' rights. */
  readonly tenant: string
  /** Login of the app: a NOINHERIT member of `tenant`, without rights of its own. */
  readonly login: string
  /** Login for work across tenants. */
  readonly system: string
}

/** The names that {@link provisionDatabase} gives the roles of the database `name`. */
export function databaseRoles(name: string): DatabaseRoles {
  if (!/^[a-z][a-z0-9_]{0,50}$/.test(name)) {
    throw new TypeError(
      `${JSON.stringify(name)} is no database name here: lower-case letters, digits and underscores, at most 51, starting with a letter.`,
    )
  }
  return Object.freeze({
    owner: `${name}_owner`,
    tenant: `${name}_tenant`,
    login: `${name}_login`,
    system: `${name}_system`,
  })
}
