import { Secret, type SecretText } from '../security/secret.ts'
import { nearestKey } from './known-keys.ts'
import { withDefault } from './number-options.ts'
import { Option, refuse } from './option.ts'
import { show } from './show.ts'

export interface TextForm {
  /** The texts that fit. */
  readonly pattern: RegExp
  /** What fits, in words: `a path such as "/internal"`. */
  readonly expected: string
}

/** A text that is not empty; with a form, one that has it. */
export function text(fallback?: string, form?: TextForm): Option<string> {
  const expected = form?.expected ?? 'a text that is not empty'
  const pattern = form?.pattern ?? /^[^]+$/
  return withDefault(
    new Option(expected, (given, path, problems) =>
      typeof given === 'string' && pattern.test(given) ? given : refuse(given, expected, path, problems),
    ),
    fallback,
  )
}

/** A name that can stand in a host name, a file name and a database name. */
export function name(fallback?: string): Option<string> {
  return text(fallback, {
    pattern: /^[a-z][a-z0-9-]{0,39}$/,
    expected: 'a name: a lower-case letter, then lower-case letters, digits or "-", 40 at most',
  })
}

/** One of some words. */
export function oneOf<const Choice extends string>(
  choices: readonly Choice[],
  fallback?: NoInfer<Choice>,
): Option<Choice> {
  const expected = `one of ${choices.map((choice) => `'${choice}'`).join(', ')}`
  return withDefault(
    new Option<Choice>(expected, (given, path, problems) => {
      const found = choices.find((choice) => choice === given)
      if (found !== undefined) return found
      const nearest = typeof given === 'string' ? nearestKey(given, choices) : undefined
      problems.note(
        path,
        `${show(given)} is not ${expected}.${nearest === undefined ? '' : ` Did you mean '${nearest}'?`}`,
      )
      return undefined
    }),
    fallback,
  )
}

/** True or false. */
export function boolean(fallback?: boolean): Option<boolean> {
  return withDefault(
    new Option<boolean>('true or false', (given, path, problems) =>
      typeof given === 'boolean' ? given : refuse(given, 'true or false', path, problems),
    ),
    fallback,
  )
}

/** A secret: a text, or what gives one by `reveal()`. What was given never stands in a message. */
export function secretText({ minLength = 1 }: { readonly minLength?: number } = {}): Option<Secret> {
  const expected = `a secret of at least ${minLength} character${minLength === 1 ? '' : 's'}`
  return new Option<Secret>(expected, (given, path, problems) => {
    const revealed = reveal(given)
    if (revealed !== undefined && revealed.length >= minLength) return new Secret(revealed)
    problems.note(path, `${revealed === undefined ? 'this' : 'a shorter text'} is not ${expected}.`)
    return undefined
  })
}

function reveal(given: unknown): string | undefined {
  const isHolder = typeof given === 'object' && given !== null && 'reveal' in given
  const holder = given as Exclude<SecretText, string>
  const revealed: unknown = isHolder && typeof holder.reveal === 'function' ? holder.reveal() : given
  return typeof revealed === 'string' ? revealed : undefined
}

export interface UrlForm {
  /** The schemes, e.g. `['http:', 'https:']`. @defaultValue any */
  readonly protocols?: readonly string[]
  /** Only an origin: no path, query, fragment or credentials. @defaultValue false */
  readonly origin?: boolean
}

/** A URL (WHATWG). The password of one that is refused never stands in a message. */
export function url(fallback?: string, { protocols, origin = false }: UrlForm = {}): Option<URL> {
  const schemes =
    protocols === undefined ? '' : ` that starts with ${protocols.map((each) => `${each}//`).join(' or ')}`
  const expected = `${origin ? 'an origin, without path or credentials,' : 'a URL'}${schemes}`
  return withDefault(
    new Option<URL>(expected, (given, path, problems) => {
      const parsed = given instanceof URL ? given : typeof given === 'string' ? URL.parse(given) : null
      const fits = parsed !== null && (protocols?.includes(parsed.protocol) ?? true)
      if (fits && (!origin || isOrigin(parsed))) return parsed
      problems.note(
        path,
        `${parsed === null ? 'this' : show(`${parsed.protocol}//${parsed.host}`)} is not ${expected}.`,
      )
      return undefined
    }),
    fallback === undefined ? undefined : new URL(fallback),
  )
}

function isOrigin({ pathname, search, hash, username, password }: URL): boolean {
  return (pathname === '/' || pathname === '') && `${search}${hash}${username}${password}` === ''
}

/** An IP address, or a network in CIDR notation such as `10.0.0.0/8`. */
export function address(fallback?: string): Option<string> {
  const expected = 'an IP address or a network such as "10.0.0.0/8"'
  return withDefault(
    new Option<string>(expected, (given, path, problems) =>
      typeof given === 'string' && isAddress(given) ? given : refuse(given, expected, path, problems),
    ),
    fallback,
  )
}

/** A host that can be listened on or connected to: a name or an IP address. */
export function host(fallback?: string): Option<string> {
  return text(fallback, { pattern: /^[A-Za-z0-9_.:-]+$/, expected: 'a host name or an IP address' })
}

function isAddress(given: string): boolean {
  const [ip = '', bits, ...more] = given.split('/')
  const width = isIpv4(ip) ? 32 : isIpv6(ip) ? 128 : 0
  if (width === 0 || more.length > 0) return false
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= width)
}

function isIpv4(ip: string): boolean {
  return /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}$/.test(ip)
}

/** Read by the URL parser, because this runs in browsers too. */
function isIpv6(ip: string): boolean {
  return ip.includes(':') && URL.canParse(`http://[${ip}]/`)
}
