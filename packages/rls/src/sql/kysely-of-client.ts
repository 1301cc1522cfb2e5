import { Kysely, PostgresDialect } from 'kysely'
import type { Client } from 'pg'

/** Queries over one connection, which stays its owner's to end. */
export function kyselyOfClient<Database>(client: Client): Kysely<Database> {
  return new Kysely({
    dialect: new PostgresDialect({
      pool: {
        options: {},
        connect: async () => ({ query: client.query.bind(client) as never, release: () => undefined }),
        end: async () => undefined,
      },
    }),
  })
}
