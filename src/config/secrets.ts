import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { RecoveryError } from '../domain/errors.js';

/** Where a secret is. The configuration never holds one. */
export type SecretRef = { env: string } | { file: string };

const MAX_BYTES = 65_536;

/**
 * Reads the secret, anew at every call, so that a rotated one is found. One line break at the end of a file is no part
 * of it. Throws RecoveryError `SECRET_MISSING`.
 */
export function resolveSecret(ref: SecretRef): string {
  if ('env' in ref) {
    const value = process.env[ref.env];
    if (value === undefined || value === '') throw missing(`the environment variable ${ref.env} is not set`);
    return value;
  }
  const text = readSecretFile(ref.file).replace(/\r?\n$/, '');
  if (text === '') throw missing(`the file ${ref.file} is empty`);
  return text;
}

function readSecretFile(path: string): string {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (cause) {
    throw missing(`the file ${path} cannot be read (${(cause as NodeJS.ErrnoException).code ?? 'error'})`);
  }
  try {
    const stat = fstatSync(fd);
    // Kubernetes mounts secrets as links to files, so links are followed.
    if (!stat.isFile() || stat.size > MAX_BYTES) throw missing(`${path} is not a file of at most ${MAX_BYTES} bytes`);
    return readFileSync(fd, 'utf8');
  } finally {
    closeSync(fd);
  }
}

const missing = (message: string) => new RecoveryError('SECRET_MISSING', message);
