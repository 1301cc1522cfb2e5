import { createDatabaseFromTemplate, startPostgres, startRedis } from '@quintet/orchestrator/infrastructure'

await using postgres = await startPostgres({ durable: false })
await using redis = await startRedis()

const database = await createDatabaseFromTemplate(postgres.url, 'template1', 'first_test')
console.log(new URL(database).pathname, new URL(redis.url).hostname)
