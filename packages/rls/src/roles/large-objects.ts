/** The functions by which a large object is made or opened; PostgreSQL lets everybody call them. */
export const largeObjectFunctions = [
  'lo_creat',
  'lo_create',
  'lo_from_bytea',
  'lo_get',
  'lo_open',
  'lo_put',
  'lo_unlink',
] as const
