export type { Queryable } from './sql/queryable.ts'
export { readCatalogue, type Catalogue } from './catalogue/catalogue.ts'
export { formatLint, lint, lintCatalogue, lintDefaults, type LintOptions } from './lint/lint.ts'
export type { LintFinding, LintRule } from './lint/lint-rule.ts'
export { diffPolicies, formatPolicyDiff, type PolicyDiffOptions } from './catalogue/policy-diff.ts'
export type { PolicyChange } from './catalogue/policy-change.ts'
export {
  planPolicies,
  readPolicySnapshot,
  type FunctionSecurity,
  type PolicyPlan,
  type PolicySnapshot,
  type RelationSecurity,
} from './catalogue/policy-snapshot.ts'
export { generateTypes, type GenerateTypesOptions } from './catalogue/generate-types.ts'
export { readDeclaredSnapshot, type DeclaredSnapshotOptions } from './lint/declared-snapshot.ts'
