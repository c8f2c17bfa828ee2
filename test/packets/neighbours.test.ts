// Never lose, never break, one thing at a time: foreign changes, neighbours, locks, connections, crashes. Each suite says what it asks.
import { backends } from '../lab/index.ts'
import { connectionsSuite } from '../chaos/connections.ts'
import { crashSuite } from '../chaos/crash.ts'
import { cyclesSuite } from '../chaos/cycles.ts'
import { dockerSuite } from '../chaos/docker.ts'
import { driftSuite } from '../chaos/drift.ts'
import { locksSuite } from '../chaos/locks.ts'

for (const backend of backends)
  for (const suite of [driftSuite, dockerSuite, locksSuite, connectionsSuite, crashSuite, cyclesSuite])
    suite(backend)
