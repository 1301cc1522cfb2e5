export type { Queryable } from './sql/queryable.ts'
export { readCatalogue, type Catalogue } from './catalogue/catalogue.ts'
export { formatLint, lint, lintCatalogue, lintDefaults, type LintOptions } from './lint/lint.ts'
export type { LintFinding, LintRule } from './lint/lint-rule.ts'
export {
  diffPolicies,
  formatPolicyDiff,
  type PolicyChange,
  type PolicyDiffOptions,
} from './catalogue/policy-diff.ts'
export {
  planPolicies,
  readPolicySnapshot,
  type PolicyPlan,
  type PolicySnapshot,
  type TableSecurity,
} from './catalogue/policy-snapshot.ts'
export { generateTypes, type GenerateTypesOptions } from './catalogue/generate-types.ts'
