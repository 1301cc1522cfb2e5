/** One place that configuration comes from. Later sources win over earlier ones, key by key. */
export interface ConfigSource {
  /** For error messages and `quintet config`, e.g. `config/default.json` or `env MEDIA_*`. */
  readonly label: string
  /** `text` values (from the environment) are coerced where the schema wants a number or boolean; `typed` ones never. */
  readonly values: 'text' | 'typed'
  /** What an operator would set for a path (`['database', 'url']`), for the message about a value that is missing. */
  placeOf?(path: readonly string[]): string
  /** The values as a tree, or undefined when an optional source is absent. */
  read(context: ConfigContext): Promise<ConfigTree | undefined>
}

export interface ConfigContext {
  readonly env: Readonly<Record<string, string | undefined>>
  /** Relative paths are resolved against this folder. */
  readonly baseUrl: string | undefined
}

export interface ConfigTree {
  readonly [key: string]: unknown
}
