/**
 * The order of the test files: those that take longest first, so that none is left running when all others have ended.
 * Vitest knows durations only from a run before, and a clean clone has none.
 */
import { relative } from 'node:path'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** Every file that takes more than twenty seconds in a run of all; a name that is missing costs time, nothing else. */
const LONGEST = [
  'bench/quick',
  'cli',
  'jobs/callbacks',
  'db/embedded',
  'jobs/recovery',
  'jobs/lookups',
  'cli-client',
  'jobs/changes-queue',
  'providers/conformance',
  'jobs/main-job',
  'jobs/learned',
  'sandbox/disguises',
  'http/changes',
  'jobs/sweeps',
  'fuzz/fuzz',
  'providers/third-provider',
  'jobs/expire',
  'jobs/status-query',
  'jobs/account-health',
  'jobs/shutdown',
  'jobs/track',
  'db/migrate',
  'http/erasure',
  'sandbox/simulation',
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
