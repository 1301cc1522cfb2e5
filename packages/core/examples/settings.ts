import { createSettings, settingsSchemaSql } from '@quintet/core/settings'
import { Pool } from 'pg'
import { z } from 'zod'

const pool = new Pool({ connectionString: process.env['DATABASE_URL'] })
await pool.query(settingsSchemaSql) // belongs into a migration

const schema = z.object({
  commission: z.number().min(0).max(1).default(0.1),
  banner: z.string().nullable().default(null),
})
const settings = createSettings({ schema, pool })
await settings.loadAndApply()
settings.subscribe('commission', (value, previous) => console.log(`commission: ${previous} -> ${value}`))

const version = await settings.setAndReload('commission', 0.2, { actor: 'ada', reason: 'spring sale' })
await settings.rollback('commission', version - 1, { actor: 'bob' })
console.log((await settings.history('commission')).map(({ actor }) => actor))

await settings.close()
await pool.end()
