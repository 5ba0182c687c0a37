import { describe, expect, it, vi } from 'vitest';
import { createResolver } from '../../src/adapters/resolve.js';

describe('what a host resolves to', () => {
  it('is what this machine says', async () => {
    const resolve = createResolver();
    expect(await resolve('127.0.0.1')).toEqual(['127.0.0.1']);
    expect(await resolve('localhost')).toContain('127.0.0.1');
  });

  it('is nothing where it is not known, or nobody answers', async () => {
    const find = (host: string) =>
      host === 'x' ? Promise.reject(new Error('ENOTFOUND')) : new Promise<never>(() => {});
    const resolve = createResolver({ find, patienceMs: 20 });
    expect([await resolve('x'), await resolve('slow')]).toEqual([[], []]);
  });

  it('is asked again after some minutes only', async () => {
    let now = 0;
    const find = vi.fn(async () => [{ address: '10.0.0.1' }, { address: '10.0.0.2' }]);
    const resolve = createResolver({ find, now: () => now });
    expect(await resolve('a')).toEqual(['10.0.0.1', '10.0.0.2']);
    await resolve('a');
    expect(find).toHaveBeenCalledTimes(1);
    now = 300_000;
    await resolve('a');
    expect(find).toHaveBeenCalledTimes(2);
  });
});
