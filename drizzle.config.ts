import { defineConfig } from 'drizzle-kit'

export default defineConfig({
  dialect: 'postgresql',
  schema: ['./src/db/schema.ts', './src/db/act-tables.ts', './src/db/alert-tables.ts', './src/db/trace-tables.ts'],
  out: './drizzle',
})
