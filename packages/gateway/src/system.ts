export { default } from './system/gateway-system.ts'
