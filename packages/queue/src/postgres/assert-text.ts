import { QueueError } from '../errors.ts'

/**
 * Checks a text before PostgreSQL does: a statement that it refuses would break the caller's transaction. An index
 * takes 2,704 bytes in all.
 *
 * @throws QueueError `ERR_QUEUE_BAD_NAME`
 */
export function assertText(text: unknown, mostBytes: number, path: string): void {
  if (
    typeof text === 'string' &&
    text !== '' &&
    !text.includes('\0') &&
    text.isWellFormed() &&
    Buffer.byteLength(text) <= mostBytes
  )
    return
  throw new QueueError(
    'ERR_QUEUE_BAD_NAME',
    `${path} must be a text that is not empty, of ${mostBytes} bytes at most, without NUL and halves of surrogate pairs.`,
  )
}
