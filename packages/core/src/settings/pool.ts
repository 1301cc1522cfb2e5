/** The part of a `pg` pool that settings need. */
export interface SettingsPool extends SettingsQuery {
  connect(): Promise<SettingsClient>
}

export interface SettingsQuery {
  query(text: string, values?: unknown[]): Promise<{ readonly rows: readonly unknown[] }>
}

export interface SettingsClient extends SettingsQuery {
  /** With true the connection is closed instead of reused. */
  release(destroy?: boolean): void
}

/** Runs something in one transaction: committed when it resolves, rolled back when it rejects. */
export async function inTransaction<Result>(
  pool: SettingsPool,
  run: (client: SettingsQuery) => Promise<Result>,
): Promise<Result> {
  const client = await pool.connect()
  let broken = false
  try {
    await client.query('begin')
    const result = await run(client)
    await client.query('commit')
    return result
  } catch (error) {
    await client.query('rollback').catch(() => {
      broken = true
    })
    throw error
  } finally {
    client.release(broken)
  }
}
