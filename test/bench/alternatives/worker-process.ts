/** A worker of one alternative in a process of its own: `worker-process.js 'pg-boss' '{"databaseUrl":…}'`. */
import { alternatives, isAlternative } from './registry.ts'

const [, , name = '', site = '{}'] = process.argv
if (!isAlternative(name)) throw new Error(`There is no alternative "${name}".`)
const work = await alternatives[name].work(JSON.parse(site))
console.log('working')
process.once('SIGTERM', () => void work.close())
