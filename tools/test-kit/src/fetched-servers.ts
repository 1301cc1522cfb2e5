import { access, constants } from 'node:fs/promises'
import { delimiter, join } from 'node:path'

/** Where `tools/fetch-servers.ts` puts the servers that it fetches. */
export const fetchedServersFolder: string = join(
  import.meta.dirname,
  '../../../node_modules/.cache/test-servers',
)

/** The path of a server program, such as `valkey-server`: on `PATH`, or among those that were fetched for the tests. */
export async function findServer(name: string): Promise<string | undefined> {
  for (const folder of [...(process.env['PATH'] ?? '').split(delimiter), fetchedServersFolder]) {
    const path = join(folder, name)
    try {
      await access(path, constants.X_OK)
      return path
    } catch {
      // Not in this one.
    }
  }
  return undefined
}
