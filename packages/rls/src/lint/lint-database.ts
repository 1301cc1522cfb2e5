import { knownFlaw } from '../roles/server-version.ts'
import type { LintFinding, LintSubject } from './lint-rule.ts'

/** The server, the database and its schemas: what tenants may do outside of every table. */
export function lintDatabase(subject: LintSubject): LintFinding[] {
  return [
    ...serverVersion(subject),
    ...containers(subject),
    ...defaultGrants(subject),
    ...systemFunctions(subject),
    ...largeObjects(subject),
  ]
}

function serverVersion({ catalogue }: LintSubject): LintFinding[] {
  const flaw = knownFlaw(catalogue.serverVersion)
  return flaw === undefined
    ? []
    : [{ rule: 'server-version', severity: 'error', object: 'server', message: flaw }]
}

/** The database and its schemas: who owns them, and who may create what in them. */
function containers({ catalogue: { database, schemas }, isTenant }: LintSubject): LintFinding[] {
  return [database, ...schemas].flatMap(({ name, owner, grants }): LintFinding[] => {
    const holders = (wanted: string): string =>
      grants
        .filter(({ grantee, privilege }) => privilege === wanted && isTenant(grantee))
        .map(({ grantee }) => grantee)
        .join(', ')
    const found: LintFinding[] = []
    if (isTenant(owner)) {
      found.push({
        rule: 'owner-is-tenant',
        severity: 'error',
        object: name,
        message: `belongs to ${owner}, who can drop what is in it.`,
      })
    }
    if (holders('create') !== '') {
      found.push({
        rule: 'create-privilege',
        severity: 'error',
        object: name,
        message: `lets ${holders('create')} create objects, of which they are the owner and which others may call. Revoke CREATE.`,
      })
    }
    if (holders('temporary') !== '') {
      found.push({
        rule: 'temporary-tables',
        severity: 'warning',
        object: name,
        message: `lets ${holders('temporary')} create temporary tables, which stay on a pooled connection. Revoke TEMPORARY.`,
      })
    }
    return found
  })
}

function defaultGrants({ catalogue, isTenant }: LintSubject): LintFinding[] {
  const open = catalogue.defaultGrants.filter(({ grantee }) => isTenant(grantee))
  return [...Map.groupBy(open, ({ owner, grantee }) => `${owner} ${grantee}`).values()].flatMap(
    ([first, ...rest]): LintFinding[] =>
      first === undefined
        ? []
        : [
            {
              rule: 'default-grant',
              severity: 'error',
              object: first.owner,
              message: `gives ${[first, ...rest].map(({ privilege }) => privilege).join(', ')} on every new table to ${first.grantee}, before the table has policies. Grant with the policies instead.`,
            },
          ],
  )
}

/** Functions of PostgreSQL's own that reach the files and programs of the server, and whose EXECUTE was granted. */
function systemFunctions({ catalogue, isTenant }: LintSubject): LintFinding[] {
  return catalogue.systemFunctions
    .filter(({ largeObjects: large, grantees }) => !large && grantees.some(isTenant))
    .map(({ name, grantees }) => ({
      rule: 'system-function',
      severity: 'error',
      object: name,
      message: `is a function of the server's that is closed for good reasons, and open to ${grantees.filter(isTenant).join(', ')}. Revoke EXECUTE.`,
    }))
}

function largeObjects({ catalogue, isTenant }: LintSubject): LintFinding[] {
  const open = catalogue.largeObjects.filter(
    ({ owner, grantees }) => isTenant(owner) || grantees.some(isTenant),
  )
  if (open.length > 0) {
    return [
      {
        rule: 'large-objects',
        severity: 'error',
        object: 'large objects',
        message: `${open.length} of them (${open[0]?.id ?? ''} is one) are open to tenants, all of them: they have no row-level security. Use bytea.`,
      },
    ]
  }
  const callable = catalogue.systemFunctions.filter(
    ({ largeObjects: large, grantees }) => large && grantees.some(isTenant),
  )
  if (callable.length === 0) return []
  return [
    {
      rule: 'large-objects',
      severity: 'warning',
      object: 'large objects',
      message: `can be made by tenants, and one of one tenant can be read by all: they have no row-level security. Revoke EXECUTE on ${callable.map(({ name }) => name).join(', ')}.`,
    },
  ]
}
