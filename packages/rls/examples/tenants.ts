import { createRlsPool, runWithRlsContext, tenantPolicy } from '@quintet/rls'
import { policiesToSql } from '@quintet/rls/migrations'
import { provisionDatabase } from '@quintet/rls/migrations'
import { Kysely, PostgresDialect, type Generated } from 'kysely'
import { Client, Pool } from 'pg'

interface Database {
  notes: { id: Generated<number>; tenant_id: Generated<string>; title: string }
}

const adminUrl = process.env['DATABASE_URL'] ?? 'postgres://postgres@localhost/postgres'
const { ownerUrl, url, systemUrl, roles } = await provisionDatabase({ adminUrl, name: 'notes_example' })

const owner = new Client({ connectionString: ownerUrl })
await owner.connect()
await owner.query(`create table if not exists notes (
  tenant_id uuid not null default nullif(current_setting('app.tenant_id', true), '')::uuid,
  id int generated always as identity, title text not null, primary key (tenant_id, id))`)
for (const statement of policiesToSql([tenantPolicy('notes')], roles)) await owner.query(statement)
await owner.end()

const pool = createRlsPool(new Pool({ connectionString: url }), {
  role: roles.tenant,
  system: new Pool({ connectionString: systemUrl }),
})
await using db = new Kysely<Database>({ dialect: new PostgresDialect({ pool }) })

const acme = { tenantId: '5f0c1f5e-0f0c-4a7e-9d53-0d9f6d3c2a11' }
const globex = { tenantId: '8a6f5f3a-52a7-4e6a-8a3c-1f3f4a0f9b22' }
await runWithRlsContext(acme, () => db.insertInto('notes').values({ title: 'ours' }).execute())
const count = (context: typeof acme) =>
  runWithRlsContext(context, async () => (await db.selectFrom('notes').select('title').execute()).length)
console.log(`acme sees ${await count(acme)}, globex sees ${await count(globex)}`)
await db
  .selectFrom('notes')
  .selectAll()
  .execute()
  .catch((error: { code: string }) => console.log(`nobody: ${error.code}`))
