/** The names that schemas have in the OpenAPI document. zod's own registry of IDs is one for the whole process: the app's. */
import { z } from 'zod'

const names = new WeakMap<z.core.$ZodType, string>()

/** Names a schema. A schema derived from it, even by `describe`, refers to it and has no name of its own. */
export function named<S extends z.ZodType>(name: string, schema: S): S {
  names.set(schema, name)
  return schema
}

/** The metadata of a schema, with its name as `id`. */
export const namedSchemas = z.registry<z.core.GlobalMeta>()
namedSchemas.get = (schema) => {
  const id = names.get(schema)
  return { ...z.globalRegistry.get(schema), ...(id === undefined ? {} : { id }) } as never
}
