import type { AccessRule } from '@quintet/core'
import type { SchemaConverters } from './json-schema.ts'

export interface OpenApiOptions {
  /** @defaultValue `'/openapi.json'` */
  readonly path?: string
  /** Where the page is; `false` for none. @defaultValue `'/docs'` */
  readonly docs?: string | false
  /** Who may read it. @defaultValue `'public'` */
  readonly access?: AccessRule
  /** JSON Schema for schema libraries that do not offer it themselves, by vendor name. @defaultValue {} */
  readonly converters?: SchemaConverters
}
