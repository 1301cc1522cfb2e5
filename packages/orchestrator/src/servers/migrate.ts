import { createLogger } from '@quintet/core/logger'
import { createMigrator } from '@quintet/rls/migrations'
import { describeError } from '../errors.ts'

/** The body of an app's migrate task: brings its database up to date under the owner's login, and ends. */
export async function migrateUp(folder: string): Promise<void> {
  const logger = createLogger()
  const ownerUrl = process.env['QUINTET_OWNER_URL']
  if (!ownerUrl)
    throw new TypeError('@migrate is started by the supervisor, which says where the database is.')
  try {
    const names = await createMigrator({ ownerUrl, folder, logger }).up()
    logger.info(
      { migrations: names },
      names.length === 0 ? 'The database is up to date.' : `${names.length} migration(s) done.`,
    )
  } catch (error) {
    logger.fatal({ err: error }, describeError(error))
    process.exitCode = 1
  }
}
