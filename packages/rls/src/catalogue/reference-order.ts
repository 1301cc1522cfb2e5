import type { CatalogueRelation } from './catalogue.ts'

/** Tables so that each stands behind the ones it refers to. */
export function inReferenceOrder(tables: readonly CatalogueRelation[]): readonly CatalogueRelation[] {
  const byName = new Map(tables.map((table) => [table.name, table]))
  const ordered: CatalogueRelation[] = []
  const seen = new Set<string>()
  const visit = (table: CatalogueRelation): void => {
    if (seen.has(table.name)) return
    seen.add(table.name)
    for (const { references } of table.foreignKeys) {
      const referenced = byName.get(references)
      if (referenced) visit(referenced)
    }
    ordered.push(table)
  }
  for (const table of tables) visit(table)
  return ordered
}
