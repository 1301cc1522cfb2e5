import type { Server } from 'node:http'

/** Answers "ok"; `/flood?megabytes=300` writes that much to the standard output first, in lines of 100 bytes. */
export declare function createOkServer(): Server
