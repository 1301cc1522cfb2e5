import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import type { Secret } from '@quintet/core'
import { deriveKey } from '@quintet/core/kit'

/** Keeps short secrets at rest, each for one owner: whoever copies a row to another one, or reads the table, has nothing. */
export interface Sealer {
  seal(text: string, owner: string): Buffer
  /** The text, and whether it was sealed by a former root, so that it is to be sealed anew. @throws Error when it is not ours. */
  open(sealed: Buffer, owner: string): { readonly text: string; readonly isOld: boolean }
}

const [ivSize, tagSize] = [12, 16]

/** AES-256-GCM, by the present root; what a former one has sealed is opened. */
export function createSealer(purpose: string, ...roots: readonly [Secret, ...Secret[]]): Sealer {
  const keys = roots.map((root) => deriveKey(root, `example-auth/${purpose}/v1`))
  const openWith = (key: Buffer, sealed: Buffer, owner: string): string => {
    const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, ivSize), {
      authTagLength: tagSize,
    })
    decipher.setAAD(Buffer.from(owner)).setAuthTag(sealed.subarray(ivSize, ivSize + tagSize))
    return Buffer.concat([decipher.update(sealed.subarray(ivSize + tagSize)), decipher.final()]).toString()
  }
  return {
    seal(text, owner) {
      const iv = randomBytes(ivSize)
      const cipher = createCipheriv('aes-256-gcm', keys[0] as Buffer, iv, { authTagLength: tagSize })
      cipher.setAAD(Buffer.from(owner))
      const sealed = Buffer.concat([cipher.update(text), cipher.final()])
      return Buffer.concat([iv, cipher.getAuthTag(), sealed])
    },
    open(sealed, owner) {
      for (const [index, key] of keys.entries()) {
        try {
          return { text: openWith(key, sealed, owner), isOld: index > 0 }
        } catch {
          // By another key, or not ours at all: the next one tells.
        }
      }
      throw new Error(
        'What was sealed cannot be opened: it is of another owner, or of a root that is not known any more.',
      )
    },
  }
}
