export { createRlsPool } from './pool/rls-pool.ts'
