/** Checks input from outside by a schema, and tells its sender of mistakes in one sentence. */
import type { z } from 'zod'
import { formatPath, type Issue, LastwordError } from './core/errors.ts'

/** A value that a schema accepts. Throws INPUT_INVALID that says where and what was expected. */
export function parseInput<T>(schema: z.ZodType<T>, value: unknown, what: string): T {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const issues = result.error.issues.map(({ path, message }): Issue => ({ path: formatPath(path), message }))
  const [first] = issues
  const where = first?.path ? `${first.path}: ` : ''
  throw new LastwordError('INPUT_INVALID', `The ${what} is not valid. ${where}${first?.message}.`, {
    issues: issues.slice(0, 20),
  })
}
