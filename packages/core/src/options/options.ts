import { count, delay, descriptor, duration, number, port, size } from './number-options.ts'
import {
  callable,
  clock,
  collaborator,
  either,
  json,
  list,
  logger,
  nested,
  parsed,
  record,
  signal,
} from './object-options.ts'
import { address, boolean, host, name, oneOf, secretText, text, url } from './text-options.ts'

/**
 * The kinds of options that a spec of `readOptions` is made of. The first argument is the default; where there is
 * none, the option must be given, unless it is `.optional()`. `.orFalse()` lets `false` switch it off, and `.map()`
 * makes another value of what was read.
 */
export const option = Object.freeze({
  address,
  boolean,
  clock,
  collaborator,
  count,
  delay,
  descriptor,
  duration,
  either,
  function: callable,
  host,
  json,
  list,
  logger,
  name,
  nested,
  number,
  oneOf,
  parsed,
  port,
  record,
  secretText,
  signal,
  size,
  text,
  url,
})
