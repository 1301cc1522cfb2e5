export { assertGatewayEnvironment, default } from './system/gateway-system.ts'
