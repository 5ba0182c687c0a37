import { describe, expect, it } from 'vitest';
import { createNativeRepository, type DestinationTemplate } from '../../src/adapters/backups/native.js';
import { parseDestination } from '../../src/config/destination.js';

const repository = (to: DestinationTemplate, cluster = 'prod') => createNativeRepository('nightly', to, cluster);

function parsed(text: string): DestinationTemplate {
  const template = parseDestination(text);
  if (typeof template === 'string') throw new Error(template);
  return template;
}

describe('the destination of a native backup', () => {
  it.each([
    [
      "Disk('backups', '{cluster}/{shard}/{name}')",
      "Disk('backups', 'prod/01/n-1')",
      "Disk('backups', 'prod/01/n-1.manifest')",
    ],
    ["File('/b/{shard}/{name}')", "File('/b/01/n-1')", "File('/b/01/n-1.manifest')"],
    ["S3('https://s3/b/{name}')", "S3('https://s3/b/n-1')", "S3('https://s3/b/n-1.manifest')"],
    ["S3(coll, '{name}')", "S3(coll, 'n-1')", "S3(coll, 'n-1.manifest')"],
    ["Disk('it\\'s \\\\', '{name}')", "Disk('it\\'s \\\\', 'n-1')", "Disk('it\\'s \\\\', 'n-1.manifest')"],
    ["File('/b/{name}/{name}')", "File('/b/n-1/n-1')", "File('/b/n-1.manifest/n-1.manifest')"],
    ["File('/b/$&/{name}')", "File('/b/$&/n-1')", "File('/b/$&/n-1.manifest')"],
  ])('%s', (to, destination, manifest) => {
    const repo = repository(parsed(to));
    expect(repo.destination('01', 'n-1')).toBe(destination);
    expect(repo.manifestDestination('01', 'n-1')).toBe(manifest);
  });

  it.each(['', '..', '../x', 'a/b', "x', 'y", '{shard}', 'a b', '-x', 'x\0', 'ä', 'a..b', 'x'.repeat(300)])(
    'refuses %j as a shard or a name',
    (bad) => {
      const repo = repository({ engine: 'File', path: '{cluster}/{shard}/{name}' });
      const refused = expect.objectContaining({ code: 'INPUT_INVALID' }) as Error;
      expect(() => repo.destination(bad, 'n')).toThrow(refused);
      expect(() => repo.destination('01', bad)).toThrow(refused);
      expect(() => repo.manifestDestination(bad, 'n')).toThrow(refused);
      expect(() => repository({ engine: 'File', path: '{name}' }, bad)).toThrow(refused);
    },
  );

  it('refuses a backup whose place is that of the manifest of another', () => {
    expect(() => repository({ engine: 'File', path: '{name}' }).destination('01', 'n-1.manifest')).toThrow(
      expect.objectContaining({ code: 'INPUT_INVALID', details: { field: 'backup' } }) as Error,
    );
  });
});
