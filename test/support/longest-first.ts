/**
 * The order of the test files: those that take longest first, so that none is left running when all others have ended.
 * Vitest knows durations only from a run before, and a clean clone has none.
 */
import { relative } from 'node:path'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/**
 * Every file that takes more than twenty seconds in a run of all. Files that keep the processor busy stand between
 * files that mostly wait: side by side they would slow each other down until time-outs break. A name that is missing
 * costs time, nothing else.
 */
const LONGEST = [
  'http/hostile',
  'chaos/chaos',
  'jobs/lookups',
  'jobs/callbacks',
  'operating/postgres',
  'cli',
  'packages',
  'http/forgery',
  'http/pages',
  'operating/planted-marks',
  'jobs/learned',
  'operating/redis',
  'operating/installation',
  'jobs/expire',
  'db/embedded',
  'jobs/status-query',
  'jobs/changes-queue',
  'jobs/account-health',
  'jobs/main-job',
  'jobs/shutdown',
  'chaos/protocol',
  'jobs/recovery',
  'jobs/sweeps',
  'jobs/track',
  'http/changes',
  'http/erasure',
  'cli/client-commands',
  'db/migrate',
  'operating/pooler',
  'providers/conformance',
  'sandbox/simulation/simulation',
  'sandbox/disguises',
  'fuzz/fuzz',
  'providers/third-provider',
]

export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const placeOf = ({ project, moduleId }: TestSpecification) => {
      const name = relative(`${project.config.root}/test`, moduleId).replaceAll('\\', '/').replace('.test.ts', '')
      const place = LONGEST.indexOf(name)
      return place === -1 ? LONGEST.length : place
    }
    return (await super.sort(files)).sort((a, b) => placeOf(a) - placeOf(b))
  }
}
