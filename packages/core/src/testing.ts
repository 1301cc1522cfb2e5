export { callApp, type CallAppOptions } from './testing/call-app.ts'
export {
  attackOperations,
  type AttackOperationsOptions,
  type OperationAnswer,
  type OperationCase,
} from './testing/attack-operations.ts'
export { createAttackHost, type AttackHost } from './testing/attack-host.ts'
export {
  forgedContextAttacks,
  leavingAttacks,
  textAttacks,
  type ForgeableSurface,
  type LeavableSurface,
  type TextSurface,
} from './testing/further-attacks.ts'
export {
  surfaceAttacks,
  type SurfaceAdapter,
  type SurfaceAttack,
  type SurfaceOutcome,
  type SurfaceRequest,
} from './testing/surface-attacks.ts'
export { createTestHost, type TestHost, type TestHostOptions } from './testing/test-host.ts'
export { createTokenAuth, testUser, type TokenAuth } from './testing/token-auth.ts'
