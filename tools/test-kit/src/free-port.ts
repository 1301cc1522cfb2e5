export { freePort } from '../../../packages/orchestrator/src/processes/free-port.ts'
