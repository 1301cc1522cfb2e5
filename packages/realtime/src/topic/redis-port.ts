/** The part of a Redis client that publishing needs; an ioredis client fits. */
export interface RealtimeRedis {
  /** `keyPrefix` separates the pub/sub channels, too, to which ioredis does not apply it. */
  readonly options?: { readonly keyPrefix?: string | undefined }
  eval(script: string, numberOfKeys: number, ...keysAndArguments: (string | number)[]): Promise<unknown>
}

/** A client that can also make the connection on which events come in. */
export interface FannedRedis extends RealtimeRedis {
  duplicate(overrides?: object): SubscriberRedis
}

export interface SubscriberRedis {
  subscribe(...channels: string[]): Promise<unknown>
  unsubscribe(...channels: string[]): Promise<unknown>
  on(event: 'message', listener: (channel: string, message: string) => void): unknown
  on(event: 'ready', listener: () => void): unknown
  on(event: 'error', listener: (error: Error) => void): unknown
  disconnect(): void
}
