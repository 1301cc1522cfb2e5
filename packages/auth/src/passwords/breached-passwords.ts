import { hash } from 'node:crypto'
import { open, type FileHandle } from 'node:fs/promises'

/** Passwords that are known from breaches, and tried first by who guesses. */
export interface BreachedPasswords extends AsyncDisposable {
  /** Whether a password is among them. Reads the file some times: as often as its size has binary digits, at most. */
  has(password: string): Promise<boolean>
  /** Closes the file. Idempotent. */
  close(): Promise<void>
}

/** A SHA-1 in hexadecimal, and maybe how often it was seen. */
const linePattern = /^([\dA-F]{40})(?::\d{1,20})?\r?$/i
/** More than a line is long. */
const window = 128
/** In how many places a list is looked at when it is opened: one by prevalence has the same lines in another order. */
const samples = 64

/**
 * Opens a list of breached passwords: lines of SHA-1 hashes in order, as "Pwned Passwords" is downloaded. It is searched where
 * it is and not read into memory, and no password leaves the machine.
 *
 * @throws Error when the file cannot be opened, has lines that are no hashes, or is in another order
 * @see NIST SP 800-63B section 5.1.1.2
 *
 * @example
 * await using breached = await openBreachedPasswords('/srv/pwned-passwords-sha1-ordered-by-hash.txt')
 * if (await breached.has(password)) throw new Error('Choose another password.')
 */
export async function openBreachedPasswords(path: string): Promise<BreachedPasswords> {
  const file = await open(path, 'r')
  try {
    const { size } = await file.stat()
    const list = new SortedHashes(file, size, path)
    await list.check()
    return list
  } catch (error) {
    await file.close()
    throw error
  }
}

class SortedHashes implements BreachedPasswords {
  readonly #file: FileHandle
  readonly #size: number
  readonly #path: string

  constructor(file: FileHandle, size: number, path: string) {
    this.#file = file
    this.#size = size
    this.#path = path
  }

  async check(): Promise<void> {
    if (this.#size === 0) throw new Error(`${this.#path}: is empty.`)
    let before = ''
    for (let sample = 0; sample <= samples; sample++) {
      const { hash: found } = await this.#lineAt(Math.floor(((this.#size - 1) * sample) / samples))
      if (found < before) throw this.#disorder()
      before = found
    }
  }

  async has(password: string): Promise<boolean> {
    const wanted = hash('sha1', password.normalize('NFC'), 'hex').toUpperCase()
    let [from, to] = [0, this.#size]
    let [above, below] = ['', 'G']
    while (from < to) {
      const line = await this.#lineAt(Math.floor((from + to) / 2))
      if (line.hash === wanted) return true
      if (line.hash < above || line.hash > below) throw this.#disorder()
      if (line.hash < wanted) [from, above] = [line.end, line.hash]
      else [to, below] = [line.start, line.hash]
    }
    return false
  }

  #disorder(): Error {
    return new Error(`${this.#path}: is not in the order of its hashes.`)
  }

  async close(): Promise<void> {
    await this.#file.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** The line that a byte is in, with its line break. */
  async #lineAt(
    at: number,
  ): Promise<{ readonly hash: string; readonly start: number; readonly end: number }> {
    const from = Math.max(0, at - window)
    const { buffer, bytesRead } = await this.#file.read(Buffer.alloc(2 * window), 0, 2 * window, from)
    const text = buffer.toString('latin1', 0, bytesRead)
    const start = text.slice(0, at - from).lastIndexOf('\n') + 1
    const lineBreak = text.indexOf('\n', at - from)
    const end = lineBreak === -1 ? bytesRead : lineBreak
    const found = linePattern.exec(text.slice(start, end))?.[1]
    if (found === undefined) {
      throw new Error(`${this.#path}: has no SHA-1 in the line at byte ${from + start}.`)
    }
    return { hash: found.toUpperCase(), start: from + start, end: from + end + 1 }
  }
}
