import { QuintetError } from '../errors.ts'
import { createReader, inTransaction, type SettingsPool, type SettingsQuery } from './pool.ts'

/** What is stored of one namespace, at one version. */
export interface StoredSettings {
  /** Counts the changes of the namespace; 0 before the first. */
  readonly version: number
  /** Tells this state from every other one, also from one with the same version after the restore of a backup. */
  readonly mark: string
  /** The values as they were given, by key. */
  readonly values: ReadonlyMap<string, unknown>
}

/** One change of a setting. */
export interface SettingChange {
  readonly key: string
  readonly version: number
  /** The value as it was given; undefined when the setting went back to its default. */
  readonly value: unknown
  readonly actor: string
  readonly reason: string | undefined
  readonly changedAt: Date
}

interface ChangeRequest {
  readonly key: string
  readonly actor: string
  readonly reason: string | undefined
  /** Only when the setting was last changed at this version. */
  readonly expectedVersion: number | undefined
  /** Gives the new value (undefined for the default) for what is stored at the moment. Runs under the lock. */
  readonly decide: (stored: StoredSettings, query: SettingsQuery) => Promise<unknown>
}

/** The settings of one namespace in PostgreSQL. Changes are made one after the other, whoever makes them. */
export interface SettingsStore {
  /** The mark alone, to see cheaply whether something has changed. */
  mark(): Promise<string>
  load(): Promise<StoredSettings>
  /** Makes one change, and writes it to the history. Answers with its version. */
  change(request: ChangeRequest): Promise<number>
  /** The changes of a setting, the newest first. */
  history(key: string, limit: number): Promise<readonly SettingChange[]>
  /** The value of a setting as it was at a version; undefined for the default. */
  valueAt(query: SettingsQuery, key: string, version: number): Promise<unknown>
}

interface Row {
  readonly [column: string]: unknown
}

/** The version, and when its change was made: a version comes back after a restore, this moment does not. */
const mark = `v.version || ' ' || coalesce((select extract(epoch from h.changed_at)::text from quintet_settings_history h
         where h.namespace = v.namespace and h.version = v.version), '')`

function markOf(row: unknown): string {
  return String((row as Row | undefined)?.['mark'] ?? '')
}

export function createSettingsStore(pool: SettingsPool, namespace: string): SettingsStore {
  const reader = createReader(pool)

  const load = async (query: SettingsQuery): Promise<StoredSettings> => {
    // One statement, hence one snapshot: the version belongs to these values.
    const { rows } = await query.query(
      `select v.version, ${mark} as mark, s.key, s.value
         from quintet_settings_version v
         left join quintet_settings s on s.namespace = v.namespace
        where v.namespace = $1`,
      [namespace],
    )
    const stored = (rows as readonly Row[]).filter((row) => row['key'] !== null)
    return {
      version: Number((rows[0] as Row | undefined)?.['version'] ?? 0),
      mark: markOf(rows[0]),
      values: new Map(stored.map((row) => [String(row['key']), row['value']])),
    }
  }

  /** From the history, for a setting that went back to its default is stored nowhere else. */
  const lastChange = async (query: SettingsQuery, key: string): Promise<number> => {
    const { rows } = await query.query(
      'select max(version) as version from quintet_settings_history where namespace = $1 and key = $2',
      [namespace, key],
    )
    return Number((rows[0] as Row)['version'] ?? 0)
  }

  return {
    async mark() {
      const { rows } = await reader.query(
        `select ${mark} as mark from quintet_settings_version v where namespace = $1`,
        [namespace],
      )
      return markOf(rows[0])
    },
    load: () => load(reader),
    change: (request) =>
      inTransaction(pool, async (query) => {
        // Takes the lock that puts all changes of the namespace into one order.
        const { rows } = await query.query(
          `insert into quintet_settings_version (namespace, version) values ($1, 1)
           on conflict (namespace) do update set version = quintet_settings_version.version + 1
           returning version`,
          [namespace],
        )
        const version = Number((rows[0] as Row)['version'])
        const stored = await load(query)
        if (request.expectedVersion !== undefined)
          assertExpected(request, await lastChange(query, request.key))
        const value = await request.decide(stored, query)
        const { key, actor, reason } = request
        if (value === undefined) {
          await query.query('delete from quintet_settings where namespace = $1 and key = $2', [
            namespace,
            key,
          ])
        } else {
          await query.query(
            `insert into quintet_settings (namespace, key, value, version) values ($1, $2, $3::jsonb, $4)
             on conflict (namespace, key) do update set value = excluded.value, version = excluded.version`,
            [namespace, key, JSON.stringify(value), version],
          )
        }
        await query.query(
          `insert into quintet_settings_history (namespace, version, key, value, actor, reason)
           values ($1, $2, $3, $4::jsonb, $5, $6)`,
          [
            namespace,
            version,
            key,
            value === undefined ? null : JSON.stringify(value),
            actor,
            reason ?? null,
          ],
        )
        return version
      }),
    async history(key, limit) {
      const { rows } = await reader.query(
        `select version, value, value is null as is_default, actor, reason, changed_at from quintet_settings_history
          where namespace = $1 and key = $2 order by version desc limit $3`,
        [namespace, key, limit],
      )
      return (rows as readonly Row[]).map((row) => ({
        key,
        version: Number(row['version']),
        value: row['is_default'] === true ? undefined : row['value'],
        actor: String(row['actor']),
        reason: row['reason'] === null ? undefined : (row['reason'] as string),
        changedAt: row['changed_at'] as Date,
      }))
    },
    async valueAt(query, key, version) {
      const { rows } = await query.query(
        `select value, value is null as is_default from quintet_settings_history
          where namespace = $1 and key = $2 and version <= $3 order by version desc limit 1`,
        [namespace, key, version],
      )
      const row = rows[0] as Row | undefined
      return row === undefined || row['is_default'] === true ? undefined : row['value']
    },
  }
}

function assertExpected({ key, expectedVersion }: ChangeRequest, version: number): void {
  if (expectedVersion === version) return
  throw new QuintetError(
    `The setting "${key}" is at version ${version}, not at ${expectedVersion}: it was changed meanwhile. Read it again.`,
    { code: 'ERR_CORE_SETTINGS_CONFLICT', kind: 'conflict', details: { key, version } },
  )
}
