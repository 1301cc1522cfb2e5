import type { StandardSchemaV1 } from '@standard-schema/spec'
import { QuintetError } from '../errors.ts'
import { emptyConfig, mergeSource, type ConfigProblem, type MergedConfig } from './merge.ts'
import { redact } from './redact.ts'
import { shapeOf, type SchemaShape } from './schema-shape.ts'
import type { ConfigSource } from './source.ts'

export interface LoadConfigOptions<Config> {
  /**
   * With Standard JSON Schema (zod, arktype, valibot by `toStandardJsonSchema`) texts become what it wants and unknown
   * keys are refused with the nearest one; any other Standard Schema sees the texts, and must refuse unknown keys itself.
   */
  readonly schema: StandardSchemaV1<unknown, Config>
  /** Later ones win, key by key. */
  readonly sources?: readonly ConfigSource[]
  /** @defaultValue `process.env` */
  readonly env?: Readonly<Record<string, string | undefined>>
  /** The folder against which relative paths of files are resolved. @defaultValue the working directory */
  readonly baseUrl?: string | undefined
}

export interface LoadedConfig<Config> {
  readonly value: Config
  /** Which source each value came from, by path (`database.url`). What is not here came from the schema. */
  readonly origins: ReadonlyMap<string, string>
}

/**
 * Reads a configuration from its sources and checks it.
 *
 * @throws QuintetError `ERR_CORE_CONFIG_INVALID` naming every problem at once, each with its path and source;
 *   `details.problems` holds them. Secret values are never shown.
 */
export async function loadConfig<Config>(options: LoadConfigOptions<Config>): Promise<LoadedConfig<Config>> {
  const shape = shapeOf(options.schema)
  const merged = emptyConfig()
  const context = { env: options.env ?? process.env, baseUrl: options.baseUrl }
  for (const source of options.sources ?? []) {
    try {
      const values = await source.read(context)
      if (values !== undefined) mergeSource(merged, source, values, shape)
    } catch (error) {
      merged.problems.push({
        path: '',
        message: error instanceof Error ? error.message : String(error),
        source: source.label,
      })
    }
  }
  const result = await options.schema['~standard'].validate(merged.tree)
  const problems = [
    ...merged.problems,
    ...(result.issues ?? []).map((issue) => toProblem(issue, merged, shape, options.sources ?? [])),
  ]
  if (problems.length > 0 || result.issues !== undefined) throw invalid(problems)
  return { value: result.value, origins: merged.origins }
}

function toProblem(
  issue: StandardSchemaV1.Issue,
  merged: MergedConfig,
  shape: SchemaShape,
  sources: readonly ConfigSource[],
): ConfigProblem {
  const path = (issue.path ?? []).map((segment) =>
    String(typeof segment === 'object' ? segment.key : segment),
  )
  const source = originOf(merged.origins, path)
  const shown =
    source === undefined ? undefined : show(path, valueAt(merged.tree, path), isSecretAt(shape, path))
  return {
    path: path.join('.'),
    message:
      shown === undefined ? issue.message + placesFor(path, sources) : `${issue.message} (given: ${shown})`,
    source,
  }
}

/** Where a value that is missing can be given. */
function placesFor(path: readonly string[], sources: readonly ConfigSource[]): string {
  const places = sources.toReversed().flatMap((source) => source.placeOf?.(path) ?? [])
  return places.length === 0 || path.length === 0 ? '' : `. Set ${places.join(', or ')}`
}

/** The source of a path, or of the nearest value around it: an item of a list has the origin of the list. */
function originOf(origins: ReadonlyMap<string, string>, path: readonly string[]): string | undefined {
  for (let length = path.length; length > 0; length--) {
    const origin = origins.get(path.slice(0, length).join('.'))
    if (origin !== undefined) return origin
  }
  return undefined
}

function valueAt(tree: unknown, path: readonly string[]): unknown {
  let value = tree
  for (const segment of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, segment)) return undefined
    value = (value as Record<string, unknown>)[segment]
  }
  return value
}

function isSecretAt(shape: SchemaShape, path: readonly string[]): boolean {
  let at = shape
  for (const segment of path) {
    if (at.isSecret) return true
    at = at.member(segment)
  }
  return at.isSecret
}

function show(path: readonly string[], value: unknown, isSecret: boolean): string | undefined {
  if (value === undefined) return undefined
  if (isSecret) return '[secret]'
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'a list' : 'an object'
  return JSON.stringify(redact(path, value))?.slice(0, 80)
}

function invalid(problems: readonly ConfigProblem[]): QuintetError<'ERR_CORE_CONFIG_INVALID'> {
  const lines = problems.map(({ path, message, source }) => {
    const place = path === '' ? '' : `${path}: `
    return `- ${place}${message}${source === undefined ? '' : ` [${source}]`}`
  })
  return new QuintetError(`The configuration is not valid:\n${lines.join('\n')}`, {
    code: 'ERR_CORE_CONFIG_INVALID',
    kind: 'internal',
    details: { problems },
  })
}
