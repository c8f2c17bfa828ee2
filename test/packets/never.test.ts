// Never lose, never break, in one node a backend: what the kernel refuses, what is missing or fails, who switches what, rollback.
import { afterAll, beforeAll, describe } from 'vitest'
import { connectionTests } from '../chaos/cut.ts'
import { TestNode } from '../chaos/node.ts'
import { refusedTests } from '../chaos/refused.ts'
import { rollbackTests } from '../chaos/rollback.ts'
import { switchTests } from '../chaos/switches.ts'
import { troubleTests } from '../chaos/troubles.ts'
import { backends, snapshot } from '../lab/index.ts'

describe.each(backends)('never lose, never break on %s', (backend) => {
  let node: TestNode
  /** Before anything of ours came. */
  let before: string
  const at = () => node

  beforeAll(async () => {
    node = await TestNode.start(backend, {
      foreign: true,
      settings: 'interval = 1',
      rules: { 'nodes/pve1/host.fw': ['IN ACCEPT -dest 10.10.10.105 -p tcp -dport 23 # NAT 1023'] },
    })
    await Promise.all([
      node.lab.serve('inet', 'tcp', 443),
      node.lab.serve('105', 'tcp', 22, 23),
      node.lab.serve('107', 'tcp', 22),
      node.lab.serve('108', 'tcp', 80),
    ])
    before = await snapshot(node.lab)
    await node.pvenat.start()
  })
  afterAll(() => node.stop())

  describe('what the kernel refuses', () => refusedTests(at))
  describe('what is missing, fails or hangs', () => troubleTests(at, backend))
  describe('connections', () => connectionTests(at))
  describe('switches', () => switchTests(at))
  describe('rollback', () => rollbackTests(at, () => before))
})
