/**
 * The fields of an account, as its schema describes them: which hold secrets, and which values a message may show. A
 * field that is neither may not be shown.
 */
import { z } from 'zod'

/** For `meta` of a schema: the value is a secret. JSON Schema's word for what is given and never given back. */
export const SECRET = { writeOnly: true } as const
/** For `meta` of the schema of a text: the value is no secret and may be shown. Numbers and choices always may. */
export const PRINTABLE = { printable: true } as const

interface Node {
  type?: string
  properties?: Record<string, Node>
  enum?: unknown[]
  const?: unknown
  writeOnly?: boolean
  printable?: boolean
}

export interface AccountFields {
  /** The paths of secrets, as in `callback.secret`. */
  secret: string[]
  /** The paths of values that may be shown. */
  printable: string[]
}

/** The fields of an account's schema, as the configuration gives them. */
export function accountFieldsOf(accountSchema: z.ZodType): AccountFields {
  const leaves = leavesOf(z.toJSONSchema(accountSchema, { io: 'input', unrepresentable: 'any' }) as Node, [])
  const pathsOf = (is: (node: Node) => boolean) => leaves.filter(({ node }) => is(node)).map(({ path }) => path)
  return { secret: pathsOf(({ writeOnly }) => writeOnly === true), printable: pathsOf(isPrintable) }
}

function leavesOf(node: Node, path: readonly string[]): { path: string; node: Node }[] {
  if (!node.properties) return [{ path: path.join('.'), node }]
  return Object.entries(node.properties).flatMap(([name, child]) => leavesOf(child, [...path, name]))
}

function isPrintable({ type, writeOnly, printable, enum: choices, const: only }: Node): boolean {
  if (writeOnly) return false
  return printable === true || type === 'number' || type === 'integer' || choices !== undefined || only !== undefined
}
