interface Slot<V> {
  value: V
  used: boolean
}

/**
 * A map of bounded size that keeps what is used: a full map drops its oldest entry, but passes over
 * (once) each one that was read since. A read costs one lookup and moves nothing.
 */
export class SecondChanceMap<K, V> {
  readonly #slots = new Map<K, Slot<V>>()
  readonly #limit: number

  constructor(limit: number) {
    this.#limit = limit
  }

  get size(): number {
    return this.#slots.size
  }

  get(key: K): V | undefined {
    const slot = this.#slots.get(key)
    if (slot === undefined) return undefined
    slot.used = true
    return slot.value
  }

  set(key: K, value: V): void {
    const slot = this.#slots.get(key)
    if (slot !== undefined) {
      slot.value = value
      return
    }
    if (this.#slots.size >= this.#limit) this.#evict()
    this.#slots.set(key, { value, used: false })
  }

  delete(key: K): boolean {
    return this.#slots.delete(key)
  }

  clear(): void {
    this.#slots.clear()
  }

  #evict(): void {
    for (const [key, slot] of this.#slots) {
      this.#slots.delete(key)
      if (!slot.used) return
      slot.used = false
      this.#slots.set(key, slot)
    }
  }
}
