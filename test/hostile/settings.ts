/** Hostile files of settings. */
import fc from 'fast-check'
import { address, noise, ports } from './words.ts'

const settingKey = fc.oneof(
  fc.constantFrom(
    'external',
    'internal',
    'require-firewall',
    'backend',
    'hairpin',
    'guest-ports',
    'guest-block',
    'block',
    'reserved-ports',
    'allow-reserved',
    'cut-removed',
    'interval',
    'uplink-mark',
    'clamp-mss',
    'guest-uplinks',
    'uplinks',
    'uplink-table',
    'uplink-preference',
    'gui-log',
    'ports',
    'addresses',
    'address',
    'a[]',
    '__proto__',
    'constructor',
  ),
  noise,
)
const settingValue = fc.oneof(
  fc.constantFrom(
    'auto',
    'yes',
    'no',
    'others',
    'legacy',
    'nft',
    '5',
    '0',
    'tcp:22',
    '0x1/0xff',
    '20000-59999/20',
    '1-9/10',
    '+tcp:9',
    'vmbr0',
    '"x"',
    '; x',
    '',
  ),
  ports,
  address,
  noise,
)
const settingLine = fc.oneof(
  {
    weight: 5,
    arbitrary: fc
      .tuple(settingKey, fc.constantFrom(' = ', '=', ' '), settingValue)
      .map((parts) => parts.join('')),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom(
      '[nat]',
      '[guest 107]',
      '[guest 105]',
      '[nat.external]',
      '[guest 1]',
      '[__proto__]',
      '[',
      ']',
      '[]',
      '; comment',
      '# comment',
    ),
  },
  { weight: 1, arbitrary: noise },
)

/** Text of a settings file. */
export const hostileSettings = fc
  .array(settingLine, { maxLength: 8 })
  .map((lines) => `[nat]\n${lines.join('\n')}`)
