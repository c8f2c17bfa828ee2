// Table bridge pvenat, which no monitor of iptables tells of when it goes.
import { expect, test } from 'vitest'
import { makeCompiler } from '../../src/pipeline.ts'
import { apply } from '../../src/node/apply.ts'
import { stateDirLike, withOthers } from '../chaos/every.ts'
import { lookAt, NODE } from '../tracer/world.ts'

test('it is put back in the next turn, also where nothing else is looked at', async () => {
  const host = '[OPTIONS]\nenable: 1\nnftables: 1\n'
  const cluster = '[OPTIONS]\nenable: 1\n[RULES]\nOUT ACCEPT -source 10.10.10.0/24 # NAT\n'
  const files = new Map([
    [`nodes/${NODE}/host.fw`, host],
    ['firewall/cluster.fw', cluster],
  ])
  const look = { ...lookAt(files), hasProxmoxFirewall: true }
  const [kernel, stateDir, compile] = [withOthers(), stateDirLike(), makeCompiler()]
  const warn = () => undefined
  const { readBack: installed } = await apply(look, kernel, stateDir, warn, undefined, { compile })
  const { outcome } = await apply(look, kernel, stateDir, warn, undefined, { compile })
  expect(kernel.isZoneThere).toBe(true)
  kernel.isZoneThere = false
  const spared = { compile, before: { ruleset: outcome.ruleset, installed }, stands: true }
  const next = await apply(look, kernel, stateDir, warn, { flows: 'waiting', quarantined: false }, spared)
  expect(next.outcome.ruleset).toBe(outcome.ruleset)
  expect(kernel.isZoneThere).toBe(true)
})
