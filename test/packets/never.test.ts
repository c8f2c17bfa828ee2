// Never lose, never break, in one node a backend: what the kernel refuses, what is missing or fails, who switches what, rollback.
import { describe } from 'vitest'
import { connectionTests } from '../chaos/cut.ts'
import { refusedTests } from '../chaos/refused.ts'
import { rollbackTests } from '../chaos/rollback.ts'
import { switchTests } from '../chaos/switches.ts'
import { troubleTests } from '../chaos/troubles.ts'
import { busyNode } from '../chaos/world.ts'
import { onBothAtOnce, testNode } from './node.ts'

onBothAtOnce('never lose, never break', (backend) => {
  const node = testNode(backend, { ...busyNode, foreign: true, settings: 'interval = 1', pvenat: 'run' })

  describe('what the kernel refuses', () => refusedTests(node))
  describe('what is missing, fails or hangs', () => troubleTests(node))
  describe('connections', () => connectionTests(node))
  describe('switches', () => switchTests(node))
  describe('rollback', () => rollbackTests(node))
})
