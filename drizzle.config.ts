import { defineConfig } from 'drizzle-kit'

export default defineConfig({
  dialect: 'postgresql',
  schema: ['schema', 'act-tables', 'alert-tables', 'attempt-tables', 'trace-tables'].map(
    (name) => `./src/db/${name}.ts`,
  ),
  out: './drizzle',
})
