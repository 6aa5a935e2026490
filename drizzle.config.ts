import { defineConfig } from 'drizzle-kit'

const TABLES = [
  'schema',
  'act-tables',
  'alert-tables',
  'attempt-tables',
  'forgetting-tables',
  'query-tables',
  'trace-tables',
]

export default defineConfig({
  dialect: 'postgresql',
  schema: TABLES.map((name) => `./src/db/${name}.ts`),
  out: './drizzle',
})
