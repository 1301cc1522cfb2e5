export { toRedisError } from './errors.ts'
export { createScript } from './commands/script.ts'
export type { Script } from './commands/script.ts'
