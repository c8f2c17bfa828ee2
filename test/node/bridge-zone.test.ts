// Table bridge pvenat, which no monitor of iptables tells of when it goes.
import { expect, test } from 'vitest'
import { makeCompiler } from '../../src/pipeline.ts'
import { apply } from '../../src/node/apply.ts'
import { zoneIn } from '../../src/node/bridge-zone.ts'
import { NOT_STARTED, TOO_LATE } from '../../src/node/exec.ts'
import { stateDirLike, withOthers } from '../chaos/every.ts'
import { lookAt, NODE } from '../tracer/world.ts'

const HOST = '[OPTIONS]\nenable: 1\nnftables: 1\n'
const CLUSTER = '[OPTIONS]\nenable: 1\n[RULES]\nOUT ACCEPT -source 10.10.10.0/24 # NAT\n'
const files = new Map([
  [`nodes/${NODE}/host.fw`, HOST],
  ['firewall/cluster.fw', CLUSTER],
])
const look = { ...lookAt(files), hasProxmoxFirewall: true }
const warn = () => undefined

test('it is put back in the next turn, also where nothing else is looked at', async () => {
  const [kernel, stateDir, compile] = [withOthers(), stateDirLike(), makeCompiler()]
  const { readBack: installed } = await apply(look, kernel, stateDir, warn, undefined, { compile })
  const { outcome } = await apply(look, kernel, stateDir, warn, undefined, { compile })
  expect(kernel.isZoneThere).toBe(true)
  kernel.isZoneThere = false
  const spared = { compile, before: { ruleset: outcome.ruleset, installed }, stands: true }
  const next = await apply(look, kernel, stateDir, warn, { flows: 'waiting', quarantined: false }, spared)
  expect(next.outcome.ruleset).toBe(outcome.ruleset)
  expect(kernel.isZoneThere).toBe(true)
})

test('while nft does not tell whether it is there, nothing is written', async () => {
  const kernel = withOthers()
  kernel.hasBridgeZone = () => Promise.resolve(undefined)
  await apply(look, kernel, stateDirLike(), warn)
  expect(kernel.isZoneThere).toBe(false)
})

test.each([
  ['the table', { code: 0, stdout: 'meta ibrname "fwbr*" ct zone set 1\n', stderr: '' }, true],
  ['another rule in it', { code: 0, stdout: 'meta ibrname "vmbr0" ct zone set 1\n', stderr: '' }, false],
  ['no table', { code: 1, stdout: '', stderr: 'Error: No such file or directory\n' }, false],
  ['no program', { code: NOT_STARTED, stdout: '', stderr: 'spawn nft ENOENT' }, false],
  ['too late', { code: TOO_LATE, stdout: '', stderr: 'nft did not end within 15 s' }, undefined],
  ['a busy kernel', { code: 1, stdout: '', stderr: 'cache initialization failed: Interrupted' }, undefined],
])('nft answers: %s', (_, finished, isThere) => {
  expect(zoneIn(finished)).toBe(isThere)
})
