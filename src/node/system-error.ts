/** Errors of the operating system in words. */

const WORDS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file or folder',
  ENOTDIR: 'a part of the path is no folder',
  EISDIR: 'it is a folder',
  ELOOP: 'it is a symbolic link',
  EACCES: 'this user may not do that',
  EPERM: 'this user may not do that',
  EROFS: 'the file system is read-only',
  ENOSPC: 'the disk is full',
  EBUSY: 'it is in use, as a mount point is',
  EADDRINUSE: 'another program listens there',
}

/** The reason of a system error; its code stands behind the words unless they say it all. Undefined for any other error. */
export function systemReason(error: unknown): string | undefined {
  const { code, message } = error as NodeJS.ErrnoException
  if (typeof code !== 'string' || !/^E[A-Z0-9]+$/.test(code)) return undefined
  const words = WORDS[code]
  return words === undefined ? message : code === 'ENOENT' ? words : `${words} (${code})`
}
