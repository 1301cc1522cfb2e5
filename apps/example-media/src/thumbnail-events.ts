import { topics } from '@quintet/example-platform/events'

/** What the worker of thumbnails hears of. */
export const newObjects = topics.subscription('make-thumbnail', ['media.object-stored'], { backoff: '500ms' })

/** The name under which the files of an object keep its thumbnail. */
export const thumbnailVariant = 'thumbnail'
