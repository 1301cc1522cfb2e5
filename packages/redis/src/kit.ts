export { toRedisError } from './errors.ts'
export { createScript } from './script.ts'
export type { Script } from './script.ts'
