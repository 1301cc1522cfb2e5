export { openQueue, type QueueContext } from './app/open-queue.ts'
