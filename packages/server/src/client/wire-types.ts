/**
 * What is received for a value that was sent as JSON: a `Date` arrives as a string, a `Map` or a `Set` as an empty
 * object, and members that JSON does not hold (functions, symbols) not at all. A `bigint` cannot be sent, so nothing is
 * received for it.
 *
 * `Bytes` are the values that the link carries beside JSON.
 */
export type Received<T, Bytes = never> =
  IsAny<T> extends true
    ? T
    : unknown extends T
      ? unknown
      : [Bytes] extends [never]
        ? ReceivedPlain<T, Bytes>
        : T extends Bytes
          ? T
          : ReceivedPlain<T, Bytes>

type ReceivedPlain<T, Bytes> = T extends string | number | boolean | null | undefined | void
  ? T
  : T extends bigint
    ? never
    : T extends Unserialized
      ? undefined
      : T extends { toJSON(...args: never[]): infer Json }
        ? Received<Json, Bytes>
        : T extends Collection
          ? Record<string, never>
          : T extends ArrayBufferView
            ? Record<string, number>
            : T extends readonly unknown[]
              ? { [Index in keyof T]: OrNull<Received<T[Index], Bytes>> }
              : {
                  [
                    Key in keyof T as Key extends symbol
                      ? never
                      : IsOmitted<T[Key]> extends true
                        ? never
                        : Key
                  ]: Received<T[Key], Bytes>
                }

/**
 * What may be given for what the other side takes as JSON. What no JSON value can become, such as a `Date`, a `Map` or a
 * `bigint`, is `never`: the schema would refuse what arrives. `any` is `unknown`.
 */
export type Sent<T, Bytes = never> =
  IsAny<T> extends true
    ? unknown
    : unknown extends T
      ? unknown
      : [Bytes] extends [never]
        ? SentPlain<T, Bytes>
        : T extends Bytes
          ? T
          : SentPlain<T, Bytes>

type SentPlain<T, Bytes> = T extends string | number | boolean | null | undefined | void
  ? T
  : T extends bigint | Unserialized | Collection | ArrayBufferView | { toJSON(...args: never[]): unknown }
    ? never
    : T extends readonly unknown[]
      ? { [Index in keyof T]: Sent<T[Index], Bytes> }
      : { [Key in keyof T]: Sent<T[Key], Bytes> }

/** What JSON leaves out of an object, and what is null in a list. */
type Unserialized = symbol | ((...args: never[]) => unknown)

type Collection =
  | ReadonlyMap<unknown, unknown>
  | ReadonlySet<unknown>
  | WeakMap<WeakKey, unknown>
  | WeakSet<WeakKey>
  | ArrayBufferLike
  | RegExp
  | Promise<unknown>

type OrNull<T> = T extends undefined ? null : T

type IsOmitted<T> =
  IsAny<T> extends true ? false : [T] extends [never] ? false : [T] extends [Unserialized] ? true : false

type IsAny<T> = 0 extends 1 & T ? true : false
