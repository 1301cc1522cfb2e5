import { watch } from 'chokidar'
import { relative } from 'node:path'
import { isSource } from './watch-apps.ts'

/** Resolves with the path of the next source file below a folder that is saved, added or removed. */
export function nextSave(directory: string, onWatching: () => void): Promise<string> {
  const watcher = watch(directory, {
    ignoreInitial: true,
    ignored: (path, stats) => !isSource(relative(directory, path), stats),
  })
  watcher.once('ready', onWatching)
  return new Promise((resolve) => {
    watcher.on('all', (event, path) => {
      if (event === 'addDir' || event === 'unlinkDir') return
      void watcher.close().then(() => resolve(path))
    })
  })
}
