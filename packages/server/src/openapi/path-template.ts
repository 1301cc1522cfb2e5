/** A path of OpenAPI and its parameters. */
export interface PathTemplate {
  readonly path: string
  readonly parameters: readonly PathParameter[]
}

export interface PathParameter {
  readonly name: string
  /** What its value must match, if the pattern says so. */
  readonly pattern: string | undefined
}

/** The path of OpenAPI that a pattern of Hono stands for: `/objects/:id{[0-9]+}/*` is `/objects/{id}/{rest}`. */
export function pathTemplate(pattern: string): PathTemplate {
  const segments = splitPattern(pattern)
  const parameters: PathParameter[] = []
  const path = segments.map((segment, index) => {
    if (segment === '*') {
      const name = freeName(index === segments.length - 1 ? 'rest' : 'any', parameters)
      parameters.push({ name, pattern: undefined })
      return `{${name}}`
    }
    const match = /^:([\w-]+)(?:\{(.*)\})?$/.exec(segment)
    if (match === null) return segment
    const name = freeName(match[1] ?? '', parameters)
    parameters.push({ name, pattern: match[2] === undefined ? undefined : `^(?:${match[2]})$` })
    return `{${name}}`
  })
  return { path: `/${path.join('/')}`, parameters }
}

/** The segments between slashes; a slash in the braces of a parameter belongs to it. */
function splitPattern(pattern: string): readonly string[] {
  const segments: string[] = []
  let depth = 0
  let from = 1
  for (let index = 1; index < pattern.length; index++) {
    const char = pattern.charAt(index)
    if (char === '{') depth++
    else if (char === '}') depth--
    else if (char === '/' && depth === 0) {
      segments.push(pattern.slice(from, index))
      from = index + 1
    }
  }
  segments.push(pattern.slice(from))
  return segments
}

function freeName(wanted: string, taken: readonly PathParameter[]): string {
  const isTaken = (name: string): boolean => taken.some((parameter) => parameter.name === name)
  let name = wanted
  for (let count = 2; isTaken(name); count++) name = `${wanted}_${String(count)}`
  return name
}
