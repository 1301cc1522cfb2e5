import { access, constants } from 'node:fs/promises'
import { delimiter, join } from 'node:path'

/** Where `tools/redis-products.ts` puts the servers that it fetches. */
export const redisProductsFolder: string = join(
  import.meta.dirname,
  '../../../node_modules/.cache/redis-products',
)

/** The path of a Redis server, such as `valkey-server`: on `PATH`, or among those that were fetched for the tests. */
export async function findRedisServer(name: string): Promise<string | undefined> {
  for (const folder of [...(process.env['PATH'] ?? '').split(delimiter), redisProductsFolder]) {
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
