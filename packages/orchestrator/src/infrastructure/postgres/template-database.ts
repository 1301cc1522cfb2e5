/**
 * Creates a database as a copy of another one on the same server (about 20 ms), and returns its URL. Nobody may be
 * connected to the template meanwhile.
 *
 * @param adminUrl of a user who may create databases.
 */
export async function createDatabaseFromTemplate(
  adminUrl: string,
  template: string,
  name: string,
): Promise<string> {
  const { Client, escapeIdentifier } = await import('pg')
  const client = new Client({ connectionString: adminUrl })
  await client.connect()
  try {
    await client.query(`create database ${escapeIdentifier(name)} template ${escapeIdentifier(template)}`)
  } finally {
    await client.end()
  }
  const url = new URL(adminUrl)
  url.pathname = `/${encodeURIComponent(name)}`
  return url.href
}
