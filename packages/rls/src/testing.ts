export { assertNoSeqScan, explainTenantStatement, type ExplainedStatement } from './testing/explain.ts'
export {
  formatAttackMatrix,
  runAttackMatrix,
  type AttackActor,
  type AttackCase,
  type AttackMatrixOptions,
  type AttackOperation,
  type AttackReport,
  type AttackTable,
} from './testing/attack-matrix.ts'
export { formatPolicySnapshot } from './testing/policy-snapshot-text.ts'
export { readPolicySnapshot, type PolicySnapshot } from './catalogue/policy-snapshot.ts'
