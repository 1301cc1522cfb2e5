export { attackIdempotency, type IdempotencyAttackOptions } from './testing/attack-idempotency.ts'
export { assertNoSeqScan, explainTenantStatement, type ExplainedStatement } from './testing/explain.ts'
export {
  formatAttackMatrix,
  runAttackMatrix,
  type AttackMatrixOptions,
  type AttackReport,
  type AttackTable,
} from './testing/attack-matrix.ts'
export type { AttackActor, AttackCase, AttackOperation } from './testing/attack-case.ts'
export { formatPolicySnapshot } from './testing/policy-snapshot-text.ts'
export { readPolicySnapshot, type PolicySnapshot } from './catalogue/policy-snapshot.ts'
