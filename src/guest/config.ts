/** Guest configs: nodes/N/qemu-server/V.conf and nodes/N/lxc/V.conf. */
import { parseIp } from '../address.ts'
import { parseMac, type Guest, type Nic } from './guest.ts'

const QEMU_MODELS = new Set(
  (
    'virtio e1000 e1000e e1000-82540em e1000-82544gc e1000-82545em i82551 i82557b i82559er ' +
    'ne2k_isa ne2k_pci pcnet rtl8139 vmxnet3'
  ).split(' '),
)

/**
 * The guest of a config file. Only the part above the first line that begins with `[` is in force: below stand
 * pending changes and snapshots. Whatever cannot be understood is left out, never an error: the config belongs to PVE.
 */
export function parseGuestConfig(text: string, vmid: number, type: Guest['type']): Guest {
  const keys = new Map<string, string>()
  for (const line of text.split('\n')) {
    if (line.startsWith('[')) break
    const colon = line.indexOf(':')
    const [key, value] = [line.slice(0, colon), line.slice(colon + 1).trim()]
    if (/^[a-z][a-z_-]*\d*$/.test(key) && value !== '') keys.set(key, value)
  }
  const nics: Nic[] = []
  for (let index = 0; index < 32; index++) {
    const value = keys.get(`net${index}`)
    if (value !== undefined) nics.push(parseNic(index, value, keys.get(`ipconfig${index}`), type))
  }
  const created = parseProps(keys.get('meta') ?? '').get('ctime')
  const name = keys.get(type === 'lxc' ? 'hostname' : 'name') ?? String(vmid)
  const isTemplate = isTrue(keys.get('template')) ? ({ isTemplate: true } as const) : {}
  return { vmid, name, type, nics, ...isTemplate, ...(created === undefined ? {} : { created }) }
}

function parseNic(index: number, value: string, ipconfig: string | undefined, type: Guest['type']): Nic {
  const props = parseProps(value)
  const nic: Nic = { index, firewall: isTrue(props.get('firewall')), addresses: {}, gateways: {} }
  const bridge = props.get('bridge')
  if (bridge !== undefined) nic.bridge = bridge
  const tag = props.get('tag') ?? ''
  if (/^[1-9]\d{0,3}$/.test(tag)) nic.tag = Number(tag)
  if (isTrue(props.get('link_down'))) nic.isDisconnected = true
  const mac = parseMac(
    (type === 'lxc' ? props.get('hwaddr') : (props.get('macaddr') ?? qemuMac(props))) ?? '',
  )
  if (mac !== undefined) nic.mac = mac
  const asked = type === 'lxc' ? props : parseProps(ipconfig ?? '')
  for (const key of ['ip', 'ip6']) {
    const [address, length] = (asked.get(key) ?? '').split('/')
    const ip = parseIp(address ?? '')
    // `dhcp`, `auto` and `manual` say nothing about the address.
    if (ip && (ip.family === 6) === (key === 'ip6')) {
      const bits = ip.family === 4 ? 32 : 128
      const prefix = /^\d{1,3}$/.test(length ?? '') ? Math.min(Number(length), bits) : bits
      nic.addresses[ip.family] = { ip, prefix }
    }
  }
  for (const key of ['gw', 'gw6']) {
    const ip = parseIp(asked.get(key) ?? '')
    if (ip && (ip.family === 6) === (key === 'gw6')) nic.gateways[ip.family] = ip
  }
  return nic
}

function qemuMac(props: Map<string, string>): string | undefined {
  for (const [key, value] of props) if (QEMU_MODELS.has(key)) return value
  return undefined
}

/** `a=1,b=2`, as PVE writes lists of properties. */
export function parseProps(text: string): Map<string, string> {
  const props = new Map<string, string>()
  for (const part of text.split(',')) {
    const equals = part.indexOf('=')
    if (equals > 0) props.set(part.slice(0, equals).trim(), part.slice(equals + 1).trim())
  }
  return props
}

function isTrue(value: string | undefined): boolean {
  return value !== undefined && /^(1|on|yes|true)$/i.test(value)
}
