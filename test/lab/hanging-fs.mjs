// A FUSE file system that passes a folder through, as pmxcfs shows /etc/pve: `node hanging-fs.mjs FOLDER MOUNTPOINT CONTROL`.
// While CONTROL holds {"hang": REGEXP, "ops": [...]}, requests of matching paths (below the mount point, '' for its root) are not
// answered; they are when it does not match any more. {"slowMs": N} answers each of them after N ms.
// {"readOnly": true} takes all write bits away, as loss of quorum does.
// It speaks the kernel's protocol itself (linux/fuse.h), so no library is needed.
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import { join } from 'node:path'

const [folder, mountPoint, control] = process.argv.slice(2)
const device = fs.openSync('/dev/fuse', 'r+')
const options = 'fd=3,rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions'
const mounted = spawnSync('mount', ['-i', '-t', 'fuse', '-o', options, 'hanging-fs', mountPoint], {
  stdio: ['ignore', 'inherit', 'inherit', device],
})
if (mounted.status !== 0) process.exit(1)

const OPS = {
  1: 'lookup', 3: 'getattr', 4: 'setattr', 5: 'readlink', 6: 'symlink', 9: 'mkdir', 10: 'unlink', 11: 'rmdir',
  12: 'rename', 14: 'open', 15: 'read', 16: 'write', 17: 'statfs', 18: 'release', 25: 'flush', 26: 'init',
  27: 'opendir', 28: 'readdir', 29: 'release', 34: 'access', 35: 'create', 45: 'rename2',
} // prettier-ignore
const UNANSWERED = [2, 36, 38, 42]
const [ENOENT, EIO, ENOSYS] = [2, 5, 38]
/** libfuse's default, which pmxcfs leaves. */
const VALID_SECONDS = 1n
const DIRECT_IO = 1

const paths = new Map([[1n, '']])
const numbers = new Map([['', 1n]])
let lastNumber = 1n
const files = new Map()
let lastFile = 0n

function numberOf(path) {
  if (!numbers.has(path)) {
    numbers.set(path, ++lastNumber)
    paths.set(lastNumber, path)
  }
  return numbers.get(path)
}

function renamed(from, to) {
  for (const [path, number] of [...numbers]) {
    if (path !== from && !path.startsWith(`${from}/`)) continue
    const next = to + path.slice(from.length)
    numbers.delete(path)
    numbers.set(next, number)
    paths.set(number, next)
  }
}

const full = (path) => join(folder, path)
const child = (parent, name) => (parent === '' ? name : `${parent}/${name}`)

function attributes(path) {
  const stats = fs.lstatSync(full(path), { bigint: true })
  const mode = Number(stats.mode) & (orders().readOnly ? ~0o222 : ~0)
  const out = Buffer.alloc(88)
  const times = [stats.atimeNs, stats.mtimeNs, stats.ctimeNs]
  const seconds = times.map((ns) => ns / 1_000_000_000n)
  ;[stats.ino, stats.size, stats.blocks, ...seconds].forEach((value, i) => out.writeBigUInt64LE(value, i * 8))
  const rest = [
    ...times.map((ns) => Number(ns % 1_000_000_000n)),
    mode,
    Number(stats.nlink),
    0,
    0,
    0,
    4096,
    0,
  ]
  rest.forEach((value, i) => out.writeUInt32LE(value >>> 0, 48 + i * 4))
  return out
}

const longs = (...values) => {
  const out = Buffer.alloc(values.length * 8)
  values.forEach((value, i) => out.writeBigUInt64LE(BigInt(value), i * 8))
  return out
}
const entry = (path) =>
  Buffer.concat([longs(numberOf(path), 0, VALID_SECONDS, VALID_SECONDS, 0), attributes(path)])
const attribute = (path) => Buffer.concat([longs(VALID_SECONDS, 0), attributes(path)])
const opened = (file) => {
  files.set(++lastFile, file)
  return longs(lastFile, DIRECT_IO)
}
const strings = (body) => body.toString('utf8').split('\0')
const done = Buffer.alloc(0)

const ANSWERS = {
  init() {
    const out = Buffer.alloc(64)
    ;[7, 31, 65536, 0, 0x000c0010, 65536, 1].forEach((value, i) => out.writeUInt32LE(value, i * 4))
    return out
  },
  lookup: (path, body) => entry(child(path, strings(body)[0])),
  getattr: (path) => attribute(path),
  setattr(path, body) {
    const valid = body.readUInt32LE(0)
    if (valid & 1) fs.chmodSync(full(path), body.readUInt32LE(68) & 0o7777)
    if (valid & 8) fs.truncateSync(full(path), Number(body.readBigUInt64LE(16)))
    return attribute(path)
  },
  readlink: (path) => Buffer.from(fs.readlinkSync(full(path))),
  symlink(path, body) {
    const [name, target] = strings(body)
    fs.symlinkSync(target, full(child(path, name)))
    return entry(child(path, name))
  },
  mkdir(path, body) {
    const made = child(path, strings(body.subarray(8))[0])
    fs.mkdirSync(full(made))
    return entry(made)
  },
  unlink(path, body) {
    const gone = child(path, strings(body)[0])
    fs.unlinkSync(full(gone))
    numbers.delete(gone)
    return done
  },
  rmdir(path, body) {
    const gone = child(path, strings(body)[0])
    fs.rmdirSync(full(gone))
    numbers.delete(gone)
    return done
  },
  rename: (path, body, skip = 8) => {
    const [from, to] = strings(body.subarray(skip))
    const target = child(paths.get(body.readBigUInt64LE(0)), to)
    fs.renameSync(full(child(path, from)), full(target))
    renamed(child(path, from), target)
    return done
  },
  rename2: (path, body) => ANSWERS.rename(path, body, 16),
  open: (path, body) => opened(fs.openSync(full(path), body.readUInt32LE(0) & 0o1003)),
  create(path, body) {
    const made = child(path, strings(body.subarray(16))[0])
    const file = fs.openSync(full(made), 'w+', body.readUInt32LE(4) & 0o7777)
    return Buffer.concat([entry(made), opened(file)])
  },
  read(_, body) {
    const out = Buffer.alloc(body.readUInt32LE(16))
    const file = files.get(body.readBigUInt64LE(0))
    return out.subarray(0, fs.readSync(file, out, 0, out.length, Number(body.readBigUInt64LE(8))))
  },
  write(_, body) {
    const size = body.readUInt32LE(16)
    fs.writeSync(files.get(body.readBigUInt64LE(0)), body, 40, size, Number(body.readBigUInt64LE(8)))
    return longs(size)
  },
  statfs: () => Buffer.alloc(80),
  release(_, body) {
    const file = files.get(body.readBigUInt64LE(0))
    if (typeof file === 'number') fs.closeSync(file)
    files.delete(body.readBigUInt64LE(0))
    return done
  },
  flush: () => done,
  access: () => done,
  opendir: (path) => opened(fs.readdirSync(full(path))),
  readdir(path, body) {
    const names = files.get(body.readBigUInt64LE(0)) ?? []
    const parts = []
    let room = body.readUInt32LE(16)
    for (let i = Number(body.readBigUInt64LE(8)); i < names.length; i++) {
      const name = Buffer.from(names[i])
      const out = Buffer.alloc(24 + Math.ceil(name.length / 8) * 8)
      longs(numberOf(child(path, names[i])), i + 1).copy(out)
      out.writeUInt32LE(name.length, 16)
      name.copy(out, 24)
      room -= out.length
      if (room < 0) break
      parts.push(out)
    }
    return Buffer.concat(parts)
  },
}

/** The control file as it is now. */
function orders() {
  try {
    return JSON.parse(fs.readFileSync(control, 'utf8'))
  } catch {
    return {}
  }
}

/** The path that a request is about. */
function subject({ op, path, body }) {
  if (op === 'lookup') return child(path, strings(body)[0])
  if (op === 'create') return child(path, strings(body.subarray(16))[0])
  return path
}

function isHeld(request) {
  const { hang, slowMs = 0, ops } = orders()
  if (request.op === 'init' || !(ops === undefined || ops.includes(request.op))) return false
  const isHanging = hang !== undefined && new RegExp(hang).test(subject(request))
  return isHanging || performance.now() - request.at < slowMs
}

function answer({ unique, op, path, body }) {
  let [error, out] = [0, done]
  try {
    if (path === undefined || !ANSWERS[op]) error = path === undefined ? ENOENT : ENOSYS
    else out = ANSWERS[op](path, body)
  } catch ({ errno }) {
    error = typeof errno === 'number' ? -errno : EIO
  }
  const head = Buffer.alloc(16)
  const content = error === 0 ? out : done
  head.writeUInt32LE(16 + content.length, 0)
  head.writeInt32LE(-error, 4)
  head.writeBigUInt64LE(unique, 8)
  try {
    fs.writeSync(device, Buffer.concat([head, content]))
  } catch {
    // The process that asked has been ended.
  }
}

let held = []
setInterval(() => {
  const ready = held.filter((request) => !isHeld(request))
  held = held.filter((request) => !ready.includes(request))
  for (const request of ready) answer(request)
}, 5)

const buffer = Buffer.alloc(1 << 18)
function next() {
  fs.read(device, buffer, 0, buffer.length, null, (failure, length) => {
    if (failure?.code === 'ENODEV') process.exit()
    if (!failure) {
      const opcode = buffer.readUInt32LE(4)
      const request = {
        at: performance.now(),
        op: OPS[opcode] ?? String(opcode),
        unique: buffer.readBigUInt64LE(8),
        path: opcode === 26 ? '' : paths.get(buffer.readBigUInt64LE(16)),
        body: Buffer.from(buffer.subarray(40, length)),
      }
      if (!UNANSWERED.includes(opcode)) {
        if (isHeld(request)) held.push(request)
        else answer(request)
      }
    }
    next()
  })
}
next()
process.stdout.write('mounted\n')
process.on('SIGTERM', () => {
  spawnSync('umount', ['-l', mountPoint])
  process.exit()
})
